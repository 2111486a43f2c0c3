//! Field lists to heads and trailer sections, by the rules of RFC 9113 section 8: the model that is judged.

use super::hpack::{FieldLine, FieldList};
use super::limits::Limits;
use super::refusal::Refusal;
use crate::http::fields::{Fields, Span, trim};
use crate::http::h1::syntax::{is_authority, is_field_text, is_target, is_token, is_token_char};
use crate::http::h1::trailer::NOT_IN_TRAILERS;
use crate::http::h1::{Framing, request_body, response_body};
use crate::http::head::{RequestHead, ResponseHead, Version};

/// `:scheme`, of which the model has no notion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Https,
    Http,
}

impl Scheme {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// A request as it came, and what of it the model does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub head: RequestHead,
    pub scheme: Scheme,
    /// An extended CONNECT for a WebSocket (RFC 8441): method CONNECT, `:protocol` websocket.
    pub websocket: bool,
    /// Octets of the body, where Content-Length says them.
    pub length: Option<u64>,
}

/// Connection-specific fields (RFC 9113 section 8.2.2): they frame nothing here, and at the next hop might.
const CONNECTION_FIELDS: [&str; 6] =
    ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings"];

/// Whether a field of this name, in lower case, has no place in HTTP/2.
pub(super) fn is_connection_field(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'c' | b'p' | b'k' | b't' | b'u' | b'h'))
        && CONNECTION_FIELDS.iter().any(|other| name == other.as_bytes())
}

/// Token characters in lower case.
static NAME_CHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_token_char(byte as u8) && !(byte as u8).is_ascii_uppercase();
        byte += 1;
    }
    table
};

fn check_field(name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    if name.first() == Some(&b':') {
        return Err(Refusal::PseudoOrder);
    }
    if name.is_empty() || !name.iter().all(|byte| NAME_CHARS[usize::from(*byte)]) {
        return Err(Refusal::FieldName);
    }
    if !is_field_text(value) || trim(value).len() != value.len() {
        return Err(Refusal::FieldValue);
    }
    if is_connection_field(name) || (name == b"te" && value != b"trailers") {
        return Err(Refusal::ConnectionField);
    }
    Ok(())
}

/// The pseudo-header fields at the start of `list`, and the lines behind them.
fn split_pseudo(list: &FieldList) -> (&[FieldLine], &[FieldLine]) {
    let lines = list.lines();
    let pseudo = lines.iter().take_while(|line| list.name(line).first() == Some(&b':')).count();
    lines.split_at_checked(pseudo).unwrap_or_default()
}

/// Checks and copies the lines: one allocation for the text, one for the places.
fn fields(list: &FieldList, lines: &[FieldLine]) -> Result<Fields, Refusal> {
    for line in lines {
        check_field(list.name(line), list.value(line))?;
    }
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(Fields::new()) };
    let start = first.name.start;
    let mut fields = Fields::over(list.text(start..last.value.end).to_vec(), lines.len());
    for line in lines {
        let name = Span { start: line.name.start - start, end: line.name.end - start };
        let value = Span { start: line.value.start - start, end: line.value.end - start };
        fields.push_marked_spans(name, value, line.never_indexed);
    }
    Ok(fields)
}

