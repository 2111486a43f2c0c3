//! A stream whose first bytes were read already: it gives them again, then the rest. Writes go straight through.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Replays `prefix`, then reads on from the stream.
#[derive(Debug)]
pub struct Prefixed<S> {
    stream: S,
    prefix: Vec<u8>,
    given: usize,
}

impl<S> Prefixed<S> {
    pub fn new(stream: S, prefix: Vec<u8>) -> Self {
        Self { stream, prefix, given: 0 }
    }

    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, and the bytes that were not read again yet.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        self.prefix.drain(..self.given.min(self.prefix.len()));
        (self.stream, self.prefix)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.prefix.get(this.given..).unwrap_or_default();
        if rest.is_empty() || buf.remaining() == 0 {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
        buf.put_slice(now);
        this.given += now.len();
        if later.is_empty() {
            // A connection may live for hours; its hello need not.
            this.prefix = Vec::new();
            this.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_prefix_comes_first_and_nothing_is_lost_whatever_the_read_size() {
        for size in 1..=7 {
            let (mut far, near) = duplex(64);
            far.write_all(b"world").await.unwrap();
            drop(far);
            let mut stream = Prefixed::new(near, b"hello ".to_vec());
            let (mut all, mut piece) = (Vec::new(), vec![0; size]);
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    n => all.extend_from_slice(&piece[..n]),
                }
            }
            assert_eq!(all, b"hello world", "read size {size}");
        }
    }

    #[tokio::test]
    async fn what_was_not_read_again_can_be_taken_back() {
        let (_far, near) = duplex(64);
        let mut stream = Prefixed::new(near, b"abcdef".to_vec());
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        assert_eq!(stream.into_parts().1, b"cdef");
    }

    #[tokio::test]
    async fn writes_do_not_wait_for_the_prefix() {
        let (mut far, near) = duplex(64);
        let mut stream = Prefixed::new(near, b"unread".to_vec());
        stream.write_all(b"out").await.unwrap();
        let mut got = [0; 3];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"out");
    }
}
