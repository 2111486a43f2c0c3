//! Bodies: chunked coding to the letter, limits, trailers, lengths, and ends of input.

use super::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use super::fuzz::decode;
use super::trailer::write_last_chunk;
use super::*;
use crate::http::head::Fields;

/// Decodes in one go and byte by byte, which must agree. `Err(None)`: needs more.
#[track_caller]
fn chunked(bytes: impl AsRef<[u8]>) -> Result<(Vec<u8>, usize), Option<Refusal>> {
    let bytes = bytes.as_ref();
    let whole = decode(Framing::Chunked, [bytes]);
    assert_eq!(decode(Framing::Chunked, bytes.chunks(1)), whole, "{}", bytes.escape_ascii());
    match whole.end {
        Ok(true) => Ok((whole.payload, whole.consumed)),
        Ok(false) => Err(None),
        Err(refusal) => Err(Some(refusal)),
    }
}

#[test]
fn valid_bodies_decode_to_their_payload_and_end_where_they_end() {
    let cases: &[(&str, &str)] = &[
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\na\r\n2\r\nbc\r\n00\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n0000000000000000\r\n\r\n", "0123456789"),
        ("0000000000000001\r\n\n\r\n0\r\n\r\n", "\n"),
        ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
        ("1;x\r\na\r\n0\r\n\r\n", "a"),
        ("1;x=y;z=\"q;r\"\r\na\r\n0;last\r\n\r\n", "a"),
        ("1; \tx = y\r\na\r\n0\r\n\r\n", "a"),
        ("1\r\na\r\n0\r\nX: y\r\n\r\n", "a"),
        ("0\r\nX:\r\nY: z\r\n\r\n", ""),
    ];
    for (bytes, payload) in cases {
        assert_eq!(chunked(bytes), Ok((payload.as_bytes().to_vec(), bytes.len())), "{bytes:?}");
        // What follows the body is not touched.
        assert_eq!(
            chunked(format!("{bytes}GET /")).map(|(_, consumed)| consumed),
            Ok(bytes.len()),
            "{bytes:?}"
        );
        for end in 0..bytes.len() {
            assert_eq!(chunked(&bytes[..end]), Err(None), "{:?}", &bytes[..end]);
        }
    }
}

