//! Heads as HTTP/1.1 bytes, written anew from the model: one canonical spelling of everything that frames a message.

use std::io::Write as _;

use super::framing::{Framing, declared};
use super::refusal::Refusal;
use super::syntax::{is_authority, is_field_text, is_target, is_token};
use crate::http::fields::{Leaving, Tags};
use crate::http::head::{Fields, RequestHead, ResponseHead, Version, absolute};

/// How a head is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// The extent of the body as it will be sent. Content-Length and Transfer-Encoding are made from this alone.
    pub framing: Framing,
    /// Whether this side of the connection stays open behind the message. Said in the way of the head's own version:
    /// for a client of HTTP/1.0 set that version on the response too.
    pub persistent: bool,
    /// Keeps the Upgrade field and announces it in Connection.
    pub upgrade: bool,
}

impl Emit {
    /// A message on a persistent connection, without upgrade.
    pub const fn new(framing: Framing) -> Self {
        Self { framing, persistent: true, upgrade: false }
    }
}

/// Fields about one connection (RFC 9110 section 7.6.1), which end here. What Connection itself names is *not* added
/// to them: that would let a peer erase the very fields a verdict is made from.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "http2-settings",
];

/// Most names are none of them by this alone.
const HOP_BY_HOP_TAGS: Tags = Tags::of(&HOP_BY_HOP);

/// What a head grows by on its way: its start line's fixed parts, and lines that are made here.
const ADDED: usize = 128;

/// Appends the head of a request to an origin. The target goes out in origin form. On refusal `out` is as before.
pub fn write_request(head: &RequestHead, emit: Emit, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let before = out.len();
    let written = request(head, emit, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn request(head: &RequestHead, emit: Emit, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if emit.framing == Framing::Close {
        return Err(Refusal::NoLength);
    }
    if !is_token(head.method().as_bytes()) {
        return Err(Refusal::StartLine);
    }
    // All of it at once: `out` is empty behind most messages, and would grow with each part.
    out.reserve(head.method().len() + head.target().len() + head.fields().size() + ADDED);
    out.extend_from_slice(head.method().as_bytes());
    out.push(b' ');
    let before_target = out.len();
    match absolute(head.target()) {
        Some((_, "")) if head.method() == "OPTIONS" => out.push(b'*'),
        Some((_, rest)) => {
            if !rest.starts_with('/') {
                out.push(b'/');
            }
            out.extend_from_slice(rest.as_bytes());
        }
        None => out.extend_from_slice(head.target().as_bytes()),
    }
    let target = out.get(before_target..).and_then(|target| std::str::from_utf8(target).ok());
    if !target.is_some_and(is_target) {
        return Err(Refusal::Target);
    }
    out.push(b' ');
    out.extend_from_slice(wire_version(head.version()));
    out.extend_from_slice(b"\r\n");
    // HTTP/2 and some HTTP/1.0 requests name the host only in the target.
    if let (None, Some(authority)) = (head.fields().get("host"), head.authority()) {
        if !is_authority(authority) {
            return Err(Refusal::HostInvalid);
        }
        line(b"Host", authority.as_bytes(), out)?;
    }
    rest(head.fields(), head.version(), emit, emit.framing, out)
}

/// Appends the head of a response to a request with `method`. On refusal `out` is as before.
pub fn write_response(
    head: &ResponseHead,
    method: &str,
    emit: Emit,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let before = out.len();
    let written = response(head, method, emit, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn response(head: &ResponseHead, method: &str, emit: Emit, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if !(100..=999).contains(&head.status()) {
        return Err(Refusal::Status);
    }
    if !is_field_text(head.reason()) {
        return Err(Refusal::FieldValue);
    }
    out.reserve(head.reason().len() + head.fields().size() + ADDED);
    out.extend_from_slice(wire_version(head.version()));
    out.push(b' ');
    let (hundreds, tens, ones) = (head.status() / 100, head.status() / 10 % 10, head.status() % 10);
    out.extend(
        [hundreds, tens, ones].map(|digit| b"0123456789".get(usize::from(digit)).copied().unwrap_or(b'0')),
    );
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    let framing = match (emit.framing, head.status()) {
        (Framing::None, 205) => Framing::Length(0),
        // No body follows, but the length is a fact about the resource (RFC 9110 section 8.6) and stays.
        (Framing::None, 304) => described_length(head)?,
        (Framing::None, 200..) if method == "HEAD" => described_length(head)?,
        (framing, _) => framing,
    };
    rest(head.fields(), head.version(), emit, framing, out)
}

fn described_length(head: &ResponseHead) -> Result<Framing, Refusal> {
    match declared(head.fields(), head.version())? {
        Some(Framing::Length(length)) => Ok(Framing::Length(length)),
        _ => Ok(Framing::None),
    }
}

/// Field lines and the empty line. Framing and connection lines stand where the sender had its own, else at the end.
fn rest(
    fields: &Fields,
    version: Version,
    emit: Emit,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if framing == Framing::Chunked && version == Version::Http10 {
        return Err(Refusal::CodingVersion);
    }
    let persistent = emit.persistent && framing != Framing::Close;
    let (mut framed, mut connected) = (false, false);
    for field in fields.leaving() {
        let is = |other: &str| field.name.eq_ignore_ascii_case(other.as_bytes());
        if !HOP_BY_HOP_TAGS.contain(field.tag) {
            send_on(&field, out)?;
        } else if is("content-length") || is("transfer-encoding") {
            if !std::mem::replace(&mut framed, true) {
                framing_line(framing, out);
            }
        } else if is("connection") {
            if !std::mem::replace(&mut connected, true) {
                connection_line(version, persistent, emit.upgrade, out);
            }
        } else if !HOP_BY_HOP.into_iter().any(is) || (emit.upgrade && is("upgrade")) {
            send_on(&field, out)?;
        }
    }
    if !framed {
        framing_line(framing, out);
    }
    if !connected {
        connection_line(version, persistent, emit.upgrade, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn framing_line(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::None | Framing::Close => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            // Writing to memory does not fail.
            let _ = write!(out, "{length}");
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn connection_line(version: Version, persistent: bool, upgrade: bool, out: &mut Vec<u8>) {
    let value: &[u8] = match (upgrade, persistent) {
        (true, _) => b"Connection: Upgrade\r\n",
        (false, false) => b"Connection: close\r\n",
        (false, true) if version == Version::Http10 => b"Connection: keep-alive\r\n",
        (false, true) => b"",
    };
    out.extend_from_slice(value);
}

/// Appends all field lines, without the empty line.
pub(super) fn write_fields(fields: &Fields, out: &mut Vec<u8>) -> Result<(), Refusal> {
    fields.iter().try_for_each(|(name, value)| line(name, value, out))
}

/// A line that the parser checked and that lies in memory as [`line`] would write it is copied in one piece.
fn send_on(field: &Leaving<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match field.as_line_of_http1() {
        Some(line) => {
            out.extend_from_slice(line);
            Ok(())
        }
        None => line(field.name, field.value, out),
    }
}

/// The one place where a field line becomes bytes: neither part can end the line early.
fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    if !is_token(name) {
        return Err(Refusal::FieldName);
    }
    if !is_field_text(value) {
        return Err(Refusal::FieldValue);
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

const fn wire_version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 | Version::Http2 => b"HTTP/1.1",
    }
}
