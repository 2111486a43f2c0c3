//! One side of a proxied connection: its stream, what was read and not yet used, what is to be written.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::buffer::Input;
use crate::tls::{PassError, Stream};

/// The runtime lets a connection make so many calls before others have their turn, whatever a call moves. What is read is
/// counted as calls of this size, so that one that carries a body has its turn for a megabyte and not for ten.
const CALL: usize = 8 * 1024;

fn spend(cx: &mut Context<'_>, octets: usize) {
    for _ in 0..octets / CALL {
        match coop::poll_proceed(cx) {
            Poll::Ready(call) => call.made_progress(),
            // The next read says so, and has its task come back.
            Poll::Pending => return,
        }
    }
}

/// A stream with its unread input and unsent output.
#[derive(Debug)]
pub struct Side<S> {
    pub stream: S,
    pub input: Input,
    out: Vec<u8>,
    sent: usize,
    unflushed: bool,
    written: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, input: Input::default(), out: Vec::new(), sent: 0, unflushed: false, written: 0 }
    }

    /// The stream without its buffers.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Bytes that go out before anything else.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        &mut self.out
    }

    /// Whether everything in [`Side::out`] was handed to the stream.
    pub fn is_drained(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Whether the kernel has all of it.
    pub fn is_flushed(&self) -> bool {
        self.is_drained() && !self.unflushed
    }

    /// Bytes that the stream has taken in all.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that the peer has of them, as far as the kernel tells: in the encoding of the connection below.
    pub fn taken(&self) -> u64
    where
        S: Stream,
    {
        self.stream.taken().unwrap_or(self.written)
    }

    /// Gives back the room of what was sent, but for `kept` octets.
    pub fn release_output(&mut self, kept: usize) {
        if self.is_drained() && self.out.capacity() > kept {
            (self.out, self.sent) = (Vec::new(), 0);
        }
    }

    /// Before a wait for the peer's next message: gives back all room in which nothing waits.
    pub fn rest(&mut self)
    where
        S: Stream,
    {
        self.input.release();
        self.release_output(0);
        self.stream.rest();
    }

    /// Reads what is there. 0 is the end of the stream.
    ///
    /// Asked with no room left it answers with an error: the caller takes input before it asks for more.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.input.room();
        if room.is_empty() {
            return Poll::Ready(Err(io::Error::other("the input buffer is full")));
        }
        let mut into = ReadBuf::new(room);
        let state = Pin::new(&mut self.stream).poll_read(cx, &mut into);
        let count = into.filled().len();
        self.input.filled(count);
        if state.is_pending() {
            self.input.release();
        }
        ready!(state)?;
        spend(cx, count);
        Poll::Ready(Ok(count))
    }

    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Sends what is in [`Side::out`] and `payload` behind it, in one gathered write where possible. Ready with the
    /// number of payload bytes taken, at least one unless there are none.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let pending = self.out.get(self.sent..).unwrap_or_default();
            let own = pending.len();
            let stream = Pin::new(&mut self.stream);
            let written = match (own, payload.len()) {
                (0, 0) => return Poll::Ready(Ok(0)),
                (0, _) => ready!(stream.poll_write(cx, payload))?,
                (_, 0) => ready!(stream.poll_write(cx, pending))?,
                _ => ready!(stream.poll_write_vectored(cx, &[IoSlice::new(pending), IoSlice::new(payload)]))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.written += written as u64;
            self.sent += written.min(own);
            if written > own {
                return Poll::Ready(Ok(written - own));
            }
        }
    }

    /// Hands up to `most` octets that are still to be read on to `to`, without a look. `None` where they have to be read
    /// and sent. What was unread and unsent before goes first: there must be none.
    pub fn poll_pass<T>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Side<T>,
        most: u64,
    ) -> Poll<Result<Option<usize>, PassError>>
    where
        S: Stream,
        T: Stream,
    {
        if most == 0 || !self.input.unread().is_empty() || !to.is_drained() {
            return Poll::Ready(Ok(None));
        }
        let passed = ready!(self.stream.poll_pass(cx, &mut to.stream, most))?;
        if let Some(count) = passed {
            spend(cx, count);
            to.unflushed = true;
            to.written += count as u64;
        }
        Poll::Ready(Ok(passed))
    }

    /// Hands everything to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, &[]))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Hands everything to the kernel and ends this direction, in TLS with close_notify.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }

    /// Sends what a handshake left for the first data, where there is none yet.
    pub fn say_unsaid(&mut self, cx: &mut Context<'_>)
    where
        S: Stream,
    {
        if self.stream.has_unsaid() {
            // Where that fails, the first data fails as well.
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    /// Whether the peer is known to have closed, or to have sent something unasked, without waiting.
    pub async fn is_stale(&mut self) -> bool
    where
        S: Stream,
    {
        if !self.input.unread().is_empty() {
            return true;
        }
        // To read may send what is left for the first data, and here that is about to come. Where something came already, be it
        // tickets alone, it is read.
        let stream = &mut self.stream;
        if stream.has_unsaid() && !poll_fn(|cx| Poll::Ready(stream.poll_heard(cx).is_ready())).await {
            return false;
        }
        poll_fn(|cx| Poll::Ready(self.poll_fill(cx).is_ready())).await
    }
}
