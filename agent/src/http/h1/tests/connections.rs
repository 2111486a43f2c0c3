//! Persistence, upgrades, expectations and interim responses.

use super::connection::{
    Responses, Turn, Upgrade, expects_continue, keep_alive, response_keep_alive, upgrade,
};
use super::*;
use crate::http::head::Version;

#[test]
fn persistence_follows_version_and_connection() {
    let cases: &[(Version, &str, bool)] = &[
        (Version::Http11, "", true),
        (Version::Http11, "keep-alive", true),
        (Version::Http11, "Upgrade", true),
        (Version::Http11, "close", false),
        (Version::Http11, "x, CLOSE", false),
        (Version::Http11, "keep-alive, close", false),
        (Version::Http11, "closed", true),
        (Version::Http10, "", false),
        (Version::Http10, "Keep-Alive", true),
        (Version::Http10, "keep-alive, close", false),
        (Version::Http2, "close", true),
    ];
    for (version, value, expected) in cases {
        let head = RequestHead::new("GET", "/", *version).with("Connection", value);
        assert_eq!(keep_alive(head.fields(), *version), *expected, "{version:?} {value:?}");
    }
    // The deprecated namesake says nothing.
    let head = RequestHead::new("GET", "/", Version::Http11).with("Proxy-Connection", "close");
    assert!(keep_alive(head.fields(), head.version()));
}

#[test]
fn an_origin_that_may_send_surplus_bytes_is_not_used_again() {
    let cases: &[(&str, u16, &str, bool)] = &[
        ("GET", 200, "Content-Length: 5", true),
        ("GET", 200, "Transfer-Encoding: chunked", true),
        ("GET", 200, "X: y", false),
        ("HEAD", 200, "Content-Length: 5", true),
        ("HEAD", 200, "X: y", true),
        ("GET", 304, "Content-Length: 5", true),
        ("GET", 204, "X: y", true),
        ("GET", 204, "Content-Length: 0", true),
        ("GET", 204, "Content-Length: 5", false),
        ("GET", 204, "Transfer-Encoding: chunked", false),
        ("GET", 205, "Content-Length: 0", true),
        ("GET", 205, "X: y", false),
        ("GET", 205, "Content-Length: 5", false),
        ("GET", 200, "Content-Length: 5\r\nConnection: close", false),
    ];
    for (method, status, line, expected) in cases {
        let head = response(format!("HTTP/1.1 {status} \r\n{line}\r\n\r\n"));
        let framing = response_body(&head, method).unwrap();
        assert_eq!(response_keep_alive(&head, method, framing), *expected, "{method} {status} {line}");
    }
}

#[test]
fn only_a_plain_websocket_handshake_is_an_upgrade() {
    let cases: &[(&str, Upgrade)] = &[
        ("X: y", Upgrade::None),
        ("Upgrade:", Upgrade::None),
        ("Connection: Upgrade", Upgrade::None),
        ("Connection: Upgrade\r\nUpgrade: websocket", Upgrade::WebSocket),
        ("connection: keep-alive, upgrade\r\nupgrade: WebSocket", Upgrade::WebSocket),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0", Upgrade::WebSocket),
        ("Upgrade: websocket", Upgrade::Other),
        ("Connection: Upgrade\r\nUpgrade: websocket, foo", Upgrade::Other),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket", Upgrade::Other),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5", Upgrade::Other),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", Upgrade::Other),
        ("Connection: Upgrade\r\nUpgrade: TLS/1.2", Upgrade::Other),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", Upgrade::H2c),
        ("Connection: Upgrade\r\nUpgrade: websocket, H2C", Upgrade::H2c),
        ("HTTP2-Settings: AAMAAABk", Upgrade::H2c),
    ];
    let keyed = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    for (lines, expected) in cases {
        let head = request(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{keyed}\r\n\r\n"));
        assert_eq!(upgrade(&head), *expected, "{lines}");
    }
    let lines = format!("Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{keyed}\r\n\r\n");
    assert_eq!(upgrade(&request(format!("POST / HTTP/1.1\r\n{lines}"))), Upgrade::Other);
    assert_eq!(upgrade(&request(format!("GET / HTTP/1.0\r\n{lines}"))), Upgrade::Other);
    assert_eq!(upgrade(&request(format!("GET / HTTP/1.1\r\n{lines}"))), Upgrade::WebSocket);
    let (key, version) = keyed.split_once("\r\n").unwrap();
    for broken in [
        "X: y".to_owned(),
        key.to_owned(),
        version.to_owned(),
        keyed.replace("13", "8"),
        keyed.replace("==", ""),
        keyed.replace("==", "Cg"),
        keyed.replace("dGhl", "d-hl"),
        keyed.replace("dGhl", ""),
        format!("{keyed}\r\n{key}"),
        format!("{keyed}\r\n{version}"),
    ] {
        let lines = lines.replace(keyed, &broken);
        assert_eq!(upgrade(&request(format!("GET / HTTP/1.1\r\n{lines}"))), Upgrade::Other, "{broken}");
    }
}

