//! The kernel's TLS as a model: how it makes records of a key (net/tls/tls_sw.c), and a socket that seals like it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use nix::sys::socket::sockopt::TlsCryptoInfo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::record::MAX_PLAINTEXT;
use crate::tls::kernel::{KernelKey, Kind, Refusal};
use crate::tls::socket::{Progress, Socket};

/// Makes records.
pub(super) struct Model {
    aead: LessSafeKey,
    kind: Kind,
    /// Salt and IV.
    nonce: [u8; 12],
    sequence: u64,
    pub(super) records: u64,
}

impl Model {
    pub(super) fn new(key: &KernelKey) -> Self {
        let (algorithm, bytes, nonce, sequence) = match key.info() {
            TlsCryptoInfo::Aes128Gcm(i) => {
                (&aead::AES_128_GCM, i.key.to_vec(), [&i.salt[..], &i.iv].concat(), i.rec_seq)
            }
            TlsCryptoInfo::Aes256Gcm(i) => {
                (&aead::AES_256_GCM, i.key.to_vec(), [&i.salt[..], &i.iv].concat(), i.rec_seq)
            }
            TlsCryptoInfo::Chacha20Poly1305(i) => {
                (&aead::CHACHA20_POLY1305, i.key.to_vec(), [&i.salt[..], &i.iv].concat(), i.rec_seq)
            }
        };
        Self {
            aead: LessSafeKey::new(UnboundKey::new(algorithm, &bytes).unwrap()),
            kind: key.kind(),
            nonce: nonce.try_into().unwrap(),
            sequence: u64::from_be_bytes(sequence),
            records: 0,
        }
    }

    pub(super) fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Vec<u8> {
        assert!((1..=MAX_PLAINTEXT).contains(&plaintext.len()), "{}", plaintext.len());
        let mut nonce = self.nonce;
        let is_tls13 = self.kind.version == libc::TLS_1_3_VERSION;
        let counts = !is_tls13 && self.kind.cipher != libc::TLS_CIPHER_CHACHA20_POLY1305;
        let number = self.sequence.to_be_bytes();
        if !counts {
            nonce[4..].iter_mut().zip(number).for_each(|(octet, number)| *octet ^= number);
        }
        let header = |kind: u8, length: usize| [&[kind, 3, 3][..], &(length as u16).to_be_bytes()].concat();
        let (mut record, aad, mut text) = if is_tls13 {
            let header = header(23, plaintext.len() + 17);
            (header.clone(), header, [plaintext, &[kind]].concat())
        } else {
            let explicit = if counts { &nonce[4..] } else { &[] };
            let front = [&header(kind, explicit.len() + plaintext.len() + 16), explicit].concat();
            (front, [&number[..], &header(kind, plaintext.len())].concat(), plaintext.to_vec())
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead.seal_in_place_append_tag(nonce, Aad::from(aad), &mut text).unwrap();
        record.append(&mut text);
        self.sequence += 1;
        self.records += 1;
        if counts {
            let next = u64::from_be_bytes(self.nonce[4..].try_into().unwrap()).wrapping_add(1);
            self.nonce[4..].copy_from_slice(&next.to_be_bytes());
        }
        record
    }
}

/// What the kernel of a test can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Can {
    pub(super) refuses: Option<Refusal>,
    pub(super) takes_new_keys: bool,
    pub(super) renews: bool,
}

pub(super) const OLD: Can = Can { refuses: None, takes_new_keys: false, renews: false };
pub(super) const NEW: Can = Can { refuses: None, takes_new_keys: true, renews: true };

/// A socket over a pipe whose capacity is what TCP has room for.
#[derive(Clone)]
pub(super) struct Emulated(Arc<Mutex<State>>);

struct State {
    pipe: DuplexStream,
    can: Can,
    model: Option<Model>,
    /// Most records under one key.
    most: u64,
    /// Sealed, but not with TCP.
    pending: Vec<u8>,
    given: u64,
    blocked: Option<Waker>,
}

impl Emulated {
    pub(super) fn new(pipe: DuplexStream, can: Can) -> Self {
        let state = State { pipe, can, model: None, most: 0, pending: Vec::new(), given: 0, blocked: None };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(work(Arc::downgrade(&state)));
        Self(state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Most records that it made under one key.
    pub(super) fn most(&self) -> u64 {
        let state = self.state();
        state.most.max(state.model.as_ref().map_or(0, |model| model.records))
    }
}

/// Sends what is pending, as the kernel's worker does.
async fn work(state: Weak<Mutex<State>>) {
    while let Some(state) = state.upgrade() {
        {
            let mut state = state.lock().unwrap();
            let _ = state.poll_pending(&mut Context::from_waker(Waker::noop()));
            if let Some(waker) = state.blocked.take() {
                waker.wake();
            }
        }
        drop(state);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl State {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let count = ready!(Pin::new(&mut self.pipe).poll_write(cx, &self.pending))?;
            self.pending.drain(..count);
            self.given += count as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes records as long as TCP takes the one before.
    fn poll_seal(&mut self, cx: &mut Context<'_>, kind: u8, plaintext: &[u8]) -> Poll<io::Result<usize>> {
        self.blocked = Some(cx.waker().clone());
        let mut taken = 0;
        for record in plaintext.chunks(MAX_PLAINTEXT) {
            match self.poll_pending(cx)? {
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(()) => {}
            }
            self.pending = self.model.as_mut().unwrap().seal(kind, record);
            taken += record.len();
        }
        let _ = self.poll_pending(cx)?;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Emulated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.state().pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Emulated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        if state.model.is_some() {
            return state.poll_seal(cx, 23, &all);
        }
        let count = ready!(Pin::new(&mut state.pipe).poll_write(cx, &all))?;
        state.given += count as u64;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Cuts off what is pending.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.pending.clear();
        Pin::new(&mut state.pipe).poll_shutdown(cx)
    }
}

impl Socket for Emulated {
    fn seal_with(&self, key: &KernelKey) -> Result<(), Refusal> {
        let mut state = self.state();
        if let Some(refusal) = state.can.refuses {
            return Err(refusal);
        }
        assert!(state.model.is_none() && state.pending.is_empty());
        state.model = Some(Model::new(key));
        Ok(())
    }

    fn takes_new_key(&self, current: Kind) -> bool {
        let state = self.state();
        assert_eq!(state.model.as_ref().map(|model| model.kind), Some(current));
        state.can.takes_new_keys
    }

    fn renew(&self, key: &KernelKey) -> io::Result<()> {
        let mut state = self.state();
        if !state.can.renews {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let before = state.model.replace(Model::new(key)).unwrap();
        state.most = state.most.max(before.records);
        Ok(())
    }

    fn poll_record(&self, cx: &mut Context<'_>, kind: u8, content: &[u8]) -> Poll<io::Result<()>> {
        ready!(self.state().poll_seal(cx, kind, content))?;
        Poll::Ready(Ok(()))
    }

    fn progress(&self) -> Option<Progress> {
        let state = self.state();
        let outstanding = state.pending.len() as u64;
        Some(Progress { given: state.given, outstanding, can_send: true })
    }
}

/// Ready once nothing is pending.
pub(super) async fn settled(socket: &Emulated) {
    poll_fn(|cx| {
        let mut state = socket.state();
        state.blocked = Some(cx.waker().clone());
        if state.pending.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
