//! The first words of a client: which name they are for, as the ClientHello of TLS or the Host of a request in clear text
//! shows it. The kernel's programs are built of this same code.

mod request;

use crate::byte_source::{ByteSource, Slot};
use crate::client_hello::{self, NotHello, Outcome, RECORD_HEADER};
use crate::limits;
use crate::name::NameBuffer;

const TLS_HANDSHAKE: u8 = 22;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// They are for the name that now stands in the buffer.
    Name,
    /// A hello or a request that names nobody.
    Nameless,
    /// Neither TLS nor HTTP.
    Other,
    /// More bytes are needed.
    More,
    /// TLS or HTTP, but in a shape or of a size that is not read here.
    Unreadable,
}

/// Where a name stands, or why there is none: only numbers, because they go through memory once, so that the kernel's
/// verifier forgets by which of many paths they came.
struct Spot {
    code: usize,
    at: usize,
    length: usize,
}

const NAME: usize = 1;
const NAMELESS: usize = 2;
const OTHER: usize = 3;
const MORE: usize = 4;
const UNREADABLE: usize = 5;

const fn no_name(code: usize) -> Spot {
    Spot { code, at: 0, length: 0 }
}

/// Reads what a client sent first.
#[inline(always)]
pub fn read<S: ByteSource + ?Sized>(source: &S, name: &mut NameBuffer) -> Words {
    let first = source.byte(0);
    let spot = if source.is_empty() {
        no_name(MORE)
    } else if first == TLS_HANDSHAKE {
        hello(source)
    } else if begins_request(first) {
        request::host(source)
    } else {
        no_name(OTHER)
    };
    let at = source.forget(Slot::Start, spot.at);
    let length = source.forget(Slot::End, spot.length);
    match source.forget(Slot::Code, spot.code) {
        NAME if name.read(source, at, length) => Words::Name,
        NAMELESS => Words::Nameless,
        OTHER => Words::Other,
        MORE => Words::More,
        _ => Words::Unreadable,
    }
}

/// Servers skip empty lines before a request (RFC 9112 section 2.2).
#[inline(always)]
fn begins_request(first: u8) -> bool {
    request::is_of_method(first) || first == b'\r' || first == b'\n'
}

/// A source without its first bytes.
struct Behind<'a, S: ?Sized> {
    source: &'a S,
    length: usize,
}

impl<S: ByteSource + ?Sized> ByteSource for Behind<'_, S> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.source.byte(at + RECORD_HEADER)
    }

    #[inline(always)]
    fn forget(&self, slot: Slot, value: usize) -> usize {
        self.source.forget(slot, value)
    }
}

/// A ClientHello in one record. Several are allowed, but no client in use sends a hello so: the agent reads those.
#[inline(always)]
fn hello<S: ByteSource + ?Sized>(source: &S) -> Spot {
    let record = match client_hello::record_length(source, 0) {
        None => return no_name(MORE),
        Some(Err(NotHello)) => return no_name(OTHER),
        Some(Ok(length)) => length,
    };
    let have = source.len() - RECORD_HEADER;
    if have < 4 {
        return no_name(MORE);
    }
    if source.byte(RECORD_HEADER) != 1 {
        return no_name(UNREADABLE);
    }
    let message =
        4 + ((source.byte(RECORD_HEADER + 1) as usize) << 16 | source.u16(RECORD_HEADER + 2) as usize);
    if message > record || message > limits::NET_BYTES - RECORD_HEADER {
        return no_name(UNREADABLE);
    }
    if have < message {
        return no_name(MORE);
    }
    match client_hello::parse(&Behind { source, length: have }) {
        Outcome::Found(hello) => match hello.server_name {
            Some(span) => Spot { code: NAME, at: span.at + RECORD_HEADER, length: span.length },
            None => no_name(NAMELESS),
        },
        Outcome::NeedMore => no_name(MORE),
        Outcome::NotHello => no_name(UNREADABLE),
    }
}

#[cfg(test)]
mod tests;
