//! Waiting for the head of a response while the request's body is still on its way.

use std::task::{Context, Poll};

use crate::http::h1::{Limits, Parsed, Peer, Refusal, ResponseReader};
use crate::http::head::ResponseHead;
use crate::proxy::ended::Ended;
use crate::proxy::pump::{Pump, PumpError};
use crate::proxy::side::Side;
use crate::tls::Stream;

/// A connection to the origin.
pub(super) struct Origin<S> {
    pub side: Side<S>,
    pub reader: ResponseReader,
    /// It has served a request already: it may have been closed since.
    pub used: bool,
}

impl<S: Stream> Origin<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { side: Side::new(stream), reader: ResponseReader::new(), used: false }
    }

    /// Whether a response lies there that nobody asked for. Many origins say in one that no request came in time, before
    /// they close (RFC 9110 section 15.5.9): that is no more than a closed connection.
    pub(super) fn speaks_unasked(&mut self, limits: &Limits) -> bool {
        let unread = self.side.input.unread();
        let timed_out = |head: &ResponseHead| head.status() == 408;
        !unread.is_empty()
            && !matches!(ResponseReader::new().read(unread, limits), Parsed::Complete(head, _) if timed_out(&head))
    }
}

/// Why there is no head.
pub(super) enum HeadError {
    /// The origin closed before the first byte of a response.
    NoAnswer(&'static str),
    Ended(Ended),
}

/// Moves the request's body and reads the response's head, whichever can go on.
pub(super) fn poll_head<C, O>(
    cx: &mut Context<'_>,
    client: &mut Side<C>,
    origin: &mut Origin<O>,
    body: &mut Pump,
    sent: &mut bool,
    answered: &mut bool,
    limits: &Limits,
) -> Poll<Result<ResponseHead, HeadError>>
where
    C: Stream,
    O: Stream,
{
    if !*sent && let Poll::Ready(result) = body.poll(cx, client, &mut origin.side) {
        match result {
            Ok(()) => *sent = true,
            // The origin stopped reading: what it says about that is still to be read.
            Err(PumpError::To) => *sent = true,
            Err(PumpError::From) => return Poll::Ready(Err(HeadError::Ended(Ended::ClientBroken))),
            Err(PumpError::Refused(refusal)) => {
                return Poll::Ready(Err(HeadError::Ended(Ended::Refused(Peer::Client, refusal))));
            }
        }
    }
    loop {
        match origin.reader.read(origin.side.input.unread(), limits) {
            Parsed::Complete(head, consumed) => {
                origin.side.input.consume(consumed);
                return Poll::Ready(Ok(head));
            }
            Parsed::Refused(refusal) => {
                return Poll::Ready(Err(HeadError::Ended(Ended::Refused(Peer::Origin, refusal))));
            }
            Parsed::More => {}
        }
        match origin.side.poll_fill(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) if count > 0 => *answered = true,
            Poll::Ready(_) if *answered => {
                let truncated = Ended::Refused(Peer::Origin, Refusal::Truncated);
                return Poll::Ready(Err(HeadError::Ended(truncated)));
            }
            Poll::Ready(_) => {
                return Poll::Ready(Err(HeadError::NoAnswer("it closed before it answered")));
            }
        }
    }
}
