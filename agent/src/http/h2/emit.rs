//! Heads and trailer sections to HEADERS frames, written anew from the model that was judged.

use super::frame::write;
use super::hpack::{Encoder, Indexing};
use super::message::{Scheme, is_connection_field};
use super::refusal::Refusal;
use crate::http::fields::{Leaving, trim};
use crate::http::h1::syntax::{is_authority, is_field_text, is_target, is_token};
use crate::http::head::{Fields, RequestHead, ResponseHead};

/// What goes around a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) stream: u32,
    pub(super) end: bool,
    pub(super) priority: Option<[u8; 5]>,
}

impl Envelope {
    pub(super) const fn new(stream: u32, end: bool) -> Self {
        Self { stream, end, priority: None }
    }
}

/// Appends a request. On refusal neither `out` nor the table of the peer has changed.
pub(super) fn write_request(
    head: &RequestHead,
    scheme: Scheme,
    websocket: bool,
    envelope: Envelope,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    check(head.fields())?;
    if !is_token(head.method().as_bytes()) {
        return Err(Refusal::Method);
    }
    let path = head.path_and_query();
    if !is_target(path) {
        return Err(Refusal::Target);
    }
    // A head of HTTP/1.1 names the host in its Host field, which is passed on as such.
    let authority = head.pseudo_authority();
    if !authority.or_else(|| head.authority()).is_some_and(is_authority) {
        return Err(Refusal::Authority);
    }
    let Envelope { stream, end, priority } = envelope;
    write::headers(stream, end, priority, out, |out| {
        encoder.begin(out);
        let mut pseudo = |name: &str, value: &str| {
            let indexing = Indexing::of(name.as_bytes(), value.as_bytes());
            encoder.field(name.as_bytes(), value.as_bytes(), indexing, out);
        };
        pseudo(":method", head.method());
        pseudo(":scheme", scheme.name());
        if let Some(authority) = authority {
            pseudo(":authority", authority);
        }
        pseudo(":path", path);
        if websocket {
            pseudo(":protocol", "websocket");
        }
        lines(head.fields(), encoder, out);
    });
    Ok(())
}

/// Appends a response. On refusal neither `out` nor the table of the peer has changed.
pub(super) fn write_response(
    head: &ResponseHead,
    envelope: Envelope,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    check(head.fields())?;
    let status = head.status();
    if !(100..=999).contains(&status) || status == 101 {
        return Err(Refusal::Status);
    }
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit & 0xf) as u8);
    write::headers(envelope.stream, envelope.end, envelope.priority, out, |out| {
        encoder.begin(out);
        encoder.field(b":status", &digits, Indexing::Table, out);
        lines(head.fields(), encoder, out);
    });
    Ok(())
}

/// Appends a trailer section, which ends its stream.
pub(super) fn write_trailers(
    fields: &Fields,
    stream: u32,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    check(fields)?;
    write::headers(stream, true, None, out, |out| {
        encoder.begin(out);
        lines(fields, encoder, out);
    });
    Ok(())
}

/// Whatever the lines come from, they must be such as the next hop reads in one way only.
fn check(fields: &Fields) -> Result<(), Refusal> {
    for Leaving { name, value, checked, .. } in fields.leaving() {
        if !checked && !is_token(name) {
            return Err(Refusal::FieldName);
        }
        if (!checked && !is_field_text(value)) || trim(value).len() != value.len() {
            return Err(Refusal::FieldValue);
        }
    }
    Ok(())
}

fn lines(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for Leaving { name, value, never_indexed, .. } in fields.leaving() {
        if !never_indexed && encoder.repeated(name, value, out) {
            continue;
        }
        // Heads of our own have names as HTTP/1.1 writes them.
        let mut lower = [0; 24];
        let short = lower.get_mut(..name.len()).map(|lower| {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            &*lower
        });
        let known = short.unwrap_or(name);
        if is_connection_field(known) || (known == b"te" && value != b"trailers") {
            continue;
        }
        let indexing = if never_indexed { Indexing::Never } else { Indexing::of(known, value) };
        encoder.field(name, value, indexing, out);
    }
}
