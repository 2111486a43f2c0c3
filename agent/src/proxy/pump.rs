//! One direction of a body: pieces from one side's input to the other side, framed anew, never held as a whole.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use super::held::Reservation;
use super::side::Side;
use crate::detect::scan::Held;
use crate::http::h1::chunked::ChunkHeader;
use crate::http::h1::trailer::write_last_chunk;
use crate::http::h1::{Body, Framing, Limits, Piece, Refusal};
use crate::http::head::Fields;
use crate::tls::{PassError, Stream};

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
    /// Payload kept back until a verdict, and how much of it was sent on since.
    held: Vec<u8>,
    held_sent: usize,
    reservation: Option<Reservation>,
    /// The end was read while payload was kept back.
    read_to_end: bool,
    /// Why the sender's part ended early. The receiver gets what came before that, as it would have from the sender.
    broken: Option<PumpError>,
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
            held: Vec::new(),
            held_sent: 0,
            reservation: None,
            read_to_end: false,
            broken: None,
        }
    }

    /// Makes sure that `most` octets may be kept back. Returns what may be: that, or nothing where others hold too much.
    pub fn reserve(&mut self, most: usize) -> usize {
        self.reservation.insert(Reservation::take(most)).octets()
    }

    /// Takes in payload and keeps it back, until there is `most` of it or the body ends. It goes out first once the body
    /// is [polled](Self::poll). More than `most` by what one read brings at worst.
    pub fn poll_hold<A>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<A>,
        most: usize,
    ) -> Poll<Result<(), PumpError>>
    where
        A: Stream,
    {
        while self.held.len() < most && !self.is_read() {
            match self.body.next(from.input.unread()).map_err(PumpError::Refused)? {
                Piece::Data { payload, consumed } => {
                    let payload = from.input.unread().get(payload).unwrap_or_default();
                    self.payload += payload.len() as u64;
                    self.held.extend_from_slice(payload);
                    from.input.consume(consumed);
                }
                Piece::End { consumed } => {
                    from.input.consume(consumed);
                    self.read_to_end = true;
                }
                Piece::More { consumed } => {
                    from.input.consume(consumed);
                    match ready!(from.poll_fill(cx)) {
                        Ok(0) => self.body.end_of_input().map_err(PumpError::Refused)?,
                        Ok(_) => {}
                        Err(_) => return Poll::Ready(Err(PumpError::From)),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What is kept back: the beginning of the body, or all of it.
    pub fn held(&self) -> Held<'_> {
        Held { octets: &self.held, complete: self.is_read() }
    }

    /// Puts octets of our own behind the first `at` of what is kept back. The head has to count them.
    pub fn insert(&mut self, at: usize, octets: &[u8]) {
        let at = at.min(self.held.len());
        self.held.splice(at..at, octets.iter().copied());
    }

    /// Payload bytes taken from the sender so far.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Whether the sender's part was read to its end.
    pub fn is_read(&self) -> bool {
        self.ended || self.read_to_end
    }

    /// Whether something of the body waits for the receiver.
    pub fn waits_for<B: Stream>(&self, to: &Side<B>) -> bool {
        self.pending.is_some() || !self.held.is_empty() || !to.is_flushed()
    }

    /// Moves what can be moved. Ready when the whole body is with the receiver's kernel.
    pub fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<A>,
        to: &mut Side<B>,
    ) -> Poll<Result<(), PumpError>>
    where
        A: Stream,
        B: Stream,
    {
        if !self.held.is_empty() {
            ready!(self.poll_held(cx, to))?;
        }
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
            if self.read_to_end && !self.ended {
                self.end(to.out())?;
            }
            if self.ended || self.broken.is_some() {
                ready!(to.poll_flush(cx)).map_err(|_| PumpError::To)?;
                return Poll::Ready(self.broken.take().map_or(Ok(()), Err));
            }
            let piece = match self.body.next(from.input.unread()) {
                Ok(piece) => piece,
                Err(refusal) => {
                    self.broken = Some(PumpError::Refused(refusal));
                    continue;
                }
            };
            match piece {
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
                    let filled = match self.poll_pass(cx, from, to) {
                        Poll::Ready(Ok(true)) => continue,
                        Poll::Ready(Ok(false)) => from.poll_fill(cx),
                        Poll::Ready(Err(PumpError::To)) => return Poll::Ready(Err(PumpError::To)),
                        Poll::Ready(Err(error)) => {
                            self.broken = Some(error);
                            continue;
                        }
                        Poll::Pending => Poll::Pending,
                    };
                    match filled {
                        Poll::Ready(Ok(0)) => {
                            self.broken = self.body.end_of_input().err().map(PumpError::Refused);
                        }
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(_)) => self.broken = Some(PumpError::From),
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

    /// Moves payload that stands alone from one connection to the other. `false` where it has to be read and sent.
    fn poll_pass<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<A>,
        to: &mut Side<B>,
    ) -> Poll<Result<bool, PumpError>>
    where
        A: Stream,
        B: Stream,
    {
        let most = if self.chunked { 0 } else { self.body.plain() };
        match ready!(from.poll_pass(cx, to, most)) {
            Ok(Some(count)) => {
                self.payload += count as u64;
                self.body.skip(count as u64);
                Poll::Ready(Ok(true))
            }
            Ok(None) => Poll::Ready(Ok(false)),
            Err(PassError::From(_)) => Poll::Ready(Err(PumpError::From)),
            Err(PassError::To(_)) => Poll::Ready(Err(PumpError::To)),
        }
    }

    /// Sends on what was kept back.
    fn poll_held<B>(&mut self, cx: &mut Context<'_>, to: &mut Side<B>) -> Poll<Result<(), PumpError>>
    where
        B: Stream,
    {
        if self.held_sent == 0 && !self.open_chunk {
            self.open_chunk(self.held.len(), to.out());
        }
        while let Some(rest) = self.held.get(self.held_sent..).filter(|rest| !rest.is_empty()) {
            self.held_sent += ready!(to.poll_send(cx, rest)).map_err(|_| PumpError::To)?;
        }
        self.held = Vec::new();
        self.reservation = None;
        Poll::Ready(Ok(()))
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
