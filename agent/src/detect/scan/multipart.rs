//! Messages of several parts (RFC 2046 section 5.1, RFC 7578): each part by its own type.

use super::form::hex;
use super::sink::Sink;
use super::{MAX_PARTS, Unscanned, entity, parameter};

/// Longest head of a part.
const HEAD: usize = 8 << 10;
/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

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

/// The names of files in a form.
pub(super) fn file_names<'a>(content_type: &'a [u8], octets: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let boundary = boundary(content_type).filter(|_| content_type.starts_with(b"multipart/"));
    let parts = boundary.map(|boundary| {
        let parts = pieces(octets, &boundary).filter_map(|piece| match piece {
            Piece::Part(part) => Some(part),
            Piece::Around(_) => None,
        });
        let found: Vec<&[u8]> = parts.take(MAX_PARTS).collect();
        found
    });
    parts.into_iter().flatten().filter_map(|part| {
        let disposition = field(split_head(part).0, b"content-disposition")?;
        let name = parameter(disposition, b"filename")?;
        Some(String::from_utf8_lossy(&name).into_owned()).filter(|name| !name.is_empty())
    })
}

fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    parameter(content_type, b"boundary").filter(|boundary| (1..=LONGEST_BOUNDARY).contains(&boundary.len()))
}

enum Piece<'a> {
    /// Before the first delimiter, or behind the last.
    Around(&'a [u8]),
    Part(&'a [u8]),
}

/// What stands around delimiters and between them; behind the last one that is held, what is held of a part.
fn pieces<'a>(octets: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = Piece<'a>> + use<'a> {
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter).into_owned();
    let mut rest = Some(octets);
    let mut inside = false;
    std::iter::from_fn(move || {
        let here = rest?;
        if inside && let Some(epilogue) = here.strip_prefix(b"--") {
            rest = None;
            return Some(Piece::Around(epilogue));
        }
        let (text, behind) = match finder.find(here) {
            Some(end) => (here.get(..end).unwrap_or_default(), here.get(end + delimiter.len()..)),
            None => (here, None),
        };
        rest = behind;
        Some(if std::mem::replace(&mut inside, true) { Piece::Part(text) } else { Piece::Around(text) })
    })
}

/// Head and body of a part. Without an empty line all of it is head.
fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
    let near = part.get(..HEAD).unwrap_or(part);
    let ends = [(b"\r\n\r\n".as_slice(), 4), (b"\n\n".as_slice(), 2)];
    let end = ends.iter().find_map(|(line, len)| Some((memchr::memmem::find(near, line)?, *len)));
    match end {
        Some((end, len)) => (part.get(..end).unwrap_or_default(), part.get(end + len..).unwrap_or_default()),
        // A head that does not end within its bound is read as text.
        None => (part, &[]),
    }
}

/// A field's value, which may go on in lines that begin with a blank (RFC 5322 section 2.2.3).
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while !rest.is_empty() {
        let mut end = 0;
        loop {
            end = memchr::memchr(b'\n', rest.get(end..)?).map_or(rest.len(), |line| end + line + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (line, behind) = rest.split_at(end);
        rest = behind;
        if let Some(colon) = memchr::memchr(b':', line)
            && let (key, [_, value @ ..]) = line.split_at(colon)
            && key.trim_ascii().eq_ignore_ascii_case(name)
        {
            return Some(value.trim_ascii());
        }
    }
    None
}

fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    use crate::http::content_disposition::{Padding, base64_decode};
    base64_decode(digits, Padding::Optional)
}
