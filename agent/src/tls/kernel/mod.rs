//! Kernel TLS for what is sent (`[tls] kernel`): a connection that shook hands hands its sending key to the kernel, which
//! seals what is written from then on, or has the network card do it. What is received stays with the agent: it looks at
//! those octets anyway.

pub(super) mod calls;
mod key;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;

pub(super) use key::{KernelKey, Kind};

use super::socket::Socket;

/// Why the kernel did not take a connection over. The agent goes on sealing for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No upper layer protocol `tls`.
    Unavailable,
    /// Not this cipher in this version.
    Cipher,
    /// Anything else: another upper layer protocol, or a peer that has closed already.
    Other(Errno),
}

/// What is remembered of the kernel, one bit each: it is not asked for the same in vain with every connection, as each time
/// it would look for a module.
const UNAVAILABLE: u32 = 1;
const OTHER: u32 = 1 << 1;
/// The first of those for ciphers.
const FIRST_KIND: u32 = 1 << 2;
const KINDS: [Kind; 6] = {
    const VERSIONS: [u16; 2] = [libc::TLS_1_3_VERSION, libc::TLS_1_2_VERSION];
    const fn kind(version: usize, cipher: u16) -> Kind {
        Kind { version: VERSIONS[version], cipher }
    }
    [
        kind(0, libc::TLS_CIPHER_AES_GCM_128),
        kind(0, libc::TLS_CIPHER_AES_GCM_256),
        kind(0, libc::TLS_CIPHER_CHACHA20_POLY1305),
        kind(1, libc::TLS_CIPHER_AES_GCM_128),
        kind(1, libc::TLS_CIPHER_AES_GCM_256),
        kind(1, libc::TLS_CIPHER_CHACHA20_POLY1305),
    ]
};

/// What all connections share that offer their sending to the kernel.
#[derive(Debug, Default)]
pub struct KernelSealing {
    missing: AtomicU32,
    /// Connections that ended because the kernel takes no second key.
    ended: Arc<AtomicU64>,
}

impl KernelSealing {
    /// Hands sending of `stream` over. `false`: everything is as before, and the key is gone from here either way.
    pub(super) fn hand_over<S: Socket>(&self, stream: &S, key: &KernelKey) -> bool {
        let kind = KINDS.iter().position(|known| *known == key.kind()).map_or(OTHER, |at| FIRST_KIND << at);
        if self.missing.load(Ordering::Relaxed) & (UNAVAILABLE | (kind & !OTHER)) != 0 {
            return false;
        }
        let Err(refusal) = stream.seal_with(key) else { return true };
        let bit = match refusal {
            Refusal::Unavailable => UNAVAILABLE,
            Refusal::Cipher => kind,
            Refusal::Other(_) => OTHER,
        };
        if self.missing.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            match refusal {
                // It happens to a connection, and says nothing about others.
                Refusal::Other(Errno::ENOTCONN) => {
                    self.missing.fetch_and(!bit, Ordering::Relaxed);
                    tracing::debug!("[tls] kernel: {refusal}: the agent seals itself");
                }
                _ => tracing::warn!("[tls] kernel: {refusal}: the agent seals itself"),
            }
        }
        false
    }

    /// A module may have been loaded since: the next connection asks again.
    pub fn look_again(&self) {
        self.missing.store(0, Ordering::Relaxed);
    }

    /// A connection ends because the kernel keeps the key that it has.
    pub(super) fn end(&self, why: &str) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        tracing::info!("[tls] kernel: a connection ends: {why}");
    }

    /// Connections that ended so.
    pub fn ended(&self) -> Arc<AtomicU64> {
        self.ended.clone()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str(
                "the kernel has no TLS (`modprobe tls`, then `portcullis reload`; `portcullis doctor` says more)",
            ),
            Self::Cipher => f.write_str("the kernel has not every cipher that is in use"),
            Self::Other(error) => write!(f, "the kernel does not take a connection over ({error})"),
        }
    }
}
