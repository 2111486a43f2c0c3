//! Forms in the encoding of addresses (WHATWG URL section 5.1).

use super::sink::Sink;

/// Names and values as they were typed, a line for each.
pub(super) fn read(octets: &[u8], sink: &mut Sink) {
    let mut rest = octets;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        match (*octet, behind) {
            (b'&', _) => sink.octet(b'\n'),
            (b'+', _) => sink.octet(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    sink.octet(high << 4 | low);
                    rest = after;
                }
                _ => sink.octet(b'%'),
            },
            (other, _) => sink.octet(other),
        }
    }
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
