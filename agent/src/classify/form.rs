//! Forms of several parts (RFC 7578): whether one carries a file, and under which names, by the beginning of its body.
//!
//! That there is no file in a form has to be seen: only what is written the one way in which browsers and libraries write
//! it, to its end, counts as such. What could be read in two ways may carry a file for one of the readers.

#[cfg(test)]
mod tests;

use super::content_type::essence;
use super::media_type::{self, Content};
use super::{FileType, FirstBytes, sniff};
use crate::http::content_disposition::ContentDisposition;
use crate::http::head::RequestHead;
use crate::http::is_token;
use crate::http::multipart::{HEAD, LONGEST_BOUNDARY, Piece, boundary, field, parameter, pieces, split_head};

/// Octets of a form that are looked at. What browsers write of fields, longer texts included, is within.
pub const MAX_FORM: usize = 64 << 10;
/// Parts of which the names of files are read.
const MAX_PARTS: usize = 256;

/// What the beginning of a form shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// All of it was seen, and there is no file in it.
    without_files: bool,
    /// The names of its files as each reader has them, those of the first file first. They may hold any character.
    names: Vec<String>,
}

impl Form {
    /// `None` for a request that is no form of several parts. `start` is the beginning of its body.
    pub fn of(request: &RequestHead, start: FirstBytes<'_>) -> Option<Self> {
        is_form(request).then(|| {
            let octets = start.octets.get(..MAX_FORM).unwrap_or(start.octets);
            let complete = start.complete && octets.len() == start.octets.len();
            let content_type = request.fields().get("content-type").unwrap_or_default();
            let names = names(content_type, octets);
            let without_files = complete
                && names.is_empty()
                && request.fields().get("content-encoding").is_none()
                && only_boundary(request).is_some_and(|boundary| holds_no_file(octets, boundary));
            Self { without_files, names }
        })
    }

    pub(super) fn is_without_files(&self) -> bool {
        self.without_files
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Whether a request's body is a form of several parts.
pub fn is_form(request: &RequestHead) -> bool {
    // All of them: readers differ in which they go by.
    request
        .fields()
        .get_all("content-type")
        .filter_map(essence)
        .any(|essence| essence == "multipart/form-data")
}

/// The names of files, read as leniently as they may be.
fn names(content_type: &[u8], octets: &[u8]) -> Vec<String> {
    let Some(boundary) = boundary(content_type) else { return Vec::new() };
    let parts = pieces(octets, &boundary).filter_map(|piece| match piece {
        Piece::Part(part) => field(split_head(part).0, b"content-disposition"),
        Piece::Around(_) => None,
    });
    let mut names = Vec::new();
    for disposition in parts.take(MAX_PARTS) {
        let read = ContentDisposition::parse([disposition]);
        let plain = parameter(disposition, b"filename").filter(|_| read.filename().is_none());
        names.extend(read.filename().into_iter().map(str::to_owned));
        names.extend(read.other_filenames().iter().cloned());
        names.extend(plain.map(|name| String::from_utf8_lossy(&name).into_owned()));
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The boundary, where nobody can read another one.
fn only_boundary(request: &RequestHead) -> Option<&[u8]> {
    let mut values = request.fields().get_all("content-type");
    let value = values.next().filter(|_| values.next().is_none())?;
    let (_, parameters) = parameters(value)?;
    let mut boundaries = parameters.iter().filter(|(name, _)| is_of(name, b"boundary"));
    let (name, boundary) = boundaries.next().filter(|_| boundaries.next().is_none())?;
    (name.len() == b"boundary".len() && (1..=LONGEST_BOUNDARY).contains(&boundary.len())).then_some(*boundary)
}

/// Whether a whole body is a form of fields alone.
fn holds_no_file(octets: &[u8], boundary: &[u8]) -> bool {
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    let Some(mut rest) = octets.strip_prefix(delimiter.as_slice()) else { return false };
    // Each turn steps over one delimiter.
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return matches!(end, b"" | b"\r\n");
        }
        let Some(behind) = rest.strip_prefix(b"\r\n") else { return false };
        let Some((part, next)) = finder.find(behind).and_then(|at| behind.split_at_checked(at)) else {
            return false;
        };
        if !part.strip_suffix(b"\r\n").is_some_and(is_field) {
            return false;
        }
        rest = next.get(delimiter.len()..).unwrap_or_default();
    }
}

/// Whether a part is a field, or what browsers send where no file was chosen.
fn is_field(part: &[u8]) -> bool {
    let near = part.get(..HEAD).unwrap_or(part);
    let Some(end) = memchr::memmem::find(near, b"\r\n\r\n") else { return false };
    let (head, content) = (part.get(..end).unwrap_or_default(), part.get(end + 4..).unwrap_or_default());
    let (mut disposition, mut content_type, mut coding) = (None, None, None);
    let mut rest = head;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        rest = behind.get(2..).unwrap_or_default();
        let Some((name, value)) = memchr::memchr(b':', line).and_then(|at| line.split_at_checked(at)) else {
            return false;
        };
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if !is_token(name) || value.iter().any(u8::is_ascii_control) {
            return false;
        }
        let place = match name {
            name if name.eq_ignore_ascii_case(b"content-disposition") => &mut disposition,
            name if name.eq_ignore_ascii_case(b"content-type") => &mut content_type,
            name if name.eq_ignore_ascii_case(b"content-transfer-encoding") => &mut coding,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return false;
        }
    }
    let Some((kind, parameters)) = disposition.and_then(parameters) else { return false };
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return false;
    }
    let mut files = parameters.iter().filter(|(name, _)| is_of(name, b"filename"));
    if let Some((name, value)) = files.next() {
        return name.len() == b"filename".len()
            && value.is_empty()
            && content.is_empty()
            && files.next().is_none();
    }
    let as_it_is = [&b"7bit"[..], b"8bit", b"binary"];
    coding.is_none_or(|coding| as_it_is.iter().any(|known| coding.eq_ignore_ascii_case(known)))
        && content_type.is_none_or(is_of_fields)
        && !FileType::of(content).is_kept()
        && !sniff::is_binary(content)
}

