//! The TLS ClientHello: server name, ALPN and ECH, without believing a length that does not fit (RFC 8446 4.1.2).
//!
//! Three answers: found, not a hello, need more. Offsets in the answer point into the handshake message that was read.

use crate::byte_source::{ByteSource, Slot};
use crate::limits;

/// A stretch of the handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub at: usize,
    pub length: usize,
}

/// What the peek needs to know of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    /// The first host_name of server_name (RFC 6066 section 3); absent when there is no such extension.
    pub server_name: Option<Span>,
    /// The protocol name list of ALPN, each with its length octet in front (RFC 7301).
    pub alpn: Option<Span>,
    /// encrypted_client_hello is present, real or GREASE (RFC 9849).
    pub encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Found(Hello),
    /// So far this is a ClientHello; more bytes are needed.
    NeedMore,
    /// The bytes cannot be a ClientHello: another protocol, or lengths that contradict each other.
    NotHello,
}

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Octets of a record header, and of a handshake header.
pub const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Length of the record that starts at `at` when it is a handshake record of TLS 1.x; `None` while cut short.
#[inline(always)]
pub fn record_length<S: ByteSource + ?Sized>(source: &S, at: usize) -> Option<Result<usize, NotHello>> {
    let have = source.len().saturating_sub(at);
    if have > 0 && source.byte(at) != HANDSHAKE_RECORD || have > 1 && source.byte(at + 1) != 3 {
        return Some(Err(NotHello));
    }
    if have < RECORD_HEADER {
        return None;
    }
    match source.u16(at + 3) as usize {
        0 => Some(Err(NotHello)),
        length => Some(Ok(length)),
    }
}

/// The bytes are no TLS handshake record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHello;

/// Reads a handshake message (record headers already taken away).
#[inline(always)]
pub fn parse<S: ByteSource + ?Sized>(source: &S) -> Outcome {
    let have = source.len();
    if have == 0 {
        return Outcome::NeedMore;
    }
    if source.byte(0) != CLIENT_HELLO {
        return Outcome::NotHello;
    }
    if have < HANDSHAKE_HEADER {
        return Outcome::NeedMore;
    }
    let body = (source.byte(1) as usize) << 16 | source.u16(2) as usize;
    let end = HANDSHAKE_HEADER + body;
    if end > limits::HELLO_BYTES {
        return Outcome::NotHello;
    }
    if have < end {
        return Outcome::NeedMore;
    }
    match walk(source, end) {
        Some(hello) => Outcome::Found(hello),
        None => Outcome::NotHello,
    }
}

/// The fixed part, then the extensions; `None` when a length runs over its container.
#[inline(always)]
fn walk<S: ByteSource + ?Sized>(source: &S, end: usize) -> Option<Hello> {
    // legacy_version (2), random (32), then session id, cipher suites and compression methods behind their lengths.
    let mut at = HANDSHAKE_HEADER + 2 + 32;
    at = fits(at + 1, end)? + source.byte(at) as usize;
    at = fits(at + 2, end)? + source.u16(at) as usize;
    at = fits(at + 1, end)? + source.byte(at) as usize;
    let mut hello = Hello::default();
    if at == end {
        return Some(hello); // TLS 1.2 allows a hello without extensions.
    }
    let extensions_end = fits(at + 2, end)? + source.u16(at) as usize;
    if extensions_end != end {
        return None;
    }
    at += 2;
    let mut i = 0;
    while at < end {
        if i == limits::HELLO_EXTENSIONS {
            return None;
        }
        i += 1;
        at = source.forget(Slot::Position, at);
        let kind = source.u16(at);
        let data = fits(at + 4, end)?;
        let next = fits(data + source.u16(at + 2) as usize, end)?;
        match kind {
            EXTENSION_SERVER_NAME if hello.server_name.is_some() => return None,
            EXTENSION_SERVER_NAME => hello.server_name = Some(host_name(source, data, next)?),
            EXTENSION_ALPN if hello.alpn.is_some() => return None,
            EXTENSION_ALPN => {
                let length = source.u16(data) as usize;
                if data + 2 > next || data + 2 + length != next || length < 2 {
                    return None;
                }
                hello.alpn = Some(Span { at: data + 2, length });
            }
            EXTENSION_ENCRYPTED_CLIENT_HELLO => hello.encrypted = true,
            _ => {}
        }
        at = next;
    }
    Some(hello)
}

#[inline(always)]
fn fits(at: usize, end: usize) -> Option<usize> {
    (at <= end).then_some(at)
}

/// The one host_name in a server_name extension. Lists with more or other entries are refused: no client sends them,
/// and two readers could take different names.
#[inline(always)]
fn host_name<S: ByteSource + ?Sized>(source: &S, data: usize, end: usize) -> Option<Span> {
    if data + 5 > end {
        return None;
    }
    let list = source.u16(data) as usize;
    let kind = source.byte(data + 2);
    let length = source.u16(data + 3) as usize;
    if kind != 0 || length == 0 || data + 2 + list != end || data + 5 + length != end {
        return None;
    }
    Some(Span { at: data + 5, length })
}

/// The protocols of an ALPN list, cut short at the first entry that does not fit.
pub fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    core::iter::from_fn(move || {
        let (&length, tail) = rest.split_first()?;
        let (name, tail) = tail.split_at_checked(length as usize)?;
        rest = tail;
        (length > 0).then_some(name)
    })
}

#[cfg(test)]
mod tests;
