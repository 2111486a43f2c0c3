//! The first words of a client: which name they are for. TLS shows it in the ClientHello, HTTP in clear text in the
//! request's host. Kernel and agent read them with this same code.

use crate::byte_source::{ByteSource, Slot};
use crate::client_hello::{self, NotHello, Outcome, RECORD_HEADER};
use crate::domain::MAX_NAME;
use crate::limits;
use crate::name::NameBuffer;

const TLS_HANDSHAKE: u8 = 22;
/// Blanks skipped between `Host:` and the name.
const BLANKS: usize = 4;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// They are for the name that now stands in the buffer.
    Name,
    /// A hello or request that names nobody.
    Nameless,
    /// Neither TLS nor HTTP.
    Other,
    /// More bytes are needed.
    More,
    /// TLS or HTTP, but in a shape or of a size that is not read here.
    Unreadable,
}

/// Reads what a client sent first.
#[inline(always)]
pub fn read<S: ByteSource + ?Sized>(source: &S, name: &mut NameBuffer) -> Words {
    if source.is_empty() {
        return Words::More;
    }
    let first = source.byte(0);
    if first == TLS_HANDSHAKE {
        return hello(source, name);
    }
    if first.is_ascii_uppercase() {
        return request(source, name);
    }
    Words::Other
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
fn hello<S: ByteSource + ?Sized>(source: &S, name: &mut NameBuffer) -> Words {
    let record = match client_hello::record_length(source, 0) {
        None => return Words::More,
        Some(Err(NotHello)) => return Words::Other,
        Some(Ok(length)) => length,
    };
    let have = source.len() - RECORD_HEADER;
    if have < 4 {
        return Words::More;
    }
    if source.byte(RECORD_HEADER) != 1 {
        return Words::Unreadable;
    }
    let message = 4 + ((source.byte(RECORD_HEADER + 1) as usize) << 16 | source.u16(RECORD_HEADER + 2) as usize);
    if message > record || message > limits::NET_BYTES - RECORD_HEADER {
        return Words::Unreadable;
    }
    if have < message {
        return Words::More;
    }
    match client_hello::parse(&Behind { source, length: have }) {
        Outcome::Found(hello) => match hello.server_name {
            Some(span) if name.read(source, span.at + RECORD_HEADER, span.length) => Words::Name,
            Some(_) => Words::Unreadable,
            None => Words::Nameless,
        },
        Outcome::NeedMore => Words::More,
        Outcome::NotHello => Words::Unreadable,
    }
}

/// How the search for the host ended. Kept as a number: it goes through memory, so that the verifier forgets the path.
const FOUND: usize = 1;
const NEED_MORE: usize = 2;
const HEAD_ENDS: usize = 3;
const ODD: usize = 4;

/// A request of HTTP/1 (RFC 9112): the target's own host, else the first Host field.
#[inline(always)]
fn request<S: ByteSource + ?Sized>(source: &S, name: &mut NameBuffer) -> Words {
    let length = source.len();
    let mut at = 0;
    while at < limits::NET_METHOD && source.byte(at).is_ascii_uppercase() {
        at += 1;
    }
    let at = source.forget(Slot::Start, at) & (limits::NET_BYTES - 1);
    // The longest start of a target that tells its form, and the blank before it.
    if at + 8 > length {
        return Words::More;
    }
    if source.byte(at) != b' ' {
        return Words::Other;
    }
    let target = source.byte(at + 1);
    if target != b'/' && target != b'*' {
        // The absolute form begins with a scheme; everything else is for a proxy, not for an origin.
        let scheme = source.u32(at + 1) | 0x2020_2020;
        let rest = source.u32(at + 4) | 0x2000_0000;
        if scheme != u32::from_be_bytes(*b"http") || rest != u32::from_be_bytes(*b"p://") {
            return Words::Other;
        }
        return host(source, at + 8, name);
    }
    let mut i = 0;
    let mut code = ODD;
    let mut line_ended = false;
    let mut window = 0u64;
    while i < limits::NET_HEAD_BYTES {
        if i >= length {
            code = NEED_MORE;
            break;
        }
        let octet = source.byte(i);
        i += 1;
        // Eight octets in a row; laundered, or the verifier would tell apart every mixture of known octets.
        window = source.forget(Slot::Next, (window << 8 | octet as u64) as usize) as u64;
        if !line_ended {
            if octet == b'\n' {
                // "…TP/1.x\r\n", or without the carriage return.
                let version = u64::from_be_bytes(*b"\0\0\0TP/1.");
                if window >> 24 != version && window >> 16 & 0xff_ffff_ffff != version {
                    break;
                }
                line_ended = true;
            }
        } else if window & 0xffff == 0x0a0a || window & 0xff_ffff == 0x0a_0d0a {
            code = HEAD_ENDS;
            break;
        }
        if line_ended && (window | 0x20_2020_2000) & 0xffff_ffff_ffff == u64::from_be_bytes(*b"\0\0\nhost:") {
            code = FOUND;
            break;
        }
    }
    let i = source.forget(Slot::Start, i) & (limits::NET_BYTES - 1);
    let code = source.forget(Slot::Code, code);
    match code {
        FOUND => host(source, i, name),
        NEED_MORE => Words::More,
        HEAD_ENDS => Words::Nameless,
        _ => Words::Unreadable,
    }
}

/// The host at `at`, up to what ends it in a field or target.
#[inline(always)]
fn host<S: ByteSource + ?Sized>(source: &S, at: usize, name: &mut NameBuffer) -> Words {
    let mut blanks = 0;
    while blanks < BLANKS && matches!(source.byte(at + blanks), b' ' | b'\t') {
        blanks += 1;
    }
    let at = source.forget(Slot::Start, at + blanks) & (limits::NET_BYTES - 1);
    let end = source.len();
    let mut i = 0;
    let mut code = ODD;
    while i <= MAX_NAME {
        if at + i >= end {
            code = NEED_MORE;
            break;
        }
        let octet = source.byte(at + i);
        if matches!(octet, b'\r' | b'\n' | b' ' | b'\t' | b':' | b'/' | b'?' | b'#') {
            code = FOUND;
            break;
        }
        if octet == b'@' {
            break;
        }
        i += 1;
    }
    let length = source.forget(Slot::NameLength, i);
    match source.forget(Slot::Code, code) {
        FOUND if length == 0 => Words::Nameless,
        FOUND if name.read(source, at, length) => Words::Name,
        NEED_MORE => Words::More,
        _ => Words::Unreadable,
    }
}

#[cfg(test)]
mod tests;
