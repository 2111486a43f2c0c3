//! Request and response heads as values: header look-up rules, nothing of the wire.
//!
//! One model for HTTP/1.1 and HTTP/2. What HTTP/2 sends as pseudo-header fields is method, target and authority here,
//! never a field line.

use std::borrow::Cow;
use std::fmt;

pub use super::fields::Fields;

/// The protocol version a message came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    pub const fn name(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// A request without its body.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Method and target one after the other: one allocation, and known to be text.
    line: Box<str>,
    method_len: usize,
    authority: Option<Box<str>>,
    version: Version,
    fields: Fields,
}

impl RequestHead {
    pub fn new(method: &str, target: &str, version: Version) -> Self {
        Self::with_fields(method, target, version, Fields::new())
    }

    pub(super) fn with_fields(method: &str, target: &str, version: Version, fields: Fields) -> Self {
        let line = [method, target].concat().into_boxed_str();
        Self { line, method_len: method.len(), authority: None, version, fields }
    }

    /// Adds a field line: for building heads in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push(name.as_bytes(), value.as_bytes());
        self
    }

    /// Sets the `:authority` of an HTTP/2 request. It goes before a `Host` field.
    #[must_use]
    pub fn with_authority(mut self, authority: &str) -> Self {
        self.authority = Some(authority.into());
        self
    }

    pub(super) fn with_boxed_authority(mut self, authority: Box<str>) -> Self {
        self.authority = Some(authority);
        self
    }

    pub fn method(&self) -> &str {
        self.line.get(..self.method_len).unwrap_or_default()
    }

    /// The request target as received (RFC 9112 section 3.2); `:path` in HTTP/2.
    pub fn target(&self) -> &str {
        self.line.get(self.method_len..).unwrap_or_default()
    }

    /// The path: no query, no authority. `/` when an absolute target has none, `*` for the asterisk form.
    pub fn path(&self) -> &str {
        let path = self.path_and_query();
        match path.split_once('?').map_or(path, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// Target without scheme and authority; may be empty or begin with `?` for an absolute target.
    pub(crate) fn path_and_query(&self) -> &str {
        match absolute(self.target()) {
            Some((_, rest)) => rest,
            None => self.target(),
        }
    }

    /// Host and port as the request names them: `:authority`, else the authority of the target, else `Host`.
    pub fn authority(&self) -> Option<&str> {
        self.authority
            .as_deref()
            .or_else(|| (self.method() == "CONNECT").then_some(self.target()))
            .or_else(|| absolute(self.target()).map(|(authority, _)| authority))
            .or_else(|| self.fields.get("host").and_then(|value| std::str::from_utf8(value).ok()))
            .map(str::trim)
            .filter(|authority| !authority.is_empty())
    }

    /// `:authority` of HTTP/2 as it was sent, apart from Host.
    pub(super) fn pseudo_authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The host without port, as written: case and a trailing dot stay, an IPv6 address keeps its brackets.
    pub fn host(&self) -> Option<&str> {
        self.authority().map(|authority| split_port(authority).0).filter(|host| !host.is_empty())
    }

    /// The port the request names, if it names a valid one.
    pub fn port(&self) -> Option<u16> {
        split_port(self.authority()?).1?.parse().ok()
    }

    pub fn version(&self) -> Version {
        self.version
    }
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

/// Splits an `http` or `https` target in absolute form into authority and the rest. `None` for every other form.
pub(super) fn absolute(target: &str) -> Option<(&str, &str)> {
    let after_scheme = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })?;
    let end = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
    after_scheme.split_at_checked(end)
}

/// Splits an authority into host and port text. Whatever follows a `:` outside of brackets is the port.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let bracket = if authority.starts_with('[') { authority.find(']').unwrap_or(0) } else { 0 };
    let colon = authority.get(bracket..).and_then(|rest| rest.find(':')).map(|at| at + bracket);
    match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => (authority, None),
    }
}

/// The query is left out: presigned addresses carry secrets there.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("authority", &self.authority())
            .field("path", &self.path())
            .field("version", &self.version)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// A response without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    status: u16,
    reason: Cow<'static, [u8]>,
    version: Version,
    fields: Fields,
}

impl ResponseHead {
    /// A response with the usual reason phrase of its status, or an empty one.
    pub fn new(status: u16, version: Version) -> Self {
        Self { status, reason: Cow::Borrowed(reason(status).as_bytes()), version, fields: Fields::new() }
    }

    pub(super) fn with_fields(status: u16, phrase: &[u8], version: Version, fields: Fields) -> Self {
        let usual = reason(status).as_bytes();
        let reason = if phrase == usual { Cow::Borrowed(usual) } else { Cow::Owned(phrase.to_vec()) };
        Self { status, reason, version, fields }
    }

    /// Adds a field line: for building heads in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push(name.as_bytes(), value.as_bytes());
        self
    }

    pub fn status(&self) -> u16 {
        self.status
    }
    /// The reason phrase; empty in HTTP/2, and where the origin sent none.
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }
    pub fn version(&self) -> Version {
        self.version
    }
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

/// Reason phrases of the statuses that carry most traffic, or that the agent itself sends (RFC 9110 section 15).
const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
