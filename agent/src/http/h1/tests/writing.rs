//! Heads as they go out: canonical framing, hop-by-hop fields, and values that cannot break out.

use super::*;
use crate::http::h1::syntax::{is_field_text, is_token};
use crate::http::head::Version;

#[track_caller]
fn check_request(lines: &str, emit: Emit, expected: &str) {
    let head = request(lines.replace('|', "\r\n") + "\r\n\r\n");
    let mut out = Vec::new();
    assert_eq!(write_request(&head, emit, &mut out), Ok(()));
    assert_eq!(String::from_utf8_lossy(&out), expected.replace('|', "\r\n") + "\r\n\r\n");
}

#[track_caller]
fn check_response(lines: &str, method: &str, emit: Emit, expected: &str) {
    let head = response(lines.replace('|', "\r\n") + "\r\n\r\n");
    let mut out = Vec::new();
    assert_eq!(write_response(&head, method, emit, &mut out), Ok(()));
    assert_eq!(String::from_utf8_lossy(&out), expected.replace('|', "\r\n") + "\r\n\r\n");
}

const NONE: Emit = Emit::new(Framing::None);
const CHUNKED: Emit = Emit::new(Framing::Chunked);
const fn length(length: u64) -> Emit {
    Emit::new(Framing::Length(length))
}

#[test]
fn requests_are_written_in_canonical_form() {
    check_request("GET /a?b HTTP/1.1|hOST:a|X:  y ", NONE, "GET /a?b HTTP/1.1|hOST: a|X: y");
    check_request(
        "POST / HTTP/1.1|Host: a|content-length: 005|X: y",
        length(5),
        "POST / HTTP/1.1|Host: a|Content-Length: 5|X: y",
    );
    check_request(
        "POST / HTTP/1.1|Host: a|Content-Length: 5|Content-Length: 5",
        length(5),
        "POST / HTTP/1.1|Host: a|Content-Length: 5",
    );
    // A body that is passed on with another framing.
    check_request(
        "POST / HTTP/1.1|Host: a|Content-Length: 5",
        CHUNKED,
        "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked",
    );
    check_request("POST / HTTP/1.1|Host: a", length(0), "POST / HTTP/1.1|Host: a|Content-Length: 0");
    // Absolute targets go out in origin form.
    check_request("GET http://a/x?y HTTP/1.1|Host: a", NONE, "GET /x?y HTTP/1.1|Host: a");
    check_request("GET http://a?y HTTP/1.1|Host: a", NONE, "GET /?y HTTP/1.1|Host: a");
    check_request("GET http://a HTTP/1.0", NONE, "GET / HTTP/1.0|Host: a|Connection: keep-alive");
    check_request("OPTIONS http://a HTTP/1.1|Host: a", NONE, "OPTIONS * HTTP/1.1|Host: a");
}

#[test]
fn a_line_is_written_alike_however_it_was_spaced() {
    check_response(
        "HTTP/1.1 200 OK|A:|B: |C:c|D: d|E:\te\t|F: f |G: g  g|h:  |content-length: 0",
        "GET",
        length(0),
        "HTTP/1.1 200 OK|A: |B: |C: c|D: d|E: e|F: f|G: g  g|h: |Content-Length: 0",
    );
}

#[test]
fn what_the_parser_takes_for_a_line_cannot_end_one() {
    for byte in 0..=u8::MAX {
        for (before, after) in [("a", "b: v"), ("", ": v"), ("n: a", "b"), ("n: ", ""), ("n: a", "")] {
            let bytes = [b"HTTP/1.1 200 OK\r\n", before.as_bytes(), &[byte], after.as_bytes(), b"\r\n\r\n"];
            if let Parsed::Complete(head, _) = parse_response_head(&bytes.concat(), &Limits::default()) {
                let sound = |(name, value): (&[u8], &[u8])| is_token(name) && is_field_text(value);
                assert!(head.fields().iter().all(sound), "{byte:#04x} between {before:?} and {after:?}");
            }
        }
    }
}

#[test]
fn hop_by_hop_fields_end_here_and_no_others() {
    check_request(
        "GET / HTTP/1.1|Host: a|Keep-Alive: timeout=5|Proxy-Connection: x|TE: trailers|Trailer: x|Connection: te|Z: 1",
        NONE,
        "GET / HTTP/1.1|Host: a|Z: 1",
    );
    // A field that Connection names stays: the verdict was made with it.
    check_response(
        "HTTP/1.1 200 OK|Connection: content-disposition, close|Content-Disposition: attachment|Content-Length: 1",
        "GET",
        length(1),
        "HTTP/1.1 200 OK|Content-Disposition: attachment|Content-Length: 1",
    );
    check_request(
        "GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: x",
        NONE,
        "GET / HTTP/1.1|Host: a",
    );
    check_request(
        "GET / HTTP/1.1|Host: a|Connection: keep-alive, Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k",
        Emit { upgrade: true, ..NONE },
        "GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k",
    );
    check_response(
        "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade",
        "GET",
        Emit { upgrade: true, ..NONE },
        "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade",
    );
}

