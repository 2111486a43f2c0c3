//! Request and response heads from bytes: their lines, then the rules on Host.

use super::Parsed;
use super::limits::Limits;
use super::refusal::Refusal;
use super::scan::{Scanned, Scanner, Section};
use super::start_line::{request_line, status_line};
use super::syntax::is_authority;
use crate::http::fields::Fields;
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
        let head = request(buf, scanned, self.target);
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
        finish(response(buf, scanned), consumed, &mut self.scanner, Section::Response)
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
    // Also behind a refusal: whoever asks again gets the same answer.
    *scanner = Scanner::new(section);
    match head {
        Ok(head) => Parsed::Complete(head, consumed),
        Err(refusal) => Parsed::Refused(refusal),
    }
}

fn request(buf: &[u8], scanned: Scanned, form: Target) -> Result<RequestHead, Refusal> {
    let (start, line_end) = scanned.start;
    let line = request_line(buf.get(start..line_end).unwrap_or_default(), form)?;
    check_host(&scanned.fields, line.target, line.version)?;
    Ok(RequestHead::with_fields(line.method, line.target, line.version, scanned.fields))
}

fn response(buf: &[u8], scanned: Scanned) -> Result<ResponseHead, Refusal> {
    let (start, line_end) = scanned.start;
    let line = status_line(buf.get(start..line_end).unwrap_or_default())?;
    Ok(ResponseHead::with_fields(line.status, line.reason, line.version, scanned.fields))
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
