//! Request and response heads from bytes: the strict look first, then `httparse`, then the rules on Host.

use std::mem::MaybeUninit;

use super::Parsed;
use super::limits::{Limits, MAX_FIELDS};
use super::refusal::Refusal;
use super::scan::{Scanned, Scanner, Section};
use super::start_line::{request_line, status_line};
use super::syntax::is_authority;
use crate::http::fields::{Fields, Span};
use crate::http::head::{RequestHead, ResponseHead, Version, absolute};

/// What the client takes the agent for, which decides the forms of a request target (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The origin itself: CONNECT is refused.
    Origin,
    /// A proxy: `CONNECT host:port` is let through too.
    Proxy,
}

/// Reads request heads from a buffer that grows; remembers how far it looked, so that each byte is examined once.
#[derive(Debug, Clone)]
pub struct RequestReader {
    target: Target,
    scanner: Scanner,
}

impl RequestReader {
    pub fn new(target: Target) -> Self {
        Self { target, scanner: Scanner::new(Section::Request(target)) }
    }

    /// `buf` holds the unread bytes of the connection from the end of the previous message on; between calls it may
    /// only grow at its end. After a complete head the reader stands at the next one.
    pub fn read(&mut self, buf: &[u8], limits: &Limits) -> Parsed<RequestHead> {
        let (scanned, consumed) = match self.scanner.scan(buf, limits) {
            Parsed::Complete(scanned, consumed) => (scanned, consumed),
            Parsed::More => return Parsed::More,
            Parsed::Refused(refusal) => return Parsed::Refused(refusal),
        };
        let head = request(buf, scanned, consumed, self.target);
        finish(head, consumed, &mut self.scanner, Section::Request(self.target))
    }
}

/// Reads response heads, otherwise like [`RequestReader`].
#[derive(Debug, Clone)]
pub struct ResponseReader {
    scanner: Scanner,
}

impl ResponseReader {
    pub fn new() -> Self {
        Self { scanner: Scanner::new(Section::Response) }
    }

    /// See [`RequestReader::read`].
    pub fn read(&mut self, buf: &[u8], limits: &Limits) -> Parsed<ResponseHead> {
        let (scanned, consumed) = match self.scanner.scan(buf, limits) {
            Parsed::Complete(scanned, consumed) => (scanned, consumed),
            Parsed::More => return Parsed::More,
            Parsed::Refused(refusal) => return Parsed::Refused(refusal),
        };
        finish(response(buf, scanned, consumed), consumed, &mut self.scanner, Section::Response)
    }
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads one request head to an origin in one go.
pub fn parse_request_head(buf: &[u8], limits: &Limits) -> Parsed<RequestHead> {
    RequestReader::new(Target::Origin).read(buf, limits)
}

/// Reads one response head in one go.
pub fn parse_response_head(buf: &[u8], limits: &Limits) -> Parsed<ResponseHead> {
    ResponseReader::new().read(buf, limits)
}

fn finish<T>(
    head: Result<T, Refusal>,
    consumed: usize,
    scanner: &mut Scanner,
    section: Section,
) -> Parsed<T> {
    match head {
        Ok(head) => {
            *scanner = Scanner::new(section);
            Parsed::Complete(head, consumed)
        }
        Err(refusal) => Parsed::Refused(refusal),
    }
}

fn request(buf: &[u8], scanned: Scanned, consumed: usize, form: Target) -> Result<RequestHead, Refusal> {
    let (start, line_end) = scanned.start;
    let line = request_line(buf.get(start..line_end).unwrap_or_default(), form)?;
    let head = buf.get(start..consumed).unwrap_or_default();
    let mut table = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    whole(parsed.parse_with_uninit_headers(head, &mut table), head)?;
    if parsed.method != Some(line.method) || parsed.path != Some(line.target) {
        return Err(Refusal::StartLine);
    }
    let fields = fields(head, parsed.headers, scanned.fields)?;
    check_host(&fields, line.target, line.version)?;
    Ok(RequestHead::with_fields(line.method, line.target, line.version, fields))
}

fn response(buf: &[u8], scanned: Scanned, consumed: usize) -> Result<ResponseHead, Refusal> {
    let (start, line_end) = scanned.start;
    let line = status_line(buf.get(start..line_end).unwrap_or_default())?;
    let head = buf.get(start..consumed).unwrap_or_default();
    let mut table = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    whole(config.parse_response_with_uninit_headers(&mut parsed, head, &mut table), head)?;
    if parsed.code != Some(line.status) {
        return Err(Refusal::StartLine);
    }
    let fields = fields(head, parsed.headers, scanned.fields)?;
    Ok(ResponseHead::with_fields(line.status, line.reason, line.version, fields))
}

/// The field lines of a trailer section that was scanned.
pub(super) fn trailer_fields(section: &[u8], scanned: Scanned) -> Result<Fields, Refusal> {
    let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (consumed, parsed) = match httparse::parse_headers(section, &mut table) {
        Ok(httparse::Status::Complete((consumed, parsed))) => (consumed, parsed),
        Ok(httparse::Status::Partial) => return Err(Refusal::FieldName),
        Err(error) => return Err(refusal_of(error)),
    };
    whole(Ok(httparse::Status::Complete(consumed)), section)?;
    fields(section, parsed, scanned.fields)
}

/// `httparse` must see the same end of the head as the scanner did. It always does; should the two ever disagree, the
/// message is ambiguous by definition.
fn whole(parsed: httparse::Result<usize>, head: &[u8]) -> Result<(), Refusal> {
    match parsed {
        Ok(httparse::Status::Complete(consumed)) if consumed == head.len() => Ok(()),
        Ok(_) => Err(Refusal::FieldName),
        Err(error) => Err(refusal_of(error)),
    }
}

const fn refusal_of(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::FieldName,
        httparse::Error::HeaderValue => Refusal::FieldValue,
        httparse::Error::NewLine => Refusal::BareCr,
        httparse::Error::Status => Refusal::Status,
        httparse::Error::Token => Refusal::StartLine,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version => Refusal::Version,
    }
}

