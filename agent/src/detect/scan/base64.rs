//! Content in base64 (RFC 4648) within strings of JSON, as APIs send files: `contentBytes` of Microsoft Graph and its like.

use super::json;
use super::sink::Sink;
use super::{Unscanned, entity};
use crate::http::content_disposition::{Padding, base64_decode};

/// Shortest string that is decoded: sixteen octets, a card number.
const SHORTEST: usize = 22;
/// What precedes the digits of a data URL (RFC 2397).
const DATA_URL: &[u8] = b";base64,";
/// Longest beginning of a data URL before its digits.
const LONGEST_TYPE: usize = 128;

/// Whether a string, as JSON has it, is worth decoding.
pub(super) fn plausible(raw: &[u8]) -> bool {
    let digits = digits(raw);
    let digit = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/-_=\\".contains(octet);
    digits.len() >= SHORTEST && digits.iter().all(digit)
}

fn digits(raw: &[u8]) -> &[u8] {
    let near = raw.get(..LONGEST_TYPE).unwrap_or(raw);
    let data = near.starts_with(b"data:").then(|| memchr::memmem::find(near, DATA_URL)).flatten();
    data.and_then(|at| raw.get(at + DATA_URL.len()..)).unwrap_or(raw)
}

/// Reads what a plausible string holds. `complete`: the string ended. What turns out to be no base64 was read as text.
pub(super) fn read(raw: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let mut text: Vec<u8> =
        json::unescaped(digits(raw)).filter(|octet| !octet.is_ascii_whitespace()).collect();
    for octet in &mut text {
        // The alphabet for URLs (section 5).
        match octet {
            b'-' => *octet = b'+',
            b'_' => *octet = b'/',
            _ => {}
        }
    }
    if !complete {
        text.truncate(text.len() / 4 * 4);
    }
    let content = base64_decode(&text, Padding::Optional)?;
    sink.new_text();
    entity(b"", &content, complete, depth, sink)
}
