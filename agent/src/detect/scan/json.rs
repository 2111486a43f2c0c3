//! JSON (RFC 8259): the escapes in it undone, content in base64 behind the text. What is no JSON comes out as it lies.

use super::form::hex;
use super::sink::Sink;
use super::{Unscanned, base64, markup, within};

/// `complete`: the text is held to its end.
pub(super) fn read(octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let mut aside = Vec::new();
    let found = values(octets, complete, depth, sink, &mut aside);
    markup::aside(&aside, sink);
    found
}

/// JSON that may itself be a string of JSON; `aside` takes what stands in tags.
pub(super) fn values(
    octets: &[u8],
    complete: bool,
    depth: usize,
    sink: &mut Sink,
    aside: &mut Vec<u8>,
) -> Option<Unscanned> {
    let (mut encoded, mut text, mut unscanned) = (Vec::new(), Vec::new(), None);
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let (before, from) = rest.split_at(at);
        sink.octets(before);
        let Some((sign, behind)) = from.split_first() else { break };
        text.clear();
        rest = if *sign == b'"' {
            let (raw, after) = string(behind, &mut text);
            let ended = after.is_some();
            encoded.extend(base64::plausible(raw).then_some((raw, ended)));
            sink.octet(b'"');
            unscanned = unscanned.or(within::read(&text, ended || complete, depth, sink, aside));
            if ended {
                sink.octet(b'"');
            }
            after.unwrap_or_default()
        } else {
            let after = unescape(behind, &mut text).unwrap_or_default();
            sink.octets(&text);
            after
        };
    }
    sink.octets(rest);
    let depth = depth.checked_sub(1)?;
    for (raw, ended) in encoded {
        unscanned = unscanned.or(base64::read(raw, ended || complete, depth, sink));
    }
    unscanned
}

/// The string whose quote has been read, its escapes undone into `text`. Returns it as it is written, and what follows
/// its other quote, where that is held.
fn string<'a>(octets: &'a [u8], text: &mut Vec<u8>) -> (&'a [u8], Option<&'a [u8]>) {
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let (before, from) = rest.split_at(at);
        text.extend_from_slice(before);
        match from {
            [b'"', behind @ ..] => {
                let raw = octets.get(..octets.len() - from.len()).unwrap_or_default();
                return (raw, Some(behind));
            }
            _ => rest = from.get(1..).and_then(|behind| unescape(behind, text)).unwrap_or_default(),
        }
    }
    text.extend_from_slice(rest);
    (octets, None)
}

/// Appends what an escape stands for, the backslash read already. Returns what follows.
fn unescape<'a>(octets: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (escaped, after) = escape(octets)?;
    match escaped {
        Escaped::Octet(octet) => text.push(octet),
        Escaped::Character(character) => {
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(after)
}

enum Escaped {
    Octet(u8),
    Character(char),
}

/// What an escape stands for, the backslash read already, and what follows. `None` at the end of the text.
fn escape(octets: &[u8]) -> Option<(Escaped, &[u8])> {
    let (escape, after) = octets.split_first()?;
    Some(match escape {
        b'n' | b'r' | b't' | b'b' | b'f' => (Escaped::Octet(b'\n'), after),
        b'u' => unicode(after),
        other => (Escaped::Octet(*other), after),
    })
}

/// Four hexadecimal digits, or twice that for a pair of surrogates.
fn unicode(octets: &[u8]) -> (Escaped, &[u8]) {
    let Some((first, behind)) = unit(octets) else { return (Escaped::Octet(b'u'), octets) };
    if let Some(character) = char::from_u32(u32::from(first)) {
        return (Escaped::Character(character), behind);
    }
    let second = behind.strip_prefix(b"\\u").and_then(unit);
    if let Some((second, behind)) = second
        && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
    {
        return (Escaped::Character(character), behind);
    }
    (Escaped::Character(char::REPLACEMENT_CHARACTER), behind)
}

fn unit(octets: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, behind) = octets.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, digit| Some(value << 4 | u16::from(hex(*digit)?)))?;
    Some((value, behind))
}

/// A string of ASCII characters with its escapes undone; other characters come out as NUL.
pub(super) fn unescaped(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (octet, behind) = rest.split_first()?;
        if *octet != b'\\' {
            rest = behind;
            return Some(*octet);
        }
        let (escaped, after) = escape(behind)?;
        rest = after;
        Some(match escaped {
            Escaped::Octet(octet) => octet,
            Escaped::Character(character) => u8::try_from(character).unwrap_or_default(),
        })
    })
}
