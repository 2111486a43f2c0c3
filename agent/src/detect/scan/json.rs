//! JSON (RFC 8259): the escapes in it undone, content in base64 behind the text. What is no JSON comes out as it lies.

use super::form::hex;
use super::sink::Sink;
use super::{Unscanned, base64};

/// `complete`: the text is held to its end.
pub(super) fn read(octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let mut encoded = Vec::new();
    // Where the string under way begins.
    let mut string = None;
    let mut rest = octets;
    while let [octet, behind @ ..] = rest {
        match octet {
            b'"' => {
                let at = octets.len() - behind.len();
                string = match string {
                    None => Some(at),
                    Some(start) => {
                        let raw = octets.get(start..at - 1).unwrap_or_default();
                        encoded.extend(base64::plausible(raw).then_some((raw, true)));
                        None
                    }
                };
                sink.octet(b'"');
                rest = behind;
            }
            b'\\' => match escape(behind) {
                Some((Escaped::Octet(octet), after)) => {
                    sink.octet(octet);
                    rest = after;
                }
                Some((Escaped::Character(character), after)) => {
                    sink.character(character);
                    rest = after;
                }
                None => break,
            },
            other => {
                sink.octet(*other);
                rest = behind;
            }
        }
    }
    if let Some(raw) = string.and_then(|start| octets.get(start..)).filter(|raw| base64::plausible(raw)) {
        encoded.push((raw, false));
    }
    let depth = depth.checked_sub(1)?;
    let mut unscanned = None;
    for (raw, ended) in encoded {
        unscanned = unscanned.or(base64::read(raw, ended || complete, depth, sink));
    }
    unscanned
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