/// One copy of the head, and the spans of its lines in that copy.
fn fields(head: &[u8], parsed: &[httparse::Header<'_>], lines: usize) -> Result<Fields, Refusal> {
    // A line that vanished or doubled between scanner and parser would be judged wrongly.
    if parsed.len() != lines {
        return Err(Refusal::FieldName);
    }
    let mut fields = Fields::over(head.to_vec(), lines);
    for line in parsed {
        let (name, value) = (span(head, line.name.as_bytes()), span(head, line.value));
        if line.name.eq_ignore_ascii_case("transfer-encoding") && !is_plainly_set(head, value) {
            return Err(Refusal::TransferCoding);
        }
        fields.push_checked_spans(name, value);
    }
    Ok(fields)
}

/// Where `part`, a subslice of `whole`, lies. Empty for anything else.
fn span(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => Span { start, end },
        _ => Span::default(),
    }
}

/// Whether nothing but at most one space separates the value from its colon and line end. Parsers differ in what they
/// trim, and a coding that only one side recognises is the classic way to smuggle, so this one field gets no leeway.
fn is_plainly_set(head: &[u8], value: Span) -> bool {
    let before = head.get(..value.start).unwrap_or_default();
    (before.ends_with(b":") || before.ends_with(b": ")) && head.get(value.end) == Some(&b'\r')
}

/// Exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0, equal to the authority of an absolute target (RFC 9112
/// sections 3.2 and 3.2.2).
fn check_host(fields: &Fields, target: &str, version: Version) -> Result<(), Refusal> {
    let mut hosts = fields.get_all("host");
    let (host, repeated) = (hosts.next(), hosts.next().is_some());
    if repeated {
        return Err(Refusal::HostRepeated);
    }
    let Some(host) = host else {
        return if version == Version::Http10 { Ok(()) } else { Err(Refusal::HostMissing) };
    };
    let host =
        std::str::from_utf8(host).ok().filter(|host| is_authority(host)).ok_or(Refusal::HostInvalid)?;
    match absolute(target) {
        Some((authority, _)) if !authority.eq_ignore_ascii_case(host) => Err(Refusal::HostMismatch),
        _ => Ok(()),
    }
}
