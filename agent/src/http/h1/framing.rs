//! Where a body ends (RFC 9112 section 6): exactly one answer or a refusal, never a guess.

use super::refusal::Refusal;
use crate::http::head::{Fields, RequestHead, ResponseHead, Version};

/// The extent of a message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// No body follows the head.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the connection ends. Only responses.
    Close,
}

/// The body of a request. Without a length there is none (RFC 9112 section 6.3, item 7).
pub fn request_body(head: &RequestHead) -> Result<Framing, Refusal> {
    Ok(declared(head.fields(), head.version())?.unwrap_or(Framing::None))
}

/// The body of a response to a request with `method`.
///
/// What the fields declare is checked also where no body follows. Where an origin then sends one all the same, its
/// bytes are surplus: [`response_keep_alive`](super::connection::response_keep_alive) says whether they were announced.
pub fn response_body(head: &ResponseHead, method: &str) -> Result<Framing, Refusal> {
    let declared = declared(head.fields(), head.version())?;
    match head.status() {
        // An interim response cannot have a body; one that announces it would swallow the final response.
        100..=199 if !matches!(declared, None | Some(Framing::Length(0))) => Err(Refusal::InterimBody),
        // 205: RFC 9110 section 15.3.6 forbids content. It is not let through whatever the origin announces.
        100..=199 | 204 | 205 | 304 => Ok(Framing::None),
        _ if method == "HEAD" => Ok(Framing::None),
        _ => Ok(declared.unwrap_or(Framing::Close)),
    }
}

/// What Content-Length and Transfer-Encoding say together.
pub(super) fn declared(fields: &Fields, version: Version) -> Result<Option<Framing>, Refusal> {
    let length = content_length(fields)?;
    let mut codings = fields.get_all("transfer-encoding");
    let Some(coding) = codings.next() else { return Ok(length.map(Framing::Length)) };
    if length.is_some() {
        return Err(Refusal::LengthWithCoding);
    }
    if version != Version::Http11 {
        return Err(Refusal::CodingVersion);
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::TransferCoding);
    }
    Ok(Some(Framing::Chunked))
}

/// The one length all Content-Length lines agree on. A list (`5, 5`) is no number and refused.
fn content_length(fields: &Fields) -> Result<Option<u64>, Refusal> {
    let mut length = None;
    for value in fields.get_all("content-length") {
        let value = decimal(value).ok_or(Refusal::LengthInvalid)?;
        if length.is_some_and(|first| first != value) {
            return Err(Refusal::LengthConflict);
        }
        length = Some(value);
    }
    Ok(length)
}

/// Digits only, below 2^63 so that no signed counter of any peer overflows.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    i64::try_from(number).is_ok().then_some(number)
}
