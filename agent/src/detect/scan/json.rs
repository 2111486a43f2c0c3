//! JSON (RFC 8259): the escapes in it undone. What is no JSON comes out as it lies.

use super::form::hex;
use super::sink::Sink;

pub(super) fn read(octets: &[u8], sink: &mut Sink) {
    let mut rest = octets;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        if *octet != b'\\' {
            sink.octet(*octet);
            continue;
        }
        let Some((escape, after)) = behind.split_first() else { break };
        rest = after;
        match escape {
            b'n' | b'r' | b't' | b'b' | b'f' => sink.octet(b'\n'),
            b'u' => rest = unicode(after, sink),
            other => sink.octet(*other),
        }
    }
}

/// Four hexadecimal digits, or twice that for a pair of surrogates. Returns what follows.
fn unicode<'a>(octets: &'a [u8], sink: &mut Sink) -> &'a [u8] {
    let Some((first, behind)) = unit(octets) else {
        sink.octet(b'u');
        return octets;
    };
    if let Some(character) = char::from_u32(u32::from(first)) {
        sink.character(character);
        return behind;
    }
    let second = behind.strip_prefix(b"\\u").and_then(unit);
    if let Some((second, behind)) = second
        && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
    {
        sink.character(character);
        return behind;
    }
    sink.character(char::REPLACEMENT_CHARACTER);
    behind
}

fn unit(octets: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, behind) = octets.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, digit| Some(value << 4 | u16::from(hex(*digit)?)))?;
    Some((value, behind))
}
