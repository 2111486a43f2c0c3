//! Entry points for fuzzers and property tests: arbitrary bytes in, the codec's promises asserted. Not on the data path.

use super::connection::{expects_continue, keep_alive, upgrade};
use super::head::{RequestReader, ResponseReader, Target};
use super::{Body, Emit, Framing, Limits, Parsed, Piece, Refusal};
use super::{
    parse_request_head, parse_response_head, request_body, response_body, write_request, write_response,
};
use crate::http::head::{Fields, RequestHead, ResponseHead, Version};

/// Fields that serialising may drop or spell anew.
const REMADE: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "http2-settings",
];

/// Heads: the answer does not depend on how the bytes arrive, and what is written reads back as what was judged.
pub fn fuzz_head(data: &[u8]) {
    let limits = Limits::default();

    let whole = parse_request_head(data, &limits);
    let mut reader = RequestReader::new(Target::Origin);
    assert_eq!(first_answer(data, |prefix| reader.read(prefix, &limits)), whole);
    if let Parsed::Complete(head, consumed) = whole {
        assert!(consumed <= data.len());
        if let Ok(framing) = request_body(&head) {
            check_request(&head, framing);
        }
    }

    let whole = parse_response_head(data, &limits);
    let mut reader = ResponseReader::new();
    assert_eq!(first_answer(data, |prefix| reader.read(prefix, &limits)), whole);
    if let Parsed::Complete(head, consumed) = whole {
        assert!(consumed <= data.len());
        for method in ["GET", "HEAD"] {
            if let Ok(framing) = response_body(&head, method) {
                check_response(&head, method, framing);
            }
        }
    }
}

fn first_answer<T>(data: &[u8], mut read: impl FnMut(&[u8]) -> Parsed<T>) -> Parsed<T> {
    (0..=data.len())
        .filter_map(|end| data.get(..end))
        .map(&mut read)
        .find(|answer| !matches!(answer, Parsed::More))
        .unwrap_or(Parsed::More)
}

fn check_request(head: &RequestHead, framing: Framing) {
    // Asked for their promise not to panic.
    let _ = (head.path(), head.query(), head.host(), head.port(), upgrade(head), expects_continue(head));
    let persistent = keep_alive(head.fields(), head.version());
    let emit = Emit { framing, persistent, upgrade: false };
    let mut bytes = Vec::new();
    assert_eq!(write_request(head, emit, &mut bytes), Ok(()), "{head:?}");
    let Parsed::Complete(again, consumed) = parse_request_head(&bytes, &no_limits()) else {
        panic!("written request does not parse: {head:?}");
    };
    assert_eq!(consumed, bytes.len());
    assert_eq!(
        (again.method(), again.version(), again.query()),
        (head.method(), head.version(), head.query())
    );
    assert_eq!(again.host(), head.host());
    assert_eq!(request_body(&again), Ok(framing));
    assert_eq!(keep_alive(again.fields(), again.version()), persistent);
    if head.fields().count("host") == 1 {
        assert_eq!(end_to_end(again.fields()), end_to_end(head.fields()));
    }
}

fn check_response(head: &ResponseHead, method: &str, framing: Framing) {
    let emit = Emit { framing, persistent: keep_alive(head.fields(), head.version()), upgrade: false };
    let mut bytes = Vec::new();
    assert_eq!(write_response(head, method, emit, &mut bytes), Ok(()), "{head:?}");
    let Parsed::Complete(again, consumed) = parse_response_head(&bytes, &no_limits()) else {
        panic!("written response does not parse: {head:?}");
    };
    assert_eq!(consumed, bytes.len());
    assert_eq!(
        (again.status(), again.reason(), again.version()),
        (head.status(), head.reason(), head.version())
    );
    assert_eq!(response_body(&again, method), Ok(framing));
    assert_eq!(end_to_end(again.fields()), end_to_end(head.fields()));
}

/// Writing spells connection and framing out, which can lengthen a head that was just within the limits.
fn no_limits() -> Limits {
    Limits { head_bytes: usize::MAX, fields: usize::MAX, request_line: usize::MAX / 4, ..Limits::default() }
}

/// Fields without those that writing may drop or spell anew.
pub fn end_to_end(fields: &Fields) -> Vec<(&[u8], &[u8])> {
    let remade = |name: &[u8]| REMADE.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
    fields.iter().filter(|(name, _)| !remade(name)).collect()
}

/// Chunked bodies: payload and end do not depend on how the bytes arrive, and the payload survives encoding again. The
/// first byte chooses the size of the pieces.
pub fn fuzz_chunked(data: &[u8]) {
    let Some((split, data)) = data.split_first() else { return };
    let whole = decode(Framing::Chunked, [data]);
    assert_eq!(decode(Framing::Chunked, data.chunks(usize::from(*split) + 1)), whole);
    assert!(whole.payload.len() <= data.len());
}

/// What a body came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    pub payload: Vec<u8>,
    /// Bytes up to the end of the body, or all that were read before a refusal.
    pub consumed: usize,
    /// `false`: more bytes are needed.
    pub end: Result<bool, Refusal>,
}

/// Runs a body decoder over `pieces`, asserting its promises about what it consumes.
pub fn decode<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut body = Body::new(framing, &Limits::default());
    let mut decoded = Decoded { payload: Vec::new(), consumed: 0, end: Ok(false) };
    for piece in pieces {
        let mut rest = piece;
        loop {
            match body.next(rest) {
                Err(refusal) => return Decoded { consumed: 0, end: Err(refusal), ..decoded },
                Ok(Piece::End { consumed }) => {
                    assert!(consumed <= rest.len() && body.is_done());
                    return Decoded { consumed: decoded.consumed + consumed, end: Ok(true), ..decoded };
                }
                Ok(Piece::More { consumed }) => {
                    assert!(consumed == rest.len() && !body.is_done());
                    decoded.consumed += consumed;
                    break;
                }
                Ok(Piece::Data { payload, consumed }) => {
                    assert!(!payload.is_empty() && payload.end <= consumed);
                    decoded.payload.extend_from_slice(rest.get(payload).unwrap_or_default());
                    rest = rest.get(consumed..).unwrap_or_default();
                    decoded.consumed += consumed;
                }
            }
        }
    }
    decoded
}

/// Serialising: lines made from arbitrary bytes (parted by `\xff`) are refused, or stay exactly the lines they were.
pub fn fuzz_fields(data: &[u8]) {
    let mut head = ResponseHead::new(200, Version::Http11);
    let mut parts = data.split(|byte| *byte == 0xff);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        head.fields_mut().push(name, value);
    }
    let mut out = b"before".to_vec();
    match write_response(&head, "GET", Emit::new(Framing::Length(0)), &mut out) {
        Err(_) => assert_eq!(out, b"before"),
        Ok(()) => {
            let written = out.get(6..).unwrap_or_default();
            let lines = end_to_end(head.fields()).len() + 3;
            assert_eq!(written.windows(2).filter(|pair| pair == b"\r\n").count(), lines);
            assert_eq!(written.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count(), 2 * lines);
        }
    }
}
