//! Messages of several parts: each part by its own type.

use super::form::hex;
use super::sink::Sink;
use super::{MAX_PARTS, Unscanned, entity};
use crate::http::multipart::{Piece, boundary, field, parameter, pieces, split_head};

/// `complete`: the message is held to its end.
pub(super) fn read(
    content_type: &[u8],
    octets: &[u8],
    complete: bool,
    depth: usize,
    sink: &mut Sink,
) -> Option<Unscanned> {
    let Some(depth) = depth.checked_sub(1) else {
        sink.text(octets);
        return Some(Unscanned::Broken);
    };
    let Some(boundary) = boundary(content_type) else {
        return entity(b"", octets, complete, depth, sink).or(Some(Unscanned::Broken));
    };
    let (mut unscanned, mut count) = (None, 0);
    for piece in pieces(octets, &boundary) {
        let found = match piece {
            Piece::Around(text) if text.trim_ascii().is_empty() => continue,
            Piece::Around(text) => {
                sink.new_text();
                entity(b"", text, complete, depth, sink)
            }
            Piece::Part(part) => {
                count += 1;
                sink.new_text();
                if count > MAX_PARTS {
                    sink.text(part);
                    Some(Unscanned::TooLarge)
                } else {
                    self::part(part, complete, depth, sink)
                }
            }
        };
        unscanned = unscanned.or(found);
    }
    // A boundary that does not occur: whoever keeps the body has it all the same.
    unscanned.or((count == 0).then_some(Unscanned::Broken))
}

/// A message as mail has it (RFC 5322): one part.
pub(super) fn message(octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let Some(depth) = depth.checked_sub(1) else {
        sink.text(octets);
        return Some(Unscanned::Broken);
    };
    part(octets, complete, depth, sink)
}

fn part(part: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let (head, body) = split_head(part);
    sink.text(head);
    sink.text(b"\n");
    // The name of a field says what its value is: a password, the number of a person.
    if let Some(disposition) = field(head, b"content-disposition")
        && parameter(disposition, b"filename").is_none()
        && let Some(name) = parameter(disposition, b"name")
    {
        sink.text(&name);
        sink.text(b"=");
    }
    let content_type = field(head, b"content-type").unwrap_or_default();
    let coding = field(head, b"content-transfer-encoding").unwrap_or_default();
    if coding.eq_ignore_ascii_case(b"quoted-printable") {
        return entity(content_type, &quoted_printable(body), complete, depth, sink);
    }
    if coding.eq_ignore_ascii_case(b"base64") {
        let digits: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
        if let Some(decoded) = base64(&digits) {
            let found = entity(content_type, &decoded, complete, depth, sink);
            // Words may look like it: what only claims the encoding is read as well.
            sink.new_text();
            sink.text(body);
            return found;
        }
        return entity(content_type, body, complete, depth, sink).or(Some(Unscanned::Broken));
    }
    entity(content_type, body, complete, depth, sink)
}

/// RFC 2045 section 6.7: octets in hexadecimal digits, and ends of lines that are none.
fn quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        match (*octet, behind) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'='),
            },
            (other, _) => out.push(other),
        }
    }
    out
}

fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    use crate::http::content_disposition::{Padding, base64_decode};
    base64_decode(digits, Padding::Optional)
}
