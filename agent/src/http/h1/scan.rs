//! The look before the parser: finds the end of a head as bytes arrive, each byte once, and refuses what `httparse`
//! would let through or the limits forbid.

use super::head::Target;
use super::limits::{Limits, MAX_FIELDS};
use super::refusal::Refusal;
use super::{Parsed, start_line};

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
    /// Where the start line begins and its CRLF stands; equal while it is not complete.
    start: (usize, usize),
    blank_skipped: bool,
    fields: usize,
}

/// A section whose lines are all closed by CRLF and free of NUL, CR and LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Begin of the start line and position of its CRLF. `(0, 0)` for a trailer section.
    pub(super) start: (usize, usize),
    pub(super) fields: usize,
}

impl Scanner {
    pub(super) fn new(section: Section) -> Self {
        Self { section, at: 0, line: 0, start: (0, 0), blank_skipped: false, fields: 0 }
    }

    pub(super) fn scan(&mut self, buf: &[u8], limits: &Limits) -> Parsed<Scanned> {
        loop {
            let (window, full) = self.window(buf, limits);
            let Some(rest) = buf.get(self.at..window) else { return Parsed::More };
            let Some(found) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
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
                _ => return Parsed::Refused(Refusal::Nul),
            }
            let line = buf.get(self.line..self.at).unwrap_or_default();
            match self.end_of_line(line, limits) {
                Ok(true) => {
                    return Parsed::Complete(Scanned { start: self.start, fields: self.fields }, self.at + 2);
                }
                Ok(false) => {}
                Err(refusal) => {
                    // The same answer when asked again: the line is read once more.
                    return Parsed::Refused(refusal);
                }
            }
            self.at += 2;
            self.line = self.at;
        }
    }

    fn in_start_line(&self) -> bool {
        self.section != Section::Trailer && self.start.1 == 0
    }

    /// How far may be looked now, and what is wrong when nothing ends before that point and no more may come.
    fn window(&self, buf: &[u8], limits: &Limits) -> (usize, Option<Refusal>) {
        let (cap, refusal) = match self.section {
            Section::Trailer => (limits.trailer_bytes, Refusal::TrailerTooLarge),
            _ => (limits.head_bytes, Refusal::HeadTooLarge),
        };
        let line_cap = self.line.saturating_add(limits.request_line).saturating_add(2);
        let (cap, refusal) = if self.in_start_line() && line_cap <= cap {
            (line_cap, Refusal::StartLineTooLong)
        } else {
            (cap, refusal)
        };
        if buf.len() < cap { (buf.len(), None) } else { (cap, Some(refusal)) }
    }

    /// Takes note of a line without its CRLF. `true`: it was the empty line that ends the section.
    fn end_of_line(&mut self, line: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        if self.in_start_line() {
            match self.section {
                // A client may send one CRLF too many behind a body (RFC 9112 section 2.2); more is noise.
                Section::Request(_) if line.is_empty() && !self.blank_skipped => {
                    self.blank_skipped = true;
                    return Ok(false);
                }
                _ if line.is_empty() => return Err(Refusal::BlankStart),
                // Read now and again at the end: a foreign protocol is refused at its first line.
                Section::Request(form) => start_line::request_line(line, form).map(drop)?,
                _ => start_line::status_line(line).map(drop)?,
            }
            self.start = (self.line, self.at);
            return Ok(false);
        }
        let (most, refusal) = match self.section {
            Section::Trailer => (limits.trailer_fields, Refusal::TrailerTooLarge),
            _ => (limits.fields, Refusal::TooManyFields),
        };
        match line {
            [] => Ok(true),
            [b' ' | b'\t', ..] => Err(Refusal::FoldedLine),
            _ if self.fields >= most.min(MAX_FIELDS) => Err(refusal),
            _ => {
                self.fields += 1;
                Ok(false)
            }
        }
    }
}