/// Whether a field may have this type.
fn is_of_fields(content_type: &[u8]) -> bool {
    essence(content_type).is_some_and(|essence| {
        matches!(media_type::traits(&essence).content, Content::Page | Content::Data | Content::Text)
    })
}

/// The parameter itself, or one of the forms that RFC 2231 and RFC 8187 have for it.
fn is_of(name: &[u8], parameter: &[u8]) -> bool {
    name.get(..parameter.len()).is_some_and(|start| start.eq_ignore_ascii_case(parameter))
        && matches!(name.get(parameter.len()), None | Some(b'*'))
}

/// Name and value.
type Parameter<'a> = (&'a [u8], &'a [u8]);

/// What stands before the first semicolon, and the parameters behind it; `None` for a value that is written in another than
/// the plainest way, which readers may understand differently.
fn parameters(value: &[u8]) -> Option<(&[u8], Vec<Parameter<'_>>)> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (kind, mut rest) = value.split_at(end);
    let mut found = Vec::new();
    while let Some(behind) = rest.strip_prefix(b";") {
        let behind = behind.trim_ascii_start();
        let (name, value) = behind.split_at(memchr::memchr(b'=', behind)?);
        let value = value.get(1..)?;
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let (inner, after) = quoted.split_at(memchr::memchr(b'"', quoted)?);
                (inner, after.get(1..)?)
            }
            None => {
                let end = value.iter().position(|b| matches!(b, b';' | b' ')).unwrap_or(value.len());
                value.split_at(end)
            }
        };
        let plain = value.iter().all(|b| !matches!(b, b'\\' | b'"') && !b.is_ascii_control());
        if !is_token(name) || !plain {
            return None;
        }
        found.push((name, value));
        rest = after.trim_ascii_start();
    }
    rest.is_empty().then_some((kind.trim_ascii(), found))
}

/// Entry for the fuzzer: what is seen to be without files has none for a lenient reader either, and no part of it tells.
pub fn fuzz_form(data: &[u8]) {
    let request = RequestHead::new("POST", "/", crate::http::head::Version::Http11)
        .with("Content-Type", "multipart/form-data; boundary=b");
    let Some(form) = Form::of(&request, FirstBytes::whole(data)) else { return };
    assert!(!form.without_files || names(b"multipart/form-data; boundary=b", data).is_empty(), "{form:?}");
    let cut = data.get(..data.len() / 2).unwrap_or_default();
    let part = Form::of(&request, FirstBytes::prefix(cut));
    assert!(part.is_some_and(|part| !part.without_files));
}
