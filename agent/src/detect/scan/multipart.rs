//! Messages of several parts (RFC 2046 section 5.1, RFC 7578): each part by its own type.

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
    let boundary = parameter(content_type, b"boundary").filter(|boundary| !boundary.is_empty());
    let (Some(boundary), Some(depth)) = (boundary, depth.checked_sub(1)) else {
        sink.text(octets);
        return Some(Unscanned::Broken);
    };
    if boundary.len() > LONGEST_BOUNDARY {
        sink.text(octets);
        return Some(Unscanned::Broken);
    }
    let mut unscanned = None;
    for (index, part) in parts(octets, &boundary).enumerate() {
        sink.new_text();
        if index >= MAX_PARTS {
            sink.text(part);
            unscanned = unscanned.or(Some(Unscanned::TooLarge));
            break;
        }
        let (head, body) = split_head(part);
        // Names of fields and files are part of the text: `name="password"` says what follows.
        sink.text(head);
        sink.text(b"\n");
        let content_type = field(head, b"content-type").unwrap_or_default();
        let found = match field(head, b"content-transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case(b"base64") => {
                let digits: Vec<u8> =
                    body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
                match base64(&digits) {
                    Some(body) => entity(content_type, &body, complete, depth, sink),
                    None => Some(Unscanned::Broken),
                }
            }
            _ => entity(content_type, body, complete, depth, sink),
        };
        unscanned = unscanned.or(found);
    }
    unscanned
}

/// The names of files in a form.
pub(super) fn file_names<'a>(content_type: &'a [u8], octets: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let boundary = parameter(content_type, b"boundary").filter(|boundary| {
        !boundary.is_empty() && boundary.len() <= LONGEST_BOUNDARY && content_type.starts_with(b"multipart/")
    });
    let parts = boundary.map(|boundary| {
        let found: Vec<&[u8]> = parts(octets, &boundary).take(MAX_PARTS).collect();
        found
    });
    parts.into_iter().flatten().filter_map(|part| {
        let disposition = field(split_head(part).0, b"content-disposition")?;
        let name = parameter(disposition, b"filename")?;
        Some(String::from_utf8_lossy(&name).into_owned()).filter(|name| !name.is_empty())
    })
}

/// What stands between delimiters; behind the last one that is held, what is held of a part.
fn parts<'a>(octets: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter).into_owned();
    let mut rest = finder.find(octets).map(|start| octets.get(start + delimiter.len()..).unwrap_or_default());
    std::iter::from_fn(move || {
        let here = rest?;
        if here.starts_with(b"--") {
            return None;
        }
        let (part, behind) = match finder.find(here) {
            Some(end) => (here.get(..end).unwrap_or_default(), here.get(end + delimiter.len()..)),
            None => (here, None),
        };
        rest = behind;
        Some(part)
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

fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|octet| *octet == b'\n').find_map(|line| {
        let (key, value) = line.split_at(line.iter().position(|octet| *octet == b':')?);
        key.trim_ascii().eq_ignore_ascii_case(name).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    use crate::http::content_disposition::{Padding, base64_decode};
    base64_decode(digits, Padding::Optional)
}
