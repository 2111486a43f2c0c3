//! The character rules that parsing and serialising share (RFC 9110 section 5.6, RFC 3986 section 3.2).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::http::head::split_port;

/// Longest host in a Host field: what DNS allows in text form (RFC 1035 section 2.3.4), with a trailing dot.
const MAX_HOST: usize = 254;

/// One or more token characters: field names and methods.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN_CHARS[usize::from(*byte)])
}

/// Names that case does not tell apart, written as they mostly are already: then nothing is copied.
pub(crate) fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// How many octets at the beginning of `text` are token characters.
pub(super) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|byte| !TOKEN_CHARS[usize::from(*byte)]).unwrap_or(text.len())
}

/// [`is_token_char`] of every byte: every field name that goes out is looked at, and one load is cheaper than the ranges.
const TOKEN_CHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_token_char(byte as u8);
        byte += 1;
    }
    table
};

pub(in crate::http) const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Free of controls but TAB: what may stand in a field value or reason phrase without ending its line.
pub(in crate::http) fn is_field_text(text: &[u8]) -> bool {
    // To the end, whatever is found: without an exit the compiler looks at many bytes at once.
    !text.iter().fold(false, |bad, byte| bad | is_control(*byte))
}

const fn is_control(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
}

/// Octets that are looked at as one.
const BLOCK: usize = 16;

/// Where the first control but TAB stands.
pub(super) fn control_in(text: &[u8]) -> Option<usize> {
    let first = |found: u32| (found != 0).then_some(found.trailing_zeros() as usize);
    let mut at = 0;
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        if let Some(place) = first(controls(*block)) {
            return Some(at + place);
        }
        at += BLOCK;
    }
    // What is left is looked at with what stands before it, where there was none.
    match text.last_chunk::<BLOCK>() {
        Some(block) => first(controls(*block)).map(|place| text.len() - BLOCK + place),
        None => text.iter().position(|byte| is_control(*byte)),
    }
}

/// A bit for each octet of a block, the first one lowest: whether it is a control but TAB.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "what the function needs, every processor of this architecture has")]
fn controls(block: [u8; BLOCK]) -> u32 {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { controls_sse2(block) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn controls(block: [u8; BLOCK]) -> u32 {
    block.iter().rev().fold(0, |found, byte| found << 1 | u32::from(is_control(*byte)))
}

/// Written out: left to the compiler, comparisons become vector instructions in one build and twenty times as many others in
/// the next.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn controls_sse2(block: [u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_andnot_si128, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };
    let octets = u128::from_le_bytes(block);
    let block = _mm_set_epi64x((octets >> 64) as i64, octets as i64);
    let low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    let tab = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x09));
    let delete = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));
    _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), delete)) as u32
}

/// Free of controls and spaces, and without a fragment, which never belongs on the wire.
pub(in crate::http) fn is_target(text: &str) -> bool {
    let bad = |byte: u8| (byte <= b' ') | (byte == 0x7f) | (byte == b'#');
    !text.is_empty() && !text.bytes().fold(false, |found, byte| found | bad(byte))
}

/// A host name, IPv4 address or bracketed IPv6 address, with an optional port. Stricter than the URI grammar: no
/// percent-encoding, no user information, no empty port, no empty label but the last.
pub(in crate::http) fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    is_host(host) && port.is_none_or(is_port)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= MAX_HOST
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

pub(super) fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    //! The rules byte by byte, as the grammar has them.

    use super::*;

    #[test]
    fn each_byte_is_judged_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for place in [0, 1, 17, 39] {
                let mut text = [b'a'; 40];
                text[place] = byte;
                let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                assert_eq!(is_token(&text), tchar, "{byte:#04x}");
                let field = matches!(byte, b'\t' | b' '..=0x7e | 0x80..);
                assert_eq!(is_field_text(&text), field, "{byte:#04x}");
                for start in 0..=place {
                    let found = (!field).then_some(place - start);
                    assert_eq!(control_in(&text[start..]), found, "{byte:#04x} at {place} from {start}");
                }
                assert_eq!(token_len(&text), if tchar { 40 } else { place }, "{byte:#04x}");
                if let Ok(text) = std::str::from_utf8(&text) {
                    assert_eq!(is_target(text), matches!(byte, b'!'..=0x7e) && byte != b'#', "{byte:#04x}");
                }
            }
        }
        for (before, byte) in (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| (a, b))) {
            let mut text = [before; 19];
            for place in [3, 7, 8, 12, 15, 17] {
                text[place] = byte;
            }
            assert_eq!(control_in(&text), text.iter().position(|byte| is_control(*byte)), "{text:x?}");
        }
        assert!(is_field_text(b"") && !is_token(b"") && !is_target(""));
        assert!(is_target("/\u{e4}"));
    }
}
