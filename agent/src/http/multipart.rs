//! Messages of several parts (RFC 2046 section 5.1, RFC 7578) taken apart as leniently as any reader might.

/// Longest head of a part.
pub(crate) const HEAD: usize = 8 << 10;
/// RFC 2046 section 5.1.1.
pub(crate) const LONGEST_BOUNDARY: usize = 70;

/// A parameter of a Content-Type or Content-Disposition, quotes undone.
pub(crate) fn parameter(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = field;
    // Each turn steps over one semicolon.
    while let Some(at) = rest.iter().position(|octet| *octet == b';') {
        rest = rest.get(at + 1..).unwrap_or_default().trim_ascii_start();
        let (key, value) = rest.split_at(rest.iter().position(|octet| *octet == b'=')?);
        let value = value.get(1..).unwrap_or_default().trim_ascii_start();
        let end = |octet: &u8| *octet == b';' || octet.is_ascii_whitespace();
        let value = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|octet| *octet == b'"').next().unwrap_or_default(),
            None => value.split(end).next().unwrap_or_default(),
        };
        if key.trim_ascii().eq_ignore_ascii_case(name) {
            return Some(value.to_vec());
        }
    }
    None
}

/// What stands between the parts of a message, by its Content-Type.
pub(crate) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    parameter(content_type, b"boundary").filter(|boundary| (1..=LONGEST_BOUNDARY).contains(&boundary.len()))
}

pub(crate) enum Piece<'a> {
    /// Before the first delimiter, or behind the last.
    Around(&'a [u8]),
    Part(&'a [u8]),
}

/// What stands around delimiters and between them; behind the last one that is held, what is held of a part.
pub(crate) fn pieces<'a>(octets: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = Piece<'a>> + use<'a> {
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
pub(crate) fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
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
pub(crate) fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
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
