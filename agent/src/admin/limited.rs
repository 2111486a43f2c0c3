//! A listener that holds a bounded number of connections and gives up on those that say nothing.
//!
//! Any local program may connect to the admin port; one that opens connections and stays silent must neither keep a
//! scraper out for long nor eat the agent's file descriptors.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

pub(super) struct LimitedListener {
    inner: TcpListener,
    free: Arc<Semaphore>,
    /// Until the first byte, and between any two.
    first: Duration,
    silence: Duration,
}

impl LimitedListener {
    pub(super) fn new(inner: TcpListener, max: usize, first: Duration, silence: Duration) -> Self {
        Self { inner, free: Arc::new(Semaphore::new(max)), first, silence }
    }
}

impl axum::serve::Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
            // Nobody closes the semaphore.
            std::future::pending().await
        };
        // The implementation for TcpListener waits and goes on when descriptors run out.
        let (stream, peer) = axum::serve::Listener::accept(&mut self.inner).await;
        let silence = Box::pin(tokio::time::sleep(self.first));
        (LimitedStream { stream, silence, limit: self.silence, _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Ends with an error once nothing was read or written for the given time.
pub(super) struct LimitedStream {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    limit: Duration,
    _permit: OwnedSemaphorePermit,
}

impl LimitedStream {
    fn heard<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.silence.as_mut().reset(tokio::time::Instant::now() + self.limit);
            return poll;
        }
        self.silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard(cx, poll)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.heard(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
