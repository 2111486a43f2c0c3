//! Request lines and status lines, read strictly: single spaces, an exact version, a target in an allowed form.

use super::head::Target;
use super::refusal::Refusal;
use super::syntax::{is_authority, is_field_text, is_port, is_target, is_token};
use crate::http::head::{Version, absolute, split_port};

pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
}

pub(super) struct StatusLine<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), without CRLF.
pub(super) fn request_line(line: &[u8], form: Target) -> Result<RequestLine<'_>, Refusal> {
    let (method, rest) = split_at_byte(line, memchr::memchr(b' ', line)).ok_or(Refusal::StartLine)?;
    if !is_token(method) {
        return Err(Refusal::StartLine);
    }
    // Without a second space this is a request of HTTP/0.9, which has no version.
    let (target, version) = split_at_byte(rest, memchr::memrchr(b' ', rest)).ok_or(Refusal::Version)?;
    let version = http_version(version)?;
    let method = std::str::from_utf8(method).map_err(|_| Refusal::StartLine)?;
    let target = std::str::from_utf8(target).map_err(|_| Refusal::Target)?;
    if !is_target(target) {
        return Err(Refusal::Target);
    }
    check_form(method, target, form)?;
    Ok(RequestLine { method, target, version })
}

/// Method and target form belong together (RFC 9112 section 3.2).
fn check_form(method: &str, target: &str, form: Target) -> Result<(), Refusal> {
    // Refused in any case: a lenient origin may not care how the method is spelled.
    if ["CONNECT", "TRACE", "TRACK"].iter().any(|refused| method.eq_ignore_ascii_case(refused)) {
        return match form {
            Target::Proxy if method == "CONNECT" => {
                let port = split_port(target).1;
                if is_authority(target) && port.is_some_and(is_port) { Ok(()) } else { Err(Refusal::Target) }
            }
            _ => Err(Refusal::MethodRefused),
        };
    }
    let allowed = match absolute(target) {
        Some((authority, _)) => is_authority(authority),
        None => target.starts_with('/') || (target == "*" && method == "OPTIONS"),
    };
    if allowed { Ok(()) } else { Err(Refusal::Target) }
}

/// `HTTP-version SP status-code SP [reason]` (RFC 9112 section 4), without CRLF. The last space may be missing, as
/// several servers leave it out together with the reason.
pub(super) fn status_line(line: &[u8]) -> Result<StatusLine<'_>, Refusal> {
    let (version, rest) = split_at_byte(line, memchr::memchr(b' ', line)).ok_or(Refusal::Version)?;
    let version = match http_version(version) {
        // Whatever speaks first on a line of its own (`ICY 200 OK`) is another protocol.
        Err(_) => return Err(Refusal::Version),
        Ok(version) => version,
    };
    let (code, reason) = split_at_byte(rest, memchr::memchr(b' ', rest)).unwrap_or((rest, b""));
    let status = match code {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            code.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
        }
        _ => return Err(Refusal::Status),
    };
    if !is_field_text(reason) {
        return Err(Refusal::FieldValue);
    }
    Ok(StatusLine { version, status, reason })
}

fn http_version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ if text.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/")) => Err(Refusal::Version),
        _ => Err(Refusal::StartLine),
    }
}

/// The parts before and behind the byte at `at`.
fn split_at_byte(text: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, from) = text.split_at_checked(at?)?;
    Some((before, from.get(1..)?))
}