#[test]
fn persistence_is_said_in_the_way_of_the_version() {
    let close = Emit { persistent: false, ..NONE };
    check_request("GET / HTTP/1.1|Host: a|Connection: keep-alive", NONE, "GET / HTTP/1.1|Host: a");
    check_request("GET / HTTP/1.1|Host: a", close, "GET / HTTP/1.1|Host: a|Connection: close");
    check_request(
        "GET / HTTP/1.0|Connection: keep-alive|X: y",
        NONE,
        "GET / HTTP/1.0|Connection: keep-alive|X: y",
    );
    check_request(
        "GET / HTTP/1.0|Connection: keep-alive|X: y",
        close,
        "GET / HTTP/1.0|Connection: close|X: y",
    );
    // A body that ends with the connection closes it, whatever else is wished.
    check_response(
        "HTTP/1.1 200 OK|X: y",
        "GET",
        Emit::new(Framing::Close),
        "HTTP/1.1 200 OK|X: y|Connection: close",
    );
}

#[test]
fn responses_without_body_keep_the_length_that_describes_the_resource() {
    check_response(
        "HTTP/1.1 200 OK|Content-Length: 7|X: y",
        "HEAD",
        NONE,
        "HTTP/1.1 200 OK|Content-Length: 7|X: y",
    );
    check_response(
        "HTTP/1.1 304 Not Modified|Content-Length: 7",
        "GET",
        NONE,
        "HTTP/1.1 304 Not Modified|Content-Length: 7",
    );
    check_response("HTTP/1.1 200 OK|Transfer-Encoding: chunked", "HEAD", NONE, "HTTP/1.1 200 OK");
    check_response("HTTP/1.1 204 No Content|Content-Length: 7", "GET", NONE, "HTTP/1.1 204 No Content");
    check_response(
        "HTTP/1.1 204 No Content|Content-Length: 7",
        "HEAD",
        NONE,
        "HTTP/1.1 204 No Content|Content-Length: 7",
    );
    check_response(
        "HTTP/1.1 205 Reset Content|Content-Length: 7",
        "GET",
        NONE,
        "HTTP/1.1 205 Reset Content|Content-Length: 0",
    );
    check_response("HTTP/1.1 103 Early Hints|Link: x", "HEAD", NONE, "HTTP/1.1 103 Early Hints|Link: x");
    check_response("HTTP/1.1 299|X: y", "GET", length(3), "HTTP/1.1 299 |X: y|Content-Length: 3");
}

#[test]
fn http2_requests_are_written_with_their_authority_as_host() {
    let head = RequestHead::new("GET", "/x", Version::Http2).with_authority("a.test").with("accept", "*/*");
    let mut out = Vec::new();
    assert_eq!(write_request(&head, NONE, &mut out), Ok(()));
    assert_eq!(out, b"GET /x HTTP/1.1\r\nHost: a.test\r\naccept: */*\r\n\r\n");
    let head = RequestHead::new("GET", "/x", Version::Http2).with_authority("a.test\r\nX: y");
    assert_eq!(write_request(&head, NONE, &mut out), Err(Refusal::HostInvalid));
}

#[test]
fn nothing_in_the_model_can_end_its_line() {
    let refused_request = |head: RequestHead, expected| {
        let mut out = b"before".to_vec();
        assert_eq!(write_request(&head, NONE, &mut out), Err(expected), "{head:?}");
        assert_eq!(out, b"before");
    };
    let get = || RequestHead::new("GET", "/", Version::Http11);
    for evil in ["\r", "\n", "\0", "a\r\nSet-Cookie: b", "a\u{1b}", "a\u{7f}"] {
        refused_request(get().with("X", evil), Refusal::FieldValue);
        refused_request(get().with(evil, "x"), Refusal::FieldName);
        refused_request(RequestHead::new("GET", &format!("/{evil}"), Version::Http11), Refusal::Target);
        refused_request(RequestHead::new(evil, "/", Version::Http11), Refusal::StartLine);
        let head = ResponseHead::new(200, Version::Http11).with("Location", evil);
        let mut out = b"before".to_vec();
        assert_eq!(write_response(&head, "GET", length(0), &mut out), Err(Refusal::FieldValue));
        assert_eq!(out, b"before");
    }
    for evil in ["", "a b", "a:", "ä"] {
        refused_request(get().with(evil, "x"), Refusal::FieldName);
    }
    for evil in ["", "/ HTTP/1.1", "/\t"] {
        refused_request(RequestHead::new("GET", evil, Version::Http11), Refusal::Target);
    }
    let mut out = Vec::new();
    assert_eq!(
        write_response(&ResponseHead::new(99, Version::Http11), "GET", NONE, &mut out),
        Err(Refusal::Status)
    );
    assert_eq!(
        write_response(&ResponseHead::new(1000, Version::Http11), "GET", NONE, &mut out),
        Err(Refusal::Status)
    );
    assert!(out.is_empty());
}

#[test]
fn impossible_framings_are_refused() {
    let mut out = Vec::new();
    let head = RequestHead::new("POST", "/", Version::Http11);
    assert_eq!(write_request(&head, Emit::new(Framing::Close), &mut out), Err(Refusal::NoLength));
    let head = ResponseHead::new(200, Version::Http10);
    assert_eq!(write_response(&head, "GET", CHUNKED, &mut out), Err(Refusal::CodingVersion));
    assert!(out.is_empty());
}