#[test]
fn malformed_bodies_are_refused() {
    use Refusal::*;
    let cases: &[(&str, Refusal)] = &[
        // Sizes.
        ("\r\n\r\n", ChunkSize),
        ("\r\n", ChunkSize),
        (";x\r\n", ChunkSize),
        (" 5\r\nhello\r\n", ChunkSize),
        ("5 \r\nhello\r\n", ChunkSize),
        ("5\t\r\nhello\r\n", ChunkSize),
        ("5 ;x\r\nhello\r\n", ChunkSize),
        ("+5\r\nhello\r\n", ChunkSize),
        ("-1\r\n", ChunkSize),
        ("0x5\r\nhello\r\n", ChunkSize),
        ("5h\r\nhello\r\n", ChunkSize),
        ("5_0\r\n", ChunkSize),
        ("5,5\r\n", ChunkSize),
        ("5\0\r\n", ChunkSize),
        ("g\r\n", ChunkSize),
        ("\u{662}\r\n", ChunkSize),
        ("8000000000000000\r\n", ChunkSize),
        ("ffffffffffffffff\r\n", ChunkSize),
        ("00000000000000001\r\n", ChunkSize),
        ("10000000000000000\r\n", ChunkSize),
        ("1\r\na\r\n\r\n", ChunkSize),
        // Line ends.
        ("5\nhello\n0\n\n", ChunkSize),
        ("5\rhello\r\n", BareCr),
        ("5\r\r\nhello", BareCr),
        ("5\r\nhello\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", ChunkEnd),
        ("5\r\nhello0\r\n\r\n", ChunkEnd),
        ("5\r\nhelloo\r\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhellox\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\rx0\r\n\r\n", ChunkEnd),
        ("3\r\nhello\r\n0\r\n\r\n", ChunkEnd),
        ("0\n\n", ChunkSize),
        ("0\r\n\n", BareLf),
        ("0\r\n\rX", BareCr),
        // Extensions.
        ("5;\r\nhello\r\n", ChunkExtension),
        ("5;;x\r\nhello\r\n", ChunkExtension),
        ("5;=y\r\nhello\r\n", ChunkExtension),
        ("5;a\nb\r\nhello\r\n", ChunkExtension),
        ("5;\n", ChunkExtension),
        ("5;a\0\r\n", ChunkExtension),
        ("5;a\u{1}\r\n", ChunkExtension),
        ("5;a\u{7f}\r\n", ChunkExtension),
        ("5;a=\"b\r\nhello\r\n", ChunkExtension),
        ("5;a=\"b\\\"\r\nhello\r\n", ChunkExtension),
        ("5;a=\"b\\\r\nhello\r\n", ChunkExtension),
        ("5;a\rb\r\n", BareCr),
        // Trailers.
        ("0\r\nX: y\n\r\n", BareLf),
        ("0\r\nX: a\rb\r\n\r\n", BareCr),
        ("0\r\nX: y\r\n z\r\n\r\n", FoldedLine),
        ("0\r\n X: y\r\n\r\n", FoldedLine),
        ("0\r\nX : y\r\n\r\n", FieldName),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", FieldName),
        ("0\r\nX: \0\r\n\r\n", Nul),
        ("0\r\nX: \u{1}\r\n\r\n", FieldValue),
        ("0\r\nTransfer-Encoding:\tchunked\r\n\r\n", TransferCoding),
    ];
    for (bytes, expected) in cases {
        assert_eq!(chunked(bytes), Err(Some(*expected)), "{bytes:?}");
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |size: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(size));
    assert!(chunked(extension(256)).is_ok());
    assert_eq!(chunked(extension(257)), Err(Some(Refusal::ChunkExtension)));
    assert_eq!(chunked("5;".to_owned() + &" ".repeat(300)), Err(Some(Refusal::ChunkExtension)));
    // Each within its limit, but a body of nothing else.
    let one = format!("1;{}\r\na\r\n", "x".repeat(200));
    assert!(chunked(one.repeat(80) + "0\r\n\r\n").is_ok());
    assert_eq!(chunked(one.repeat(90)), Err(Some(Refusal::ChunkExtension)));
    // The same extensions beside a fair payload.
    let fair = format!("64;{}\r\n{}\r\n", "x".repeat(200), "a".repeat(100));
    assert!(chunked(fair.repeat(200) + "0\r\n\r\n").is_ok());

    let trailer = |size: usize| format!("0\r\nX: {}\r\n\r\n", "x".repeat(size));
    let fits = 8 * 1024 - 7;
    assert!(chunked(trailer(fits)).is_ok());
    assert_eq!(chunked(trailer(fits + 1)), Err(Some(Refusal::TrailerTooLarge)));
    assert_eq!(chunked("0\r\n".to_owned() + &"x".repeat(9000)), Err(Some(Refusal::TrailerTooLarge)));
    assert!(chunked(format!("0\r\n{}\r\n", "X:\r\n".repeat(32))).is_ok());
    assert_eq!(chunked(format!("0\r\n{}\r\n", "X:\r\n".repeat(33))), Err(Some(Refusal::TrailerTooLarge)));
}

#[test]
fn trailers_that_would_change_the_judged_head_are_taken_out() {
    let mut body = Body::new(Framing::Chunked, &Limits::default());
    let bytes = b"0\r\nServer-Timing: a\r\nContent-DISPOSITION: attachment\r\nContent-Type: x\r\nContent-Length: 5\r\n\
        Transfer-Encoding: chunked\r\nHost: b\r\nSet-Cookie: c\r\nx-checksum: d\r\n\r\n";
    assert_eq!(body.trailers(), None);
    assert_eq!(body.next(bytes), Ok(Piece::End { consumed: bytes.len() }));
    let trailers = body.trailers().unwrap();
    assert_eq!(trailers.fields, [("Server-Timing", "a"), ("x-checksum", "d")].into_iter().collect());
    assert_eq!(trailers.forbidden, 6);
}

