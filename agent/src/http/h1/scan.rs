//! Reads the lines of a head or a trailer section as bytes arrive, each byte once, and refuses what could be read in two
//! ways or the limits forbid.

use super::head::Target;
use super::limits::{Limits, MAX_FIELDS};
use super::refusal::Refusal;
use super::syntax::{control_in, token_len};
use super::{Parsed, start_line};
use crate::http::fields::{Fields, Span, Tag, trim};

const CODING: &[u8] = b"transfer-encoding";
const CODING_TAG: Tag = Tag::of(CODING);

/// What is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Request(Target),
    Response,
    /// Field lines alone.
    Trailer,
}

/// How far the search for the end of a section got. The buffer it is asked about may only grow between calls.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    section: Section,
    /// Bytes before this were examined.
    at: usize,
    /// Start of the line that `at` stands in.
    line: usize,
    in_start_line: bool,
    /// Where the start line begins and its CRLF stands, once it is complete.
    start: (usize, usize),
    blank_skipped: bool,
    /// The line that `at` stands in has a control that is neither TAB nor part of its end.
    control: bool,
    /// The field lines so far, by where they stand behind the begin of the start line; their text is not copied yet.
    fields: Fields,
}

/// A section whose lines are all closed by CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Begin of the start line and position of its CRLF. `(0, 0)` for a trailer section.
    pub(super) start: (usize, usize),
    pub(super) fields: Fields,
}

impl Scanner {
    pub(super) fn new(section: Section) -> Self {
        Self {
            section,
            at: 0,
            line: 0,
            in_start_line: section != Section::Trailer,
            start: (0, 0),
            blank_skipped: false,
            control: false,
            fields: Fields::new(),
        }
    }

    pub(super) fn scan(&mut self, buf: &[u8], limits: &Limits) -> Parsed<Scanned> {
        let (mut window, mut full) = self.window(buf, limits);
        loop {
            let Some(rest) = buf.get(self.at..window) else { return Parsed::More };
            let Some(found) = control_in(rest) else {
                self.at = window;
                return full.map_or(Parsed::More, Parsed::Refused);
            };
            self.at += found;
            match (buf.get(self.at), buf.get(self.at + 1)) {
                (Some(b'\r'), _) if self.at + 1 >= window => {
                    return full.map_or(Parsed::More, Parsed::Refused);
                }
                (Some(b'\r'), Some(b'\n')) => {}
                (Some(b'\r'), _) => return Parsed::Refused(Refusal::BareCr),
                (Some(b'\n'), _) => return Parsed::Refused(Refusal::BareLf),
                (Some(0), _) => return Parsed::Refused(Refusal::Nul),
                _ => {
                    (self.control, self.at) = (true, self.at + 1);
                    continue;
                }
            }
            let line = buf.get(self.line..self.at).unwrap_or_default();
            let of_start = self.in_start_line;
            // The same answer when asked again behind a refusal: the line is read once more.
            if of_start {
                if let Err(refusal) = self.start_line(line) {
                    return Parsed::Refused(refusal);
                }
            } else if line.is_empty() {
                let end = self.at + 2;
                let text = buf.get(self.start.0..end).unwrap_or_default();
                let fields = std::mem::take(&mut self.fields).in_text(text.to_vec());
                return Parsed::Complete(Scanned { start: self.start, fields }, end);
            } else if let Err(refusal) = self.field(line, limits) {
                return Parsed::Refused(refusal);
            }
            self.at += 2;
            (self.line, self.control) = (self.at, false);
            if of_start {
                // What bounded the start line bounds no other.
                (window, full) = self.window(buf, limits);
            }
        }
    }

    /// How far may be looked now, and what is wrong when nothing ends before that point and no more may come.
    fn window(&self, buf: &[u8], limits: &Limits) -> (usize, Option<Refusal>) {
        let (cap, refusal) = match self.section {
            Section::Trailer => (limits.trailer_bytes, Refusal::TrailerTooLarge),
            _ => (limits.head_bytes, Refusal::HeadTooLarge),
        };
        let line_cap = self.line.saturating_add(limits.request_line).saturating_add(2);
        let (cap, refusal) = if self.in_start_line && line_cap <= cap {
            (line_cap, Refusal::StartLineTooLong)
        } else {
            (cap, refusal)
        };
        if buf.len() < cap { (buf.len(), None) } else { (cap, Some(refusal)) }
    }

    /// Takes note of the start line, without its CRLF.
    fn start_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        match self.section {
            // A client may send one CRLF too many behind a body (RFC 9112 section 2.2); more is noise.
            Section::Request(_) if line.is_empty() && !self.blank_skipped => {
                self.blank_skipped = true;
                return Ok(());
            }
            _ if line.is_empty() => return Err(Refusal::BlankStart),
            // Read now and again at the end: a foreign protocol is refused at its first line.
            Section::Request(form) => start_line::request_line(line, form).map(drop)?,
            _ => start_line::status_line(line).map(drop)?,
        }
        (self.start, self.in_start_line) = ((self.line, self.at), false);
        Ok(())
    }

    /// `field-name ":" OWS field-value OWS` (RFC 9112 section 5), without CRLF.
    fn field(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let (most, refusal) = match self.section {
            Section::Trailer => (limits.trailer_fields, Refusal::TrailerTooLarge),
            _ => (limits.fields, Refusal::TooManyFields),
        };
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Refusal::FoldedLine);
        }
        if self.fields.len() >= most.min(MAX_FIELDS) {
            return Err(refusal);
        }
        let (name, rest) = line.split_at_checked(token_len(line)).unwrap_or_default();
        let Some((b':', after)) = rest.split_first().filter(|_| !name.is_empty()) else {
            return Err(Refusal::FieldName);
        };
        if self.control {
            return Err(Refusal::FieldValue);
        }
        let value = trim(after);
        let blanks = match after {
            _ if value.is_empty() => after.len(),
            [b' ', next, ..] if !matches!(next, b' ' | b'\t') => 1,
            _ => after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count(),
        };
        let tag = Tag::of(name);
        // Parsers differ in what they trim, and a coding that only one side recognises is the classic way to smuggle, so
        // this one field gets no leeway: at most one space before the value, nothing behind it.
        if tag == CODING_TAG
            && name.eq_ignore_ascii_case(CODING)
            && (after.len() != blanks + value.len() || !matches!(after.get(..blanks), Some(b"" | b" ")))
        {
            return Err(Refusal::TransferCoding);
        }
        let start = self.line - self.start.0;
        let name_end = start + name.len();
        let value_start = name_end + 1 + blanks;
        let value = Span { start: value_start, end: value_start + value.len() };
        self.fields.note_checked(Span { start, end: name_end }, value, tag);
        Ok(())
    }
}