/// Reads a request (RFC 9113 section 8.3.1).
pub fn request(list: &FieldList, limits: &Limits) -> Result<Request, Refusal> {
    if list.is_too_large() {
        return Err(Refusal::HeadTooLarge);
    }
    let (pseudo, lines) = split_pseudo(list);
    let [mut method, mut scheme, mut authority, mut path, mut protocol] = [None; 5];
    for line in pseudo {
        let place = match list.name(line) {
            b":method" => &mut method,
            b":scheme" => &mut scheme,
            b":authority" => &mut authority,
            b":path" => &mut path,
            b":protocol" => &mut protocol,
            _ => return Err(Refusal::PseudoUnknown),
        };
        if place.replace(list.value(line)).is_some() {
            return Err(Refusal::PseudoRepeated);
        }
    }
    let fields = fields(list, lines)?;
    let method = method.ok_or(Refusal::PseudoMissing)?;
    let method =
        std::str::from_utf8(method).ok().filter(|m| is_token(m.as_bytes())).ok_or(Refusal::Method)?;
    let websocket = protocol.is_some();
    let refused = |other| method.eq_ignore_ascii_case(other);
    let wrong_connect = refused("CONNECT") && !(limits.websocket && method == "CONNECT" && websocket);
    if wrong_connect || refused("TRACE") || refused("TRACK") || protocol.is_some_and(|p| p != b"websocket") {
        return Err(Refusal::MethodRefused);
    }
    if websocket && method != "CONNECT" {
        return Err(Refusal::PseudoUnknown);
    }
    let scheme = match scheme.ok_or(Refusal::PseudoMissing)? {
        b"https" => Scheme::Https,
        b"http" => Scheme::Http,
        _ => return Err(Refusal::Scheme),
    };
    let path = path.ok_or(Refusal::PseudoMissing)?;
    if path.len() > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    let path = std::str::from_utf8(path)
        .ok()
        .filter(|path| is_target(path) && (path.starts_with('/') || (*path == "*" && method == "OPTIONS")))
        .ok_or(Refusal::Target)?;
    let authority = check_authority(authority, &fields)?.map(str::to_owned);
    let mut head = RequestHead::with_fields(method, path, Version::Http2, fields);
    if let Some(authority) = authority {
        head = head.with_boxed_authority(authority.into_boxed_str());
    }
    let length = match request_body(&head) {
        Ok(Framing::Length(length)) => Some(length),
        Ok(_) => None,
        Err(_) => return Err(Refusal::ContentLength),
    };
    // What follows an extended CONNECT is no body.
    if websocket && length.is_some() {
        return Err(Refusal::ContentLength);
    }
    Ok(Request { head, scheme, websocket, length })
}

/// One host, said in `:authority` or in Host or alike in both; nobody can take the other one.
fn check_authority<'a>(authority: Option<&'a [u8]>, fields: &'a Fields) -> Result<Option<&'a str>, Refusal> {
    let mut hosts = fields.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Authority);
    }
    let valid =
        |text| std::str::from_utf8(text).ok().filter(|text| is_authority(text)).ok_or(Refusal::Authority);
    let (authority, host) = (authority.map(valid).transpose()?, host.map(valid).transpose()?);
    match (authority, host) {
        (None, None) => Err(Refusal::Authority),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Refusal::HostMismatch),
        _ => Ok(authority),
    }
}

/// Reads a response (RFC 9113 section 8.3.2).
pub fn response(list: &FieldList) -> Result<ResponseHead, Refusal> {
    if list.is_too_large() {
        return Err(Refusal::HeadTooLarge);
    }
    let (pseudo, lines) = split_pseudo(list);
    let status = match pseudo {
        [] => return Err(Refusal::PseudoMissing),
        [line] if list.name(line) == b":status" => list.value(line),
        [first, second, ..] if list.name(first) == list.name(second) => return Err(Refusal::PseudoRepeated),
        _ => return Err(Refusal::PseudoUnknown),
    };
    let status = match status {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            status.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
        }
        _ => return Err(Refusal::Status),
    };
    // There is no switching of protocols in HTTP/2 (RFC 9113 section 8.6).
    if status == 101 {
        return Err(Refusal::Status);
    }
    Ok(ResponseHead::with_fields(status, b"", Version::Http2, fields(list, lines)?))
}

/// Octets that the body of a response to `method` must have; `None` where nothing says it.
pub fn response_length(head: &ResponseHead, method: &str) -> Result<Option<u64>, Refusal> {
    match response_body(head, method) {
        // After an accepted CONNECT there is a tunnel, whatever a length says.
        _ if method == "CONNECT" && (200..300).contains(&head.status()) => Ok(None),
        Ok(Framing::None) => Ok(Some(0)),
        Ok(Framing::Length(length)) => Ok(Some(length)),
        Ok(Framing::Chunked | Framing::Close) => Ok(None),
        Err(_) => Err(Refusal::ContentLength),
    }
}

/// Reads a trailer section, freed of what must not come late.
pub fn trailers(list: &FieldList) -> Result<Fields, Refusal> {
    if list.is_too_large() {
        return Err(Refusal::HeadTooLarge);
    }
    let mut fields = fields(list, list.lines())?;
    for name in NOT_IN_TRAILERS {
        fields.remove(name);
    }
    Ok(fields)
}
