//! Forms in the encoding of addresses (WHATWG URL section 5.1).

use super::sink::Sink;
use super::{Unscanned, markup, within};

/// Names and values as they were typed, a line for each. `complete`: the form is held to its end.
pub(super) fn read(octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let (mut typed, mut aside, mut unscanned) = (Vec::new(), Vec::new(), None);
    let mut fields = octets.split(|octet| *octet == b'&').peekable();
    while let Some(field) = fields.next() {
        let last = fields.peek().is_none();
        let (name, value) = field.split_at(memchr::memchr(b'=', field).map_or(0, |sign| sign + 1));
        decode(name, &mut typed);
        sink.octets(&typed);
        decode(value, &mut typed);
        unscanned = unscanned.or(within::read(&typed, complete || !last, depth, sink, &mut aside));
        if !last {
            sink.octet(b'\n');
        }
    }
    markup::aside(&aside, sink);
    unscanned
}

fn decode(octets: &[u8], typed: &mut Vec<u8>) {
    typed.clear();
    let mut rest = octets;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        match (*octet, behind) {
            (b'+', _) => typed.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    typed.push(high << 4 | low);
                    rest = after;
                }
                _ => typed.push(b'%'),
            },
            (other, _) => typed.push(other),
        }
    }
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
