//! Reads a connection's first bytes until it is clear what they are: a whole ClientHello, or something else.
//!
//! Nothing is consumed for good: every answer carries the bytes read, so that the connection can be terminated, relayed
//! or refused as if nobody had looked.

use std::time::Duration;

use agent_common::client_hello::{self, NotHello, Outcome, RECORD_HEADER};
use agent_common::limits::HELLO_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::name::{self, NameFault};

/// Bytes read at most, record headers included: the largest hello in records of a few hundred bytes fits.
pub const PEEK_BYTES: usize = HELLO_BYTES + 4096;
/// Records a hello may be cut into. One byte per record is a shape only an attacker sends.
const PEEK_RECORDS: usize = 512;
/// Room for a browser's hello with a post-quantum key share in one read.
const FIRST_READ: usize = 4096;
/// First octet of a TLS handshake record (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long a peek waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeekDeadlines {
    /// For the first byte. Protocols in which the server speaks first stay silent until then.
    pub first_byte: Duration,
    /// For the whole hello, counted from the start: a client that trickles is refused then.
    pub total: Duration,
}

impl PeekDeadlines {
    /// For a client on another host, which may lose packets on its way here.
    pub const REMOTE: Self = Self { first_byte: Duration::from_secs(2), total: Duration::from_secs(10) };
}

/// For a client on this host.
impl Default for PeekDeadlines {
    fn default() -> Self {
        Self { first_byte: Duration::from_millis(500), total: Duration::from_millis(800) }
    }
}

/// What a ClientHello says about where the client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    pub server_name: ServerName,
    /// The client's ALPN protocols in its order; empty when it sent none.
    pub alpn: Vec<Vec<u8>>,
    /// The client sent encrypted_client_hello, real or GREASE: `server_name` may be the provider's public name.
    pub encrypted: bool,
}

/// The SNI of a hello (RFC 6066 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    Absent,
    /// Lower case, no trailing dot.
    Name(String),
    /// Present, but no host name: an address, or bytes that are no DNS name.
    Unusable,
}

/// The answer of a peek. `bytes` is all that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peeked {
    Tls {
        hello: ClientHello,
        bytes: Vec<u8>,
    },
    /// The first byte is not that of a TLS handshake record.
    Plain {
        bytes: Vec<u8>,
    },
    /// Begins like a TLS handshake, but is no ClientHello.
    Malformed {
        bytes: Vec<u8>,
    },
    /// The client closed, or the read failed, before it was clear.
    Closed {
        bytes: Vec<u8>,
    },
    TimedOut {
        bytes: Vec<u8>,
    },
    /// The hello says it is, or became, larger than [`HELLO_BYTES`] or [`PEEK_BYTES`].
    TooLarge {
        bytes: Vec<u8>,
    },
}

/// Reads until the answer is clear, the client closes or a deadline passes.
pub async fn peek<S: AsyncRead + Unpin>(stream: &mut S, deadlines: PeekDeadlines) -> Peeked {
    let start = Instant::now();
    let mut bytes = Vec::with_capacity(FIRST_READ);
    let mut hello = Reassembly::default();
    loop {
        let wait = if bytes.is_empty() { deadlines.first_byte.min(deadlines.total) } else { deadlines.total };
        // read_buf takes what room there is, so the room is the bound.
        let room = (PEEK_BYTES - bytes.len()).min(bytes.capacity().max(FIRST_READ));
        let read = timeout_at(start + wait, (&mut *stream).take(room as u64).read_buf(&mut bytes)).await;
        match read {
            Err(_elapsed) => return Peeked::TimedOut { bytes },
            Ok(Err(_) | Ok(0)) => return Peeked::Closed { bytes },
            Ok(Ok(_)) => {}
        }
        if bytes.first() != Some(&HANDSHAKE_RECORD) {
            return Peeked::Plain { bytes };
        }
        match hello.advance(&bytes) {
            Step::Whole(hello) => return Peeked::Tls { hello, bytes },
            Step::NotHello => return Peeked::Malformed { bytes },
            Step::TooLarge => return Peeked::TooLarge { bytes },
            Step::NeedMore if bytes.len() >= PEEK_BYTES => return Peeked::TooLarge { bytes },
            Step::NeedMore => {}
        }
    }
}

/// The handshake message, put together from records as they become whole: each byte is looked at once, however the
/// client cuts its segments.
#[derive(Default)]
struct Reassembly {
    message: Vec<u8>,
    /// Where the next record begins in what was read.
    next: usize,
    records: usize,
}

enum Step {
    Whole(ClientHello),
    NeedMore,
    NotHello,
    TooLarge,
}

impl Reassembly {
    fn advance(&mut self, bytes: &[u8]) -> Step {
        loop {
            let length = match client_hello::record_length(bytes, self.next) {
                None => return Step::NeedMore,
                Some(Err(NotHello)) => return Step::NotHello,
                Some(Ok(length)) => length,
            };
            let start = self.next + RECORD_HEADER;
            let Some(fragment) = bytes.get(start..start + length) else {
                return Step::NeedMore;
            };
            self.records += 1;
            if self.records > PEEK_RECORDS {
                return Step::TooLarge;
            }
            self.message.extend_from_slice(fragment);
            self.next = start + length;
            if says_too_large(&self.message) {
                return Step::TooLarge;
            }
            match client_hello::parse(self.message.as_slice()) {
                Outcome::Found(found) => return Step::Whole(owned(&self.message, &found)),
                Outcome::NotHello => return Step::NotHello,
                Outcome::NeedMore => {}
            }
        }
    }
}

/// Whether the handshake header announces more than is accepted (RFC 8446 section 4: type, then 24 bits of length).
fn says_too_large(message: &[u8]) -> bool {
    match message {
        [1, a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]) as usize + 4 > HELLO_BYTES,
        _ => false,
    }
}

fn owned(message: &[u8], hello: &client_hello::Hello) -> ClientHello {
    let span = |span: client_hello::Span| message.get(span.at..span.at + span.length).unwrap_or_default();
    let server_name = match hello.server_name.map(span) {
        None => ServerName::Absent,
        Some(bytes) => {
            match std::str::from_utf8(bytes).map_err(|_| NameFault::Malformed).and_then(name::normalise) {
                Ok(name) => ServerName::Name(name),
                Err(_) => ServerName::Unusable,
            }
        }
    };
    let alpn = hello.alpn.map(|list| client_hello::protocols(span(list)).map(<[u8]>::to_vec).collect());
    ClientHello { server_name, alpn: alpn.unwrap_or_default(), encrypted: hello.encrypted }
}

#[cfg(test)]
mod tests;
