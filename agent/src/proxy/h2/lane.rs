//! One of the two connections of an HTTP/2 relay: what of its input is on its way to the other one, and its turns.

use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::h2::frame::{FrameHeader, kind};
use crate::http::h2::{ConnectionError, Relay, Side as Which};
use crate::proxy::side::Side;

/// Octets of output room that a connection keeps while it has nothing to write.
const KEPT: usize = 4096;

/// Octets that are gathered before they are written, where they are there already: three records of the largest size, with
/// room for a fourth in the buffer.
const ROW: usize = 48 * 1024;

/// A connection and the row of frames of its input that the other one is being sent.
pub(super) struct Lane<S> {
    pub(super) side: Side<S>,
    /// Octets of the unread input that are still to be written to the other side.
    row: Range<usize>,
    /// Octets of the unread input that are done with once the row is written.
    taken: usize,
    /// Its end was read, or it cannot be written.
    pub(super) lost: bool,
    /// More was there than could be taken.
    pub(super) waits: bool,
}

/// What a turn came to.
pub(super) enum Turn {
    /// Nothing can be done before one of the streams is ready again.
    Pending,
    Moved,
    Lost(Which),
    Failed(ConnectionError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lane<S> {
    pub(super) fn new(side: Side<S>) -> Self {
        Self { side, row: 0..0, taken: 0, lost: false, waits: false }
    }

    /// Nothing of this side's input is under way to the other one.
    pub(super) fn is_between_rows(&self) -> bool {
        self.row.is_empty()
    }

    /// Whether the unread input begins a frame of a header block, or one of which nothing can be told yet.
    pub(super) fn is_in_head(&self) -> bool {
        let unread = self.side.input.unread();
        let in_head = |header: FrameHeader| matches!(header.kind, kind::HEADERS | kind::CONTINUATION);
        !self.waits
            && self.row.is_empty()
            && !unread.is_empty()
            && FrameHeader::parse(unread).is_none_or(in_head)
    }

    /// Forgets the row: whom it is for takes no more.
    pub(super) fn drop_row(&mut self) {
        self.row = 0..0;
    }

    /// Takes over what the relay has for this side. Without copying where nothing waits already.
    fn queue(&mut self, output: &mut Vec<u8>) {
        let out = self.side.out();
        if out.is_empty() {
            std::mem::swap(out, output);
        } else {
            out.append(output);
        }
    }

    /// Writes what is there and hands it to the kernel. `clear`: no row of the other side's input stands in the way of
    /// `output`. Ready when nothing is left.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
        clear: bool,
    ) -> Poll<std::io::Result<()>> {
        loop {
            if clear && self.side.is_drained() && !output.is_empty() {
                self.queue(output);
            }
            std::task::ready!(self.side.poll_flush(cx))?;
            if output.is_empty() || !clear {
                self.side.release_output(KEPT);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Moves `from`'s input one step on: the rest of its row, frames for the relay, or a read. The relay's events are the
/// caller's to answer before the next turn.
pub(super) fn advance<A, B>(
    cx: &mut Context<'_>,
    relay: &mut Relay,
    (which, from): (Which, &mut Lane<A>),
    to: &mut Lane<B>,
    now: Duration,
) -> Turn
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(turn) = write_row(cx, which, from, to) {
        return turn;
    }
    from.side.input.consume(std::mem::take(&mut from.taken));
    let step = match relay.receive(which, from.side.input.unread(), now) {
        Ok(step) => step,
        Err(error) => return Turn::Failed(error),
    };
    from.waits = step.waits;
    if !step.forward.is_empty() && !to.lost {
        to.queue(relay.output(which.other()));
        (from.row, from.taken) = (step.forward, step.consumed);
        return Turn::Moved;
    }
    from.side.input.consume(step.consumed);
    if step.consumed > 0 {
        return Turn::Moved;
    }
    if step.waits || from.lost {
        return Turn::Pending;
    }
    fill(cx, which, &mut from.side)
}

/// Reads what is there, up to a row that is worth a write: records come singly, and frames across them.
fn fill<S: AsyncRead + AsyncWrite + Unpin>(cx: &mut Context<'_>, which: Which, side: &mut Side<S>) -> Turn {
    let mut turn = Turn::Pending;
    while side.input.unread().len() < ROW {
        match side.poll_fill(cx) {
            Poll::Ready(Ok(count)) if count > 0 => turn = Turn::Moved,
            // The end is read again behind what came before it.
            Poll::Ready(_) if matches!(turn, Turn::Pending) => return Turn::Lost(which),
            Poll::Ready(_) | Poll::Pending => break,
        }
    }
    turn
}

/// Writes the rest of the row. `None` when it is done.
pub(super) fn write_row<A, B>(
    cx: &mut Context<'_>,
    which: Which,
    from: &mut Lane<A>,
    to: &mut Lane<B>,
) -> Option<Turn>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    while !from.row.is_empty() {
        let payload = from.side.input.unread().get(from.row.clone()).unwrap_or_default();
        match to.side.poll_send(cx, payload) {
            Poll::Ready(Ok(sent)) if sent > 0 => from.row.start += sent,
            Poll::Ready(_) => return Some(Turn::Lost(which.other())),
            Poll::Pending => return Some(Turn::Pending),
        }
    }
    None
}