#[test]
fn one_expectation_is_known() {
    let cases: &[(&str, &str, Result<bool, Refusal>)] = &[
        ("1.1", "Content-Length: 5", Ok(false)),
        ("1.1", "Content-Length: 5\r\nExpect: 100-continue", Ok(true)),
        ("1.1", "Transfer-Encoding: chunked\r\nEXPECT: 100-Continue", Ok(true)),
        ("1.1", "Expect: 100-continue", Ok(false)),
        ("1.0", "Content-Length: 5\r\nExpect: 100-continue", Ok(false)),
        ("1.1", "Content-Length: 5\r\nExpect: 100-continue, x", Err(Refusal::Expectation)),
        ("1.1", "Content-Length: 5\r\nExpect: 200-ok", Err(Refusal::Expectation)),
        ("1.1", "Content-Length: 5\r\nExpect:", Err(Refusal::Expectation)),
        ("1.1", "Expect: 100-continue\r\nExpect: 100-continue", Err(Refusal::Expectation)),
        ("1.1", "Expect: x 100-continue", Err(Refusal::Expectation)),
    ];
    for (version, lines, expected) in cases {
        let head = request(format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n\r\n"));
        assert_eq!(expects_continue(&head), *expected, "{version} {lines}");
    }
}

#[test]
fn interim_responses_are_counted() {
    let limits = Limits::default();
    let hints = response("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    let last = response("HTTP/1.1 200 OK\r\n\r\n");
    let to = |version| Responses::to(&RequestHead::new("GET", "/", version), Upgrade::None);
    let mut responses = to(Version::Http11);
    for _ in 0..16 {
        assert_eq!(responses.next(&hints, &limits), Ok(Turn::Interim));
    }
    let mut flooded = responses;
    assert_eq!(flooded.next(&hints, &limits), Err(Refusal::InterimFlood));
    assert_eq!(responses.next(&last, &limits), Ok(Turn::Final));
    assert_eq!(to(Version::Http10).next(&hints, &limits), Err(Refusal::InterimVersion));
}

#[test]
fn protocols_are_switched_only_as_asked() {
    let limits = Limits::default();
    // The example of RFC 6455 section 1.3.
    let asking = RequestHead::new("GET", "/", Version::Http11);
    let asking = asking.with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let check = |lines: &str, asked| {
        let head = response(format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n\r\n"));
        Responses::to(&asking, asked).next(&head, &limits)
    };
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let websocket = &format!("Upgrade: WebSocket\r\nConnection: Upgrade\r\n{accept}");
    assert_eq!(check(websocket, Upgrade::WebSocket), Ok(Turn::Switched));
    for asked in [Upgrade::None, Upgrade::H2c, Upgrade::Other] {
        assert_eq!(check(websocket, asked), Err(Refusal::UpgradeUnasked), "{asked:?}");
    }
    for lines in ["X: y", "Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade:"] {
        let lines = &format!("{lines}\r\n{accept}");
        assert_eq!(check(lines, Upgrade::WebSocket), Err(Refusal::UpgradeUnasked), "{lines}");
    }
    let of_another_key = accept.replace("s3p", "s3q");
    for other in ["X: y", "Sec-WebSocket-Accept: yes", &of_another_key, &format!("{accept}\r\n{accept}")] {
        let lines = &websocket.replace(accept, other);
        assert_eq!(check(lines, Upgrade::WebSocket), Err(Refusal::UpgradeUnasked), "{lines}");
    }
    let old = response(format!("HTTP/1.0 101 x\r\n{websocket}\r\n\r\n"));
    let answer = Responses::to(&asking, Upgrade::WebSocket).next(&old, &limits);
    assert_eq!(answer, Err(Refusal::UpgradeUnasked));
}
