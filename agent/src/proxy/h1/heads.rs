//! A request's head to the origin, over the connection that is there or a new one, and waiting for the head of the response while
//! the request's body is still on its way.

use std::task::{Context, Poll};

use tokio::time::{Instant, timeout};

use super::{Proxy, Request, Response};
use crate::http::h1::connection::{self, Responses, Turn, Upgrade};
use crate::http::h1::{self, Emit, Framing, Limits, Parsed, Peer, Refusal, ResponseReader};
use crate::http::head::ResponseHead;
use crate::proxy::deadline::Late;
use crate::proxy::ended::Ended;
use crate::proxy::exchanges::Exchanges;
use crate::proxy::pump::{Pump, PumpError};
use crate::proxy::side::Side;
use crate::proxy::slow::Arriving;
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

impl<C, X> Proxy<'_, C, X>
where
    C: Stream,
    X: Exchanges,
{
    /// Sends the request on and reads the head of the response that counts. Interim responses go to the client.
    pub(super) async fn forward(&mut self, request: &Request, body: Pump) -> Result<Response, Ended> {
        let mut body = Some(body);
        let no_body = matches!(request.framing, Framing::None | Framing::Length(0));
        loop {
            let mut origin = self.fresh_origin().await?;
            let emit = Emit {
                framing: request.framing,
                persistent: true,
                upgrade: request.upgrade == Upgrade::WebSocket,
            };
            h1::write_request(&request.head, emit, origin.side.out())
                .map_err(|refusal| Ended::Refused(Peer::Client, refusal))?;
            let reused = std::mem::replace(&mut origin.used, true);
            let body =
                body.take().unwrap_or_else(|| Pump::new(request.framing, request.framing, self.limits));
            match self.exchange_heads(request, &mut origin, body).await {
                Ok(response) => {
                    self.origin = Some(origin);
                    return Ok(response);
                }
                // A connection that served before may have been closed while this request was under way (RFC 9112
                // section 9.3.1): a request without body that got no byte of an answer is sent again, once.
                Err(HeadError::NoAnswer(_)) if reused && no_body && is_idempotent(request.head.method()) => {}
                Err(HeadError::NoAnswer(why)) => return Err(Ended::OriginBroken(why)),
                Err(HeadError::Ended(ended)) => return Err(ended),
            }
        }
    }

    /// A connection on which nothing has come for the next request to take for its answer.
    pub(super) async fn fresh_origin(&mut self) -> Result<Box<Origin<X::Origin>>, Ended> {
        let unasked = || Ended::Refused(Peer::Origin, Refusal::Unasked);
        if let Some(mut origin) = self.origin.take() {
            if !origin.side.is_stale().await {
                return Ok(origin);
            }
            if !origin.used && origin.speaks_unasked(self.limits) {
                return Err(unasked());
            }
        }
        let stream = Box::pin(self.exchanges.dial()).await.map_err(Ended::OriginBroken)?;
        let mut origin = Box::new(Origin::new(stream));
        if origin.side.is_stale().await && origin.speaks_unasked(self.limits) {
            return Err(unasked());
        }
        Ok(origin)
    }

    /// Pumps the request's body while waiting for the response: an origin may answer before it has read everything.
    pub(super) async fn exchange_heads(
        &mut self,
        request: &Request,
        origin: &mut Origin<X::Origin>,
        mut body: Pump,
    ) -> Result<Response, HeadError> {
        let mut sent = false;
        let mut responses = Responses::to(&request.head, request.upgrade);
        let mut answered = false;
        // A client may wait to be asked for its body.
        let mut asked = !connection::expects_continue(&request.head).unwrap_or(false);
        let mut arriving = Arriving::default();
        loop {
            let (limits, timeouts) = (self.limits, self.timeouts);
            let client = &mut *self.client;
            let mut head = self
                .clock
                .while_keeping_pace(timeouts.response_head, |cx| {
                    let state = poll_head(cx, client, origin, &mut body, &mut sent, &mut answered, limits);
                    let octets = body.payload();
                    let pace = if sent {
                        Ok(None)
                    } else {
                        let waited_for = (asked || octets > 0) && !body.waits_for(&origin.side);
                        arriving.look(Instant::now(), octets, waited_for, timeouts)
                    };
                    (state, octets + u64::from(sent), pace)
                })
                .await
                .map_err(|late| match late {
                    Late::Stalled => HeadError::Ended(Ended::Stalled),
                    Late::Slow => HeadError::Ended(Ended::SlowBody),
                })??;
            asked |= head.status() == 100;
            let turn = responses
                .next(&head, self.limits)
                .map_err(|refusal| HeadError::Ended(Ended::Refused(Peer::Origin, refusal)))?;
            self.exchanges.adapt_response(&mut head);
            if turn != Turn::Interim {
                return Ok(Response { head, turn, body, sent, down: None });
            }
            let method = request.head.method();
            h1::write_response(&head, method, Emit::new(Framing::None), self.client.out())
                .map_err(|refusal| HeadError::Ended(Ended::Refused(Peer::Origin, refusal)))?;
            match timeout(self.timeouts.unread, self.client.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(HeadError::Ended(Ended::ClientBroken)),
                Err(_) => return Err(HeadError::Ended(Ended::Unread)),
            }
        }
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

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}
