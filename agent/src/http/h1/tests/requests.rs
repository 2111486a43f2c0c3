//! Request heads and their framing: what passes, and the reason for what does not.

use super::*;

/// A request line, Host, and the lines given, each closed by CRLF; then the empty line.
fn with(lines: &str) -> Vec<u8> {
    let lines = lines.replace('|', "\r\n");
    format!("POST /upload HTTP/1.1\r\nHost: files.corp.test\r\n{lines}\r\n\r\n").into_bytes()
}

fn answer(bytes: &[u8]) -> Result<Framing, Refusal> {
    match parse_request_head(bytes, &Limits::default()) {
        Parsed::Complete(head, consumed) => {
            assert_eq!(consumed, bytes.len(), "{}", bytes.escape_ascii());
            request_body(&head)
        }
        Parsed::More => panic!("not complete: {}", bytes.escape_ascii()),
        Parsed::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn the_extent_of_a_request_body_is_certain_or_the_request_is_refused() {
    use Framing::{Chunked, Length};
    use Refusal::{CodingVersion, LengthConflict, LengthInvalid, LengthWithCoding, TransferCoding};
    let cases: &[(&str, Result<Framing, Refusal>)] = &[
        ("X: y", Ok(Framing::None)),
        ("Content-Length: 5", Ok(Length(5))),
        ("content-LENGTH:5", Ok(Length(5))),
        ("Content-Length: 0", Ok(Length(0))),
        ("Content-Length: \t 5 ", Ok(Length(5))),
        ("Content-Length: 00005", Ok(Length(5))),
        ("Content-Length: 5|Content-Length: 5", Ok(Length(5))),
        ("Content-Length: 9223372036854775807", Ok(Length(i64::MAX as u64))),
        ("Transfer-Encoding: chunked", Ok(Chunked)),
        ("transfer-encoding:CHUNKED", Ok(Chunked)),
        // Both, in either order.
        ("Content-Length: 6|Transfer-Encoding: chunked", Err(LengthWithCoding)),
        ("Transfer-Encoding: chunked|Content-Length: 0", Err(LengthWithCoding)),
        ("Transfer-Encoding: identity|Content-Length: 3", Err(LengthWithCoding)),
        ("Transfer-Encoding:|Content-Length: 3", Err(LengthWithCoding)),
        // Codings that one side may read as chunked and the other not.
        ("Transfer-Encoding: xchunked", Err(TransferCoding)),
        ("Transfer-Encoding: chunkedx", Err(TransferCoding)),
        ("Transfer-Encoding: chunke", Err(TransferCoding)),
        ("Transfer-Encoding: chunked, identity", Err(TransferCoding)),
        ("Transfer-Encoding: identity, chunked", Err(TransferCoding)),
        ("Transfer-Encoding: gzip, chunked", Err(TransferCoding)),
        ("Transfer-Encoding: chunked, chunked", Err(TransferCoding)),
        ("Transfer-Encoding: ,chunked", Err(TransferCoding)),
        ("Transfer-Encoding: chunked,", Err(TransferCoding)),
        ("Transfer-Encoding: chunked;q=1", Err(TransferCoding)),
        ("Transfer-Encoding: \"chunked\"", Err(TransferCoding)),
        ("Transfer-Encoding: identity", Err(TransferCoding)),
        ("Transfer-Encoding: gzip", Err(TransferCoding)),
        ("Transfer-Encoding:", Err(TransferCoding)),
        ("Transfer-Encoding:  chunked", Err(TransferCoding)),
        ("Transfer-Encoding:\tchunked", Err(TransferCoding)),
        ("Transfer-Encoding: chunked ", Err(TransferCoding)),
        ("Transfer-Encoding: chunked\t", Err(TransferCoding)),
        ("Transfer-Encoding: chunked|Transfer-Encoding: chunked", Err(TransferCoding)),
        ("Transfer-Encoding: chunked|transfer-encoding: identity", Err(TransferCoding)),
        ("Transfer-Encoding: chunk\u{e9}d", Err(TransferCoding)),
        ("Transfer-Encoding: \u{b}chunked", Err(Refusal::FieldValue)),
        ("Transfer-Encoding: chunked\u{c}", Err(Refusal::FieldValue)),
        ("Transfer-Encoding: chunked\u{7f}", Err(Refusal::FieldValue)),
        ("Transfer-Encoding: chunked\0", Err(Refusal::Nul)),
        // Names that only look like it are other fields.
        ("Transfer_Encoding: chunked", Ok(Framing::None)),
        ("X-Transfer-Encoding: chunked|Content-Length: 1", Ok(Length(1))),
        // Numbers that are none.
        ("Content-Length:", Err(LengthInvalid)),
        ("Content-Length: +5", Err(LengthInvalid)),
        ("Content-Length: -0", Err(LengthInvalid)),
        ("Content-Length: -5", Err(LengthInvalid)),
        ("Content-Length: 0x5", Err(LengthInvalid)),
        ("Content-Length: 5h", Err(LengthInvalid)),
        ("Content-Length: 1_0", Err(LengthInvalid)),
        ("Content-Length: 5.0", Err(LengthInvalid)),
        ("Content-Length: 5e1", Err(LengthInvalid)),
        ("Content-Length: 5 5", Err(LengthInvalid)),
        ("Content-Length: 5,5", Err(LengthInvalid)),
        ("Content-Length: 5, 6", Err(LengthInvalid)),
        ("Content-Length: ,5", Err(LengthInvalid)),
        ("Content-Length: \"5\"", Err(LengthInvalid)),
        ("Content-Length: \u{662}", Err(LengthInvalid)),
        ("Content-Length: 9223372036854775808", Err(LengthInvalid)),
        ("Content-Length: 18446744073709551616", Err(LengthInvalid)),
        ("Content-Length: 99999999999999999999999999999999", Err(LengthInvalid)),
        ("Content-Length: 5|Content-Length: 6", Err(LengthConflict)),
        ("Content-Length: 5|content-length: 0", Err(LengthConflict)),
        ("Content-Length: 5|Content-Length:", Err(LengthInvalid)),
    ];
    for (lines, expected) in cases {
        assert_eq!(answer(&with(lines)), *expected, "{lines:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(answer(old.as_bytes()), Err(CodingVersion));
}

#[test]
fn any_method_may_have_a_body() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "x-custom"] {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\n");
        assert_eq!(answer(bytes.as_bytes()), Ok(Framing::Length(44)), "{method}");
    }
}

#[test]
fn a_head_is_read_in_one_way_or_refused() {
    use Refusal::*;
    let cases: &[(&str, Refusal)] = &[
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: a\r\r", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nX: a\rb\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nX: a\r Host: b\r\n\r\n", BareCr),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BlankStart),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\tc\r\n\r\n", FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", FoldedLine),
        // Names and values.
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(Y: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{1}: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{7f}: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\u{1b}[0m\r\n\r\n", FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\u{7f}\r\n\r\n", FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Nul),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Nul),
        ("\0", Nul),
        // Start line.
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", StartLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        ("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", Version),
        ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        ("GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", StartLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", MethodRefused),
        ("connect a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", MethodRefused),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", MethodRefused),
        ("TrAcK / HTTP/1.1\r\nHost: a\r\n\r\n", MethodRefused),
        // Versions.
        ("GET /\r\n\r\n", Version),
        ("GET / HTTP/0.9\r\n\r\n", Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/1.\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/01.1\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/3\r\nHost: a\r\n\r\n", Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        ("GET / ICY/1.1\r\nHost: a\r\n\r\n", StartLine),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", StartLine),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n", HostMissing),
        ("GET http://a/ HTTP/1.1\r\n\r\n", HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HostRepeated),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", HostRepeated),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", HostRepeated),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: .a\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: \u{e4}.test\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", HostInvalid),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", HostMismatch),
        ("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("GET https://a.b/ HTTP/1.0\r\nHost: a.b.\r\n\r\n", HostMismatch),
    ];
    for (bytes, expected) in cases {
        assert_eq!(answer(bytes.as_bytes()), Err(*expected), "{bytes:?}");
    }
    let host = |length: usize| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(length));
    assert_eq!(answer(host(254).as_bytes()), Ok(Framing::None));
    assert_eq!(answer(host(255).as_bytes()), Err(HostInvalid));
    assert_eq!(answer(b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n"), Err(HostInvalid));
    assert_eq!(answer(b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Target));
}
