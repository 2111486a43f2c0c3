//! The text within a body: codings undone; forms, JSON, pages, Office files and other archives, messages of several parts
//! read; the rest as it lies.
//!
//! What cannot be read, or lies beyond a bound, is said: a policy decides what that means.

mod archive;
mod base64;
mod coding;
mod form;
mod json;
mod markup;
mod multipart;
mod sink;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use self::sink::Sink;
use super::Counts;
use crate::http::head::Fields;
use crate::zip::LOCAL_HEADER;

/// Most octets that content codings are undone to, and that the archives of a body are unpacked to, whatever their ratio.
pub const MAX_DECODED: usize = 8 << 20;
/// Entries of all archives of a body that are read.
const MAX_ENTRIES: usize = 4096;
/// Parts within parts: of messages, archives, content in base64.
const MAX_DEPTH: usize = 4;
/// Parts of one message that are read.
const MAX_PARTS: usize = 256;

/// Why a part of a body was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unscanned {
    /// More than is held of a body, or than codings are undone to.
    TooLarge,
    /// A content coding that is not known.
    UnknownCoding,
    /// Codings or parts that cannot be read.
    Broken,
    /// A format whose text is not read: PDF, documents from before 2007, encrypted archives and others than ZIP.
    Format,
}

impl Unscanned {
    pub const ALL: [Unscanned; 4] = [Self::TooLarge, Self::UnknownCoding, Self::Broken, Self::Format];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.name() == name)
    }

    /// As records have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::UnknownCoding => "unknown-coding",
            Self::Broken => "broken",
            Self::Format => "format",
        }
    }
}

impl fmt::Display for Unscanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "a part of the content lies beyond the bound",
            Self::UnknownCoding => "the content coding is unknown",
            Self::Broken => "the content cannot be decoded",
            Self::Format => "the text of this format is not read",
        })
    }
}

/// What was found in a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    pub counts: Counts,
    /// `None`: all of it was looked at.
    pub unscanned: Option<Unscanned>,
}

/// The beginning of a body, transfer coding undone, content codings not.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    pub octets: &'a [u8],
    /// They are the whole body.
    pub complete: bool,
}

impl Held<'_> {
    pub const NOTHING: Held<'static> = Held { octets: &[], complete: false };
}

impl Scan {
    /// What was found in two bodies of an exchange.
    #[must_use]
    pub fn and(mut self, other: Option<&Scan>) -> Self {
        if let Some(other) = other {
            self.counts.add(&other.counts);
            self.unscanned = self.unscanned.or(other.unscanned);
        }
        self
    }
}

/// Looks at what is held of the body that `fields` describe.
pub fn scan(fields: &Fields, held: Held<'_>) -> Scan {
    let mut unscanned = (!held.complete).then_some(Unscanned::TooLarge);
    let octets = match coding::undo(fields, held) {
        Ok(decoded) => {
            unscanned = unscanned.or(decoded.unscanned);
            decoded.octets
        }
        // Looked at as it lies: a coding that is only claimed hides nothing.
        Err(why) => {
            unscanned = unscanned.or(Some(why));
            Cow::Borrowed(held.octets)
        }
    };
    let mut sink = Sink::default();
    let content_type = fields.get("content-type").unwrap_or_default();
    let complete = unscanned.is_none();
    let found = entity(content_type, &octets, complete, MAX_DEPTH, &mut sink);
    Scan { counts: sink.finish(), unscanned: unscanned.or(found) }
}

/// One entity: a body, or a part of one. `complete`: it is held to its end.
fn entity(
    content_type: &[u8],
    octets: &[u8],
    complete: bool,
    depth: usize,
    sink: &mut Sink,
) -> Option<Unscanned> {
    let essence = content_type.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    let begins = octets.trim_ascii_start();
    let text = octets.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(octets);
    match essence.as_slice() {
        // Whatever type is claimed.
        _ if octets.starts_with(LOCAL_HEADER) => archive::read(octets, complete, depth, sink),
        b if b.starts_with(b"multipart/") => multipart::read(content_type, octets, complete, depth, sink),
        b"application/x-www-form-urlencoded" => {
            form::read(octets, sink);
            None
        }
        b if is_json(b) || !is_markup(b) && matches!(begins, [b'{' | b'[', ..]) => {
            json::read(text, complete, depth, sink)
        }
        b if is_markup(b) || matches!(begins, [b'<', ..]) => {
            markup::read(text, sink);
            None
        }
        _ => as_it_lies(content_type, octets, sink),
    }
}

fn is_json(essence: &[u8]) -> bool {
    essence.ends_with(b"/json") || essence.ends_with(b"+json") || essence.ends_with(b"ndjson")
}

fn is_markup(essence: &[u8]) -> bool {
    matches!(essence, b"text/html" | b"text/xml" | b"application/xml") || essence.ends_with(b"+xml")
}

/// Text of any kind, and what is none: its octets are read all the same, so that a type that lies hides nothing.
fn as_it_lies(content_type: &[u8], octets: &[u8], sink: &mut Sink) -> Option<Unscanned> {
    let sixteen = match octets {
        [0xFF, 0xFE, ..] => Some(encoding_rs::UTF_16LE),
        [0xFE, 0xFF, ..] => Some(encoding_rs::UTF_16BE),
        _ => parameter(content_type, b"charset").and_then(|label| encoding_rs::Encoding::for_label(&label)),
    };
    match sixteen {
        Some(encoding) if !encoding.is_ascii_compatible() => {
            sink.text(encoding.decode(octets).0.as_bytes());
        }
        _ => sink.text(octets),
    }
    // PDF, older Office documents, archives but ZIP.
    const SEALED: [&[u8]; 8] = [
        b"%PDF-",
        b"\xD0\xCF\x11\xE0",
        b"7z\xBC\xAF\x27\x1C",
        b"Rar!",
        b"\x1F\x8B",
        b"\x28\xB5\x2F\xFD",
        b"BZh",
        b"\xFD7zXZ",
    ];
    SEALED.iter().any(|magic| octets.starts_with(magic)).then_some(Unscanned::Format)
}

/// A parameter of a Content-Type or Content-Disposition, quotes undone.
fn parameter(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
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

/// The name of the first file in a form of several parts, as it is written; `None` where there is none.
pub fn uploaded_name(fields: &Fields, held: Held<'_>) -> Option<String> {
    let content_type = fields.get("content-type")?;
    multipart::file_names(content_type, held.octets).next()
}

/// Fuzz entry: any body under any type is read, and what it costs is bounded.
pub fn fuzz_scan(data: &[u8]) {
    const TYPES: [&str; 8] = [
        "text/plain",
        "application/json",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/octet-stream",
        "text/csv; charset=utf-16le",
        "multipart/mixed; boundary=\"b\"",
    ];
    const CODINGS: [&str; 6] = ["", "gzip", "deflate", "br", "zstd", "gzip, br"];
    let [kind, octets @ ..] = data else { return };
    let mut fields = Fields::new();
    let content_type = TYPES.get(usize::from(kind % 8)).copied().unwrap_or_default();
    fields.push(b"content-type", content_type.as_bytes());
    if let Some(coding) = CODINGS.get(usize::from(kind / 8 % 8)).filter(|coding| !coding.is_empty()) {
        fields.push(b"content-encoding", coding.as_bytes());
    }
    let whole = scan(&fields, Held { octets, complete: true });
    assert_eq!(scan(&fields, Held { octets, complete: true }), whole);
    assert_eq!(scan(&fields, Held { octets, complete: false }).unscanned, Some(Unscanned::TooLarge));
    let _ = uploaded_name(&fields, Held { octets, complete: false });
}
