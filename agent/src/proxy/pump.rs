//! One direction of a body: pieces from one side's input to the other side, framed anew, never held as a whole.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::side::Side;
use crate::http::h1::chunked::ChunkHeader;
use crate::http::h1::trailer::write_last_chunk;
use crate::http::h1::{Body, Framing, Limits, Piece, Refusal};
use crate::http::head::Fields;

/// Why a body did not arrive whole.
#[derive(Debug)]
pub enum PumpError {
    /// Reading from the sender failed.
    From,
    /// The sender's framing is broken, or it ended too early.
    Refused(Refusal),
    /// Writing to the receiver failed.
    To,
}

/// The state of one body under way.
#[derive(Debug)]
pub struct Pump {
    body: Body,
    chunked: bool,
    /// A chunk was sent and still lacks its closing CRLF.
    open_chunk: bool,
    /// Payload within the sender's unread input, and how much of the input is done with once it is sent.
    pending: Option<(Range<usize>, usize)>,
    ended: bool,
    payload: u64,
}

impl Pump {
    /// `from` is the extent as it arrives, `to` as it is sent on.
    pub fn new(from: Framing, to: Framing, limits: &Limits) -> Self {
        Self {
            body: Body::new(from, limits),
            chunked: to == Framing::Chunked,
            open_chunk: false,
            pending: None,
            ended: false,
            payload: 0,
        }
    }

    /// Payload bytes taken from the sender so far.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Whether the sender's part was read to its end.
    pub fn is_read(&self) -> bool {
        self.ended
    }

    /// Moves what can be moved. Ready when the whole body is with the receiver's kernel.
    pub fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<A>,
        to: &mut Side<B>,
    ) -> Poll<Result<(), PumpError>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Some((range, consumed)) = &mut self.pending {
                let payload = from.input.unread().get(range.clone()).unwrap_or_default();
                let sent = ready!(to.poll_send(cx, payload)).map_err(|_| PumpError::To)?;
                range.start += sent;
                if range.start < range.end {
                    continue;
                }
                let consumed = *consumed;
                self.pending = None;
                from.input.consume(consumed);
            }
            if self.ended {
                return to.poll_flush(cx).map_err(|_| PumpError::To);
            }
            match self.body.next(from.input.unread()).map_err(PumpError::Refused)? {
                Piece::Data { payload, consumed } => {
                    self.payload += payload.len() as u64;
                    self.open_chunk(payload.len(), to.out());
                    self.pending = Some((payload, consumed));
                }
                Piece::End { consumed } => {
                    from.input.consume(consumed);
                    self.end(to.out())?;
                }
                Piece::More { consumed } => {
                    from.input.consume(consumed);
                    match from.poll_fill(cx) {
                        Poll::Ready(Ok(0)) => self.body.end_of_input().map_err(PumpError::Refused)?,
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(PumpError::From)),
                        Poll::Pending => {
                            // What arrived so far must not wait for what comes next.
                            if let Poll::Ready(Err(_)) = to.poll_flush(cx) {
                                return Poll::Ready(Err(PumpError::To));
                            }
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    fn open_chunk(&mut self, size: usize, out: &mut Vec<u8>) {
        if !self.chunked {
            return;
        }
        self.close_chunk(out);
        if let Some(header) = ChunkHeader::new(size) {
            out.extend_from_slice(header.as_bytes());
            self.open_chunk = true;
        }
    }

    fn close_chunk(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open_chunk) {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), PumpError> {
        self.ended = true;
        if self.chunked {
            self.close_chunk(out);
            let none = Fields::new();
            let trailers = self.body.trailers().map_or(&none, |trailers| &trailers.fields);
            write_last_chunk(trailers, out).map_err(PumpError::Refused)?;
        }
        Ok(())
    }
}
