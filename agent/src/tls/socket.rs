//! What stands below a TLS connection: a socket that may tell what the peer has, and that may seal what is sent.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Prefixed;
use super::kernel::{KernelKey, Kind, Refusal, calls};

/// A connection below. Whatever it cannot do by itself is refused, or unknown.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Octets that the peer's kernel has acknowledged so far. `None` where nobody can tell.
    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Hands sending over: from `Ok` on whatever is written is sealed with this key, and never before. After an error
    /// octets go out as they are written, as ever.
    fn seal_with(&self, _: &KernelKey) -> Result<(), Refusal> {
        Err(Refusal::Unavailable)
    }

    /// Whether it would take another key of this kind for what it seals. Asked only behind [`Self::seal_with`].
    fn takes_new_key(&self, _: Kind) -> bool {
        false
    }

    /// From `Ok` on this key seals; after an error it is still the one before.
    fn renew(&self, _: &KernelKey) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes one record of this kind, whole. Only behind [`Self::seal_with`].
    fn poll_record(&self, _: &mut Context<'_>, _kind: u8, _content: &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// How far it is with what was written. `None` where nobody can tell.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// How far a TCP socket is with what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Octets that TCP was given in all, those of the layer above included that seals.
    pub given: u64,
    /// Those that the peer has not acknowledged.
    pub outstanding: u64,
    /// Whether the connection can still send.
    pub can_send: bool,
}

impl Socket for TcpStream {
    fn acknowledged(&self) -> Option<u64> {
        calls::acknowledged(self).ok()
    }

    fn seal_with(&self, key: &KernelKey) -> Result<(), Refusal> {
        calls::seal_with(self, key)
    }

    fn takes_new_key(&self, current: Kind) -> bool {
        calls::takes_new_key(self, current)
    }

    fn renew(&self, key: &KernelKey) -> io::Result<()> {
        calls::renew(self, key)
    }

    fn poll_record(&self, cx: &mut Context<'_>, kind: u8, content: &[u8]) -> Poll<io::Result<()>> {
        calls::poll_record(self, cx, kind, content)
    }

    fn progress(&self) -> Option<Progress> {
        calls::progress(self).ok()
    }
}

impl<S: Socket> Socket for Prefixed<S> {
    fn acknowledged(&self) -> Option<u64> {
        self.get_ref().acknowledged()
    }

    fn seal_with(&self, key: &KernelKey) -> Result<(), Refusal> {
        self.get_ref().seal_with(key)
    }

    fn takes_new_key(&self, current: Kind) -> bool {
        self.get_ref().takes_new_key(current)
    }

    fn renew(&self, key: &KernelKey) -> io::Result<()> {
        self.get_ref().renew(key)
    }

    fn poll_record(&self, cx: &mut Context<'_>, kind: u8, content: &[u8]) -> Poll<io::Result<()>> {
        self.get_ref().poll_record(cx, kind, content)
    }

    fn progress(&self) -> Option<Progress> {
        self.get_ref().progress()
    }
}

#[cfg(test)]
impl Socket for tokio::io::DuplexStream {}
