//! Whole exchanges: what is judged must be what is sent on, and what was recorded must be answered in clean text.

use portcullis::classify::{Exchange, FirstBytes, MAX_LOOK_AHEAD, classify};
use portcullis::exchange::{Answer, read_har, read_line};
use portcullis::http::h1::connection::keep_alive;
use portcullis::http::h1::{
    Emit, Limits, Parsed, parse_request_head, parse_response_head, request_body, response_body,
    write_request, write_response,
};

/// A request head, a response head and the first bytes of a body, one behind the other. The client reads the response
/// as it is written anew; whoever classifies that must come to the verdict that was passed on what the origin sent.
pub fn fuzz_exchange(data: &[u8]) {
    let limits = Limits::default();
    let Parsed::Complete(request, taken) = parse_request_head(data, &limits) else { return };
    let rest = data.get(taken..).unwrap_or_default();
    let Parsed::Complete(response, taken) = parse_response_head(rest, &limits) else { return };
    let body = rest.get(taken..).unwrap_or_default();
    let (Ok(request_framing), Ok(framing)) =
        (request_body(&request), response_body(&response, request.method()))
    else {
        return;
    };
    let host = request.host().unwrap_or_default().to_owned();
    let exchange =
        Exchange { first_bytes: Some(FirstBytes::prefix(body)), ..Exchange::new(&request, &response, &host) };
    let before = classify(&exchange);
    assert!(
        exchange.look_ahead(false) <= exchange.look_ahead(true)
            && exchange.look_ahead(true) <= MAX_LOOK_AHEAD
    );
    if let Some(name) = &before.filename {
        assert!(!name.is_empty() && !name.contains(['/', '\\', '\0', '\n', '\r']), "{name:?}");
    }

    let mut bytes = Vec::new();
    let emit =
        |framing, fields, version| Emit { framing, persistent: keep_alive(fields, version), upgrade: false };
    if write_request(&request, emit(request_framing, request.fields(), request.version()), &mut bytes)
        .is_err()
    {
        return;
    }
    let wide = Limits { head_bytes: usize::MAX, fields: usize::MAX, request_line: usize::MAX / 4, ..limits };
    let Parsed::Complete(request_again, _) = parse_request_head(&bytes, &wide) else { panic!("{request:?}") };
    bytes.clear();
    let written = write_response(
        &response,
        request.method(),
        emit(framing, response.fields(), response.version()),
        &mut bytes,
    );
    if written.is_err() {
        return;
    }
    let Parsed::Complete(response_again, _) = parse_response_head(&bytes, &wide) else {
        panic!("{response:?}")
    };
    let again = Exchange {
        first_bytes: Some(FirstBytes::prefix(body)),
        ..Exchange::new(&request_again, &response_again, &host)
    };
    assert_eq!(classify(&again), before);
}

/// A HAR file or lines of JSON, as `portcullis classify` reads them.
pub fn fuzz_recorded(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = (1..).zip(text.lines()).filter_map(|(number, line)| read_line(line, number).ok().flatten());
    for record in lines.chain(read_har(&text).unwrap_or_default()) {
        let found = classify(&record.exchange());
        let answer = Answer::new(&record, &found);
        let (json, line) = (answer.to_json(), answer.to_text());
        for shown in [&json, &line] {
            assert!(!shown.contains(char::is_control), "what could steer a terminal is in {shown:?}");
        }
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["id"].as_str(), Some(record.id.as_str()));
    }
}