#[test]
fn payload_is_given_as_ranges_of_the_input() {
    let mut body = Body::new(Framing::Chunked, &Limits::default());
    let input = b"3\r\nabc\r\n4;x\r\nde";
    assert_eq!(body.next(input), Ok(Piece::Data { payload: 3..6, consumed: 6 }));
    assert_eq!(body.next(&input[6..]), Ok(Piece::Data { payload: 7..9, consumed: 9 }));
    assert_eq!(body.next(b""), Ok(Piece::More { consumed: 0 }));
    assert_eq!(body.next(b"fg"), Ok(Piece::Data { payload: 0..2, consumed: 2 }));
    assert_eq!(body.next(b"\r\n0\r\n\r"), Ok(Piece::More { consumed: 6 }));
    assert_eq!(body.next(b"\nGET"), Ok(Piece::End { consumed: 1 }));
    assert_eq!(body.next(b"GET"), Ok(Piece::End { consumed: 0 }));
}

#[test]
fn lengths_leave_what_follows() {
    let mut body = Body::new(Framing::Length(5), &Limits::default());
    assert_eq!(body.next(b""), Ok(Piece::More { consumed: 0 }));
    assert_eq!(body.next(b"abc"), Ok(Piece::Data { payload: 0..3, consumed: 3 }));
    assert!(!body.is_done());
    assert_eq!(body.clone().end_of_input(), Err(Refusal::Truncated));
    assert_eq!(body.next(b"defgh"), Ok(Piece::Data { payload: 0..2, consumed: 2 }));
    assert_eq!(body.next(b"fgh"), Ok(Piece::End { consumed: 0 }));
    assert_eq!(body.end_of_input(), Ok(()));
    let mut none = Body::new(Framing::None, &Limits::default());
    assert_eq!(none.next(b"x"), Ok(Piece::End { consumed: 0 }));
}

#[test]
fn only_a_close_delimited_body_may_end_with_the_connection() {
    let mut body = Body::new(Framing::Close, &Limits::default());
    assert_eq!(body.next(b"abc"), Ok(Piece::Data { payload: 0..3, consumed: 3 }));
    assert_eq!(body.next(b""), Ok(Piece::More { consumed: 0 }));
    assert!(!body.is_done());
    assert_eq!(body.end_of_input(), Ok(()));
    assert_eq!(body.next(b""), Ok(Piece::End { consumed: 0 }));
    for bytes in ["", "5", "5\r\nab", "5\r\nabcde\r\n", "0\r\n", "0\r\nX: y\r\n"] {
        let mut body = Body::new(Framing::Chunked, &Limits::default());
        let mut rest = bytes.as_bytes();
        while let Ok(Piece::Data { consumed, .. }) = body.next(rest) {
            rest = &rest[consumed..];
        }
        assert_eq!(body.end_of_input(), Err(Refusal::Truncated), "{bytes:?}");
    }
}

#[test]
fn chunk_headers_are_minimal_hexadecimal() {
    for (size, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65536, "10000\r\n")] {
        assert_eq!(ChunkHeader::new(size).unwrap().as_bytes(), expected.as_bytes());
    }
    assert_eq!(ChunkHeader::new(usize::MAX).unwrap().as_bytes(), b"ffffffffffffffff\r\n");
    assert!(ChunkHeader::new(0).is_none());
}

#[test]
fn a_last_chunk_carries_trailers_or_nothing() {
    let mut out = Vec::new();
    assert_eq!(write_last_chunk(&Fields::new(), &mut out), Ok(()));
    assert_eq!(out, LAST_CHUNK);
    let trailers: Fields = [("X", "y")].into_iter().collect();
    assert_eq!(write_last_chunk(&trailers, &mut out), Ok(()));
    assert_eq!(out, b"0\r\n\r\n0\r\nX: y\r\n\r\n");
    let split: Fields = [("X", "y\r\n\r\nHTTP/1.1 200 OK")].into_iter().collect();
    assert_eq!(write_last_chunk(&split, &mut out), Err(Refusal::FieldValue));
    assert_eq!(out, b"0\r\n\r\n0\r\nX: y\r\n\r\n");
    assert_eq!(CHUNK_END, b"\r\n");
}
