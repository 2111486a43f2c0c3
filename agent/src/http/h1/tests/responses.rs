//! Response heads and their framing, and valid requests in full.

use super::*;
use crate::http::head::Version;

fn answer(bytes: &[u8], method: &str) -> Result<Framing, Refusal> {
    match parse_response_head(bytes, &Limits::default()) {
        Parsed::Complete(head, consumed) => {
            assert_eq!(consumed, bytes.len(), "{}", bytes.escape_ascii());
            response_body(&head, method)
        }
        Parsed::More => panic!("not complete: {}", bytes.escape_ascii()),
        Parsed::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn the_extent_of_a_response_body_is_certain_or_the_response_is_refused() {
    use Framing::{Chunked, Close, Length};
    use Refusal::{InterimBody, LengthConflict, LengthInvalid, LengthWithCoding, TransferCoding};
    let cases: &[(&str, &str, &str, Result<Framing, Refusal>)] = &[
        ("GET", "1.1 200 OK", "X: y", Ok(Close)),
        ("GET", "1.0 200 OK", "X: y", Ok(Close)),
        ("GET", "1.1 200 OK", "Content-Length: 7", Ok(Length(7))),
        ("GET", "1.1 200 OK", "Content-Length: 0", Ok(Length(0))),
        ("GET", "1.1 404 Not Found", "Content-Length: 7|content-length: 7", Ok(Length(7))),
        ("GET", "1.1 200 OK", "Transfer-Encoding: chunked", Ok(Chunked)),
        ("GET", "1.1 302 Found", "Transfer-Encoding: Chunked", Ok(Chunked)),
        ("GET", "1.1 206 Partial Content", "Content-Length: 1", Ok(Length(1))),
        ("GET", "1.1 599 x", "X: y", Ok(Close)),
        ("GET", "1.1 999 x", "Content-Length: 3", Ok(Length(3))),
        // No body, whatever is announced.
        ("HEAD", "1.1 200 OK", "Content-Length: 7", Ok(Framing::None)),
        ("HEAD", "1.1 200 OK", "Transfer-Encoding: chunked", Ok(Framing::None)),
        ("HEAD", "1.1 404 Not Found", "X: y", Ok(Framing::None)),
        ("head", "1.1 200 OK", "Content-Length: 7", Ok(Length(7))),
        ("GET", "1.1 204 No Content", "X: y", Ok(Framing::None)),
        ("GET", "1.1 204 No Content", "Content-Length: 7", Ok(Framing::None)),
        ("GET", "1.1 204 No Content", "Transfer-Encoding: chunked", Ok(Framing::None)),
        ("GET", "1.1 205 Reset Content", "Content-Length: 7", Ok(Framing::None)),
        ("GET", "1.1 205 Reset Content", "X: y", Ok(Framing::None)),
        ("GET", "1.1 304 Not Modified", "Content-Length: 7", Ok(Framing::None)),
        ("GET", "1.1 100 Continue", "X: y", Ok(Framing::None)),
        ("GET", "1.1 103 Early Hints", "Content-Length: 0", Ok(Framing::None)),
        ("GET", "1.1 103 Early Hints", "Content-Length: 1", Err(InterimBody)),
        ("GET", "1.1 100 Continue", "Transfer-Encoding: chunked", Err(InterimBody)),
        ("GET", "1.1 101 Switching Protocols", "Content-Length: 9", Err(InterimBody)),
        // Ambiguous also where no body follows.
        ("HEAD", "1.1 200 OK", "Content-Length: 7|Transfer-Encoding: chunked", Err(LengthWithCoding)),
        ("GET", "1.1 304 Not Modified", "Content-Length: 7|Content-Length: 8", Err(LengthConflict)),
        ("GET", "1.1 204 No Content", "Content-Length: x", Err(LengthInvalid)),
        ("GET", "1.1 200 OK", "Content-Length: 7|Transfer-Encoding: chunked", Err(LengthWithCoding)),
        ("GET", "1.1 200 OK", "Transfer-Encoding: chunked|Content-Length: 7", Err(LengthWithCoding)),
        ("GET", "1.1 200 OK", "Content-Length: 7|Content-Length: 8", Err(LengthConflict)),
        ("GET", "1.1 200 OK", "Content-Length: 7, 7", Err(LengthInvalid)),
        ("GET", "1.1 200 OK", "Content-Length: -1", Err(LengthInvalid)),
        ("GET", "1.1 200 OK", "Content-Length: 9223372036854775808", Err(LengthInvalid)),
        ("GET", "1.1 200 OK", "Transfer-Encoding: gzip, chunked", Err(TransferCoding)),
        ("GET", "1.1 200 OK", "Transfer-Encoding: gzip", Err(TransferCoding)),
        ("GET", "1.1 200 OK", "Transfer-Encoding: chunked, identity", Err(TransferCoding)),
        ("GET", "1.1 200 OK", "Transfer-Encoding: xchunked", Err(TransferCoding)),
        ("GET", "1.1 200 OK", "Transfer-Encoding:\tchunked", Err(TransferCoding)),
        ("GET", "1.0 200 OK", "Transfer-Encoding: chunked", Err(Refusal::CodingVersion)),
    ];
    for (method, status, lines, expected) in cases {
        let bytes = format!("HTTP/{status}\r\n{}\r\n\r\n", lines.replace('|', "\r\n"));
        assert_eq!(answer(bytes.as_bytes(), method), *expected, "{method} {status} {lines}");
    }
}

#[test]
fn a_head_is_read_in_one_way_or_refused() {
    use Refusal::*;
    let cases: &[(&str, Refusal)] = &[
        ("HTTP/1.1 200 OK\nX: y\n\n", BareLf),
        ("HTTP/1.1 200 OK\r\nX: y\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\r\nX: y\r\n\n", BareLf),
        ("HTTP/1.1 200 OK\rX: y\r\r", BareCr),
        ("HTTP/1.1 200 OK\r\nX: a\rContent-Disposition: attachment\r\n\r\n", BareCr),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", BlankStart),
        ("HTTP/1.1 200 OK\r\n X: y\r\n\r\n", FoldedLine),
        ("HTTP/1.1 200 OK\r\nContent-Disposition:\r\n attachment\r\n\r\n", FoldedLine),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", FieldName),
        ("HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", FieldName),
        ("HTTP/1.1 200 OK\r\n: y\r\n\r\n", FieldName),
        ("HTTP/1.1 200 OK\r\nX\u{e9}: y\r\n\r\n", FieldName),
        ("HTTP/1.1 200 OK\r\nX: \u{8}\r\n\r\n", FieldValue),
        ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", Nul),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Nul),
        ("HTTP/1.1 200 O\u{1}K\r\n\r\n", FieldValue),
        ("ICY 200 OK\r\n\r\n", Version),
        ("http/1.1 200 OK\r\n\r\n", Version),
        ("HTTP/0.9 200 OK\r\n\r\n", Version),
        ("HTTP/1.2 200 OK\r\n\r\n", Version),
        ("HTTP/2.0 200 OK\r\n\r\n", Version),
        ("HTTP/2 200\r\n\r\n", Version),
        ("HTTP 200 OK\r\n\r\n", Version),
        ("HTTP/1.1\r\n\r\n", Version),
        (" HTTP/1.1 200 OK\r\n\r\n", Version),
        ("<html>\r\n\r\n", Version),
        ("HTTP/1.1  200 OK\r\n\r\n", Status),
        ("HTTP/1.1 20 OK\r\n\r\n", Status),
        ("HTTP/1.1 2000 OK\r\n\r\n", Status),
        ("HTTP/1.1 099 OK\r\n\r\n", Status),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Status),
        ("HTTP/1.1 +20 OK\r\n\r\n", Status),
        ("HTTP/1.1 OK\r\n\r\n", Status),
        ("HTTP/1.1 200\tOK\r\n\r\n", Status),
        ("HTTP/1.1 \r\n\r\n", Status),
    ];
    for (bytes, expected) in cases {
        assert_eq!(answer(bytes.as_bytes(), "GET"), Err(*expected), "{bytes:?}");
    }
}

#[test]
fn reason_phrases_may_be_missing_empty_or_not_ascii() {
    let phrase = |line: &[u8]| response([line, b"\r\n\r\n"].concat()).reason().to_vec();
    assert_eq!(phrase(b"HTTP/1.1 200"), b"");
    assert_eq!(phrase(b"HTTP/1.1 200 "), b"");
    assert_eq!(phrase(b"HTTP/1.1 200 OK"), b"OK");
    assert_eq!(phrase(b"HTTP/1.1 200 Tr\xe8s bien, merci"), b"Tr\xe8s bien, merci");
}

#[test]
fn a_response_keeps_names_order_and_bytes() {
    let head = response(b"HTTP/1.0 200 OK\r\nX-a:1\r\nCONTENT-Disposition: \t attachment; filename=\"\xe4\" \r\nx-A:\r\n\r\nrest");
    assert_eq!((head.status(), head.version()), (200, Version::Http10));
    let lines: Vec<_> = head.fields().iter().collect();
    let disposition = (&b"CONTENT-Disposition"[..], &b"attachment; filename=\"\xe4\""[..]);
    assert_eq!(lines, [(&b"X-a"[..], &b"1"[..]), disposition, (b"x-A", b"")]);
}

#[test]
fn valid_requests_become_heads() {
    #[track_caller]
    fn check(bytes: &str, method: &str, target: &str, path: &str, host: Option<&str>) {
        let head = request(bytes);
        assert_eq!((head.method(), head.target(), head.path(), head.host()), (method, target, path, host));
    }
    check("GET /a?b HTTP/1.1\r\nHost: a.test:8443\r\n\r\n", "GET", "/a?b", "/a", Some("a.test"));
    check("\r\nGET / HTTP/1.1\r\nhost:a.test.\r\n\r\n", "GET", "/", "/", Some("a.test."));
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*", "*", Some("a"));
    check("GET HTTP://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET", "HTTP://A:80/x", "/x", Some("A"));
    check("GET https://a HTTP/1.0\r\n\r\n", "GET", "https://a", "/", Some("a"));
    check("GET / HTTP/1.0\r\n\r\n", "GET", "/", "/", None);
    check("get // HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "get", "//", "//", Some("[2001:db8::1]"));
    check(
        "GET /{\"x\"|\\^`} HTTP/1.1\r\nHost: my_host\r\n\r\n",
        "GET",
        "/{\"x\"|\\^`}",
        "/{\"x\"|\\^`}",
        Some("my_host"),
    );
    check("GET /ä HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "GET", "/ä", "/ä", Some("192.0.2.1"));
    check(
        "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n",
        "M-SEARCH!#$%&'*+.^_`|~",
        "/",
        "/",
        Some("a"),
    );
}

#[test]
fn only_a_proxy_is_asked_to_connect() {
    let read = |bytes: &str| RequestReader::new(Target::Proxy).read(bytes.as_bytes(), &Limits::default());
    let Parsed::Complete(head, _) = read("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n") else {
        panic!()
    };
    assert_eq!((head.method(), head.target()), ("CONNECT", "a.test:443"));
    assert_eq!((head.host(), head.port()), (Some("a.test"), Some(443)));
    for target in ["a.test", "/", "http://a.test/", "a.test:0x1", "[::1:443", "*"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(read(&bytes), Parsed::Refused(Refusal::Target), "{target}");
    }
    assert_eq!(read("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), Parsed::Refused(Refusal::MethodRefused));
}
