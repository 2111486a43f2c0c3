//! The text within a body: codings undone; forms, JSON, pages, Office files and other archives, messages of several parts
//! read; the rest as it lies.
//!
//! What cannot be read, or lies beyond a bound, is said: a policy decides what that means.

mod archive;
mod base64;
mod charset;
mod coding;
mod form;
mod fuzz;
mod json;
mod markup;
mod multipart;
mod sink;
#[cfg(test)]
mod tests;
mod within;

use std::borrow::Cow;
use std::fmt;

pub use self::fuzz::fuzz_scan;
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
    /// The agent was short of memory: no more than the beginning of the body was held.
    NoMemory,
}

impl Unscanned {
    pub const ALL: [Unscanned; 5] =
        [Self::TooLarge, Self::UnknownCoding, Self::Broken, Self::Format, Self::NoMemory];

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
            Self::NoMemory => "no-memory",
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
            Self::NoMemory => "memory was too short to hold the content",
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
    let content_type = fields.get("content-type").unwrap_or_default();
    let complete = unscanned.is_none();
    let mut sink = Sink::default();
    let found = entity(content_type, &octets, complete, MAX_DEPTH, &mut sink);
    let mut counts = sink.finish();
    if matches!(octets, Cow::Owned(_)) {
        // What only claims the coding, stands behind what has it, or beside it: most of this is noise.
        let mut sink = Sink::default();
        match unscanned {
            Some(Unscanned::Broken) => {
                entity(content_type, held.octets, held.complete, MAX_DEPTH, &mut sink);
            }
            _ => sink.text(held.octets),
        }
        counts = counts.most(&sink.finish());
    }
    Scan { counts, unscanned: unscanned.or(found) }
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
    // Whatever type is claimed.
    if octets.starts_with(LOCAL_HEADER) {
        return archive::read(octets, complete, depth, sink);
    }
    if essence.starts_with(b"multipart/") {
        return multipart::read(content_type, octets, complete, depth, sink);
    }
    if essence == b"message/rfc822" {
        return multipart::message(octets, complete, depth, sink);
    }
    let found = match charset::undo(content_type, octets) {
        None => text(&essence, octets, complete, depth, sink),
        Some(charset::Decoded { characters, certain }) => {
            let found = text(&essence, characters.as_bytes(), complete, depth, sink);
            if certain {
                found
            } else {
                // In true UTF-16 nothing is found this way.
                sink.new_text();
                found.or(text(&essence, octets, complete, depth, sink))
            }
        }
    };
    found.or_else(|| SEALED.iter().any(|magic| octets.starts_with(magic)).then_some(Unscanned::Format))
}

/// PDF, older Office documents, archives but ZIP.
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

/// Text in UTF-8, and what is none: its octets are read all the same, so that a type that lies hides nothing.
fn text(essence: &[u8], octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let octets = octets.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(octets);
    let begins = octets.trim_ascii_start();
    if essence == b"application/x-www-form-urlencoded" {
        form::read(octets, complete, depth, sink)
    } else if is_json(essence) || !is_markup(essence) && matches!(begins, [b'{' | b'[', ..]) {
        json::read(octets, complete, depth, sink)
    } else {
        if is_markup(essence) || matches!(begins, [b'<', ..]) {
            markup::read(octets, sink);
        } else {
            sink.text(octets);
        }
        None
    }
}

fn is_json(essence: &[u8]) -> bool {
    essence.ends_with(b"/json") || essence.ends_with(b"+json") || essence.ends_with(b"ndjson")
}

fn is_markup(essence: &[u8]) -> bool {
    matches!(essence, b"text/html" | b"text/xml" | b"application/xml") || essence.ends_with(b"+xml")
}

/// Whether a response comes when something happens: holding its body back would stop the page.
pub fn is_stream(fields: &Fields) -> bool {
    const TYPES: [&[u8]; 3] = [b"text/event-stream", b"multipart/x-mixed-replace", b"application/grpc"];
    fields.get("content-type").is_some_and(|value| {
        let begins = |kind: &[u8]| {
            value.trim_ascii().get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
        };
        TYPES.into_iter().any(begins)
    })
}
