//! HTTP/1.1 on an inspected connection: request by request, heads held, bodies streaming, a verdict before the first
//! body byte.

mod heads;
mod hold;

use std::future::poll_fn;
use std::task::Poll;

use tokio::time::{Instant, timeout};

use heads::Origin;

use super::deadline::{Clock, Late, Stalled};
use super::ended::Ended;
use super::enforce::Answer;
use super::exchanges::{Exchanges, Sent};
use super::pump::{Pump, PumpError};
use super::relay::{RelayError, Relayed, relay};
use super::side::Side;
use super::slow::Unread;
use crate::config::Timeouts;
use crate::detect::scan::Held;
use crate::http::h1::connection::{self, Turn, Upgrade};
use crate::http::h1::{self, Emit, Framing, Limits, Parsed, Peer, Refusal, RequestReader, Target};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::memory::pressure;
use crate::record::transfer::Transfer;
use crate::tls::Stream;

/// Serves requests until one side has had enough. `origin` is the connection that was verified before the client's
/// handshake was answered.
pub async fn serve<C, X>(
    client: &mut Side<C>,
    origin: X::Origin,
    exchanges: &X,
    limits: &Limits,
    timeouts: &Timeouts,
) -> Ended
where
    C: Stream,
    X: Exchanges,
{
    let mut proxy = Proxy {
        client,
        origin: Some(Box::new(Origin::new(origin))),
        reader: RequestReader::new(Target::Origin),
        exchanges,
        limits,
        timeouts,
        clock: Clock::default(),
        mid_response: false,
        to_head: false,
        served: false,
    };
    loop {
        let head = match proxy.read_request().await {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(ended) => return proxy.refuse(ended).await,
        };
        proxy.to_head = head.method() == "HEAD";
        // A box, so that a connection without a request under way has no room for one.
        let next = Box::pin(proxy.exchange(head)).await;
        match next {
            Ok(Next::Again) => (proxy.to_head, proxy.served) = (false, true),
            Ok(Next::Close) => break,
            Ok(Next::Linger) => {
                proxy.linger().await;
                return Ended::Done;
            }
            Err(ended) => return proxy.refuse(ended).await,
        }
    }
    // A failure to say goodbye changes nothing: every response is complete.
    let _ = timeout(timeouts.unread, proxy.client.shutdown()).await;
    Ended::Done
}

/// What becomes of the client's connection.
enum Next {
    Again,
    Close,
    /// It is closed, and the client may still be sending.
    Linger,
}

struct Proxy<'a, C, X: Exchanges> {
    client: &'a mut Side<C>,
    /// A box, as it goes to and fro.
    origin: Option<Box<Origin<X::Origin>>>,
    reader: RequestReader,
    exchanges: &'a X,
    limits: &'a Limits,
    timeouts: &'a Timeouts,
    clock: Clock,
    /// A response has begun and is not complete: nothing else may be written to the client.
    mid_response: bool,
    /// The request that is served is a HEAD: no answer to it has a body.
    to_head: bool,
    /// A request has been served: it is the next one that is waited for.
    served: bool,
}

/// One request as it is served.
struct Request {
    head: RequestHead,
    framing: Framing,
    upgrade: Upgrade,
    /// The client keeps its side open behind this exchange.
    persistent: bool,
    sent: Sent,
}

/// The head of the response, and both bodies so far.
struct Response {
    head: ResponseHead,
    turn: Turn,
    /// The request's.
    body: Pump,
    sent: bool,
    /// The response's own, where its beginning was held.
    down: Option<Pump>,
}

impl<C, X> Proxy<'_, C, X>
where
    C: Stream,
    X: Exchanges,
{
    async fn exchange(&mut self, head: RequestHead) -> Result<Next, Ended> {
        let client_fault = |refusal| Ended::Refused(Peer::Client, refusal);
        let framing = h1::request_body(&head).map_err(client_fault)?;
        connection::expects_continue(&head).map_err(client_fault)?;
        let upgrade = match connection::upgrade(&head) {
            Upgrade::WebSocket => Upgrade::WebSocket,
            Upgrade::None | Upgrade::H2c | Upgrade::Other => Upgrade::None,
        };
        let persistent = !X::ONE_EXCHANGE
            && !pressure::is_shedding()
            && connection::keep_alive(head.fields(), head.version());
        let mut request = Request { head, framing, upgrade, persistent, sent: Sent::NOTHING };
        if let Some(answer) = self.exchanges.request(&request.head) {
            // A body that nobody reads cannot be told from the next request.
            let body_read = matches!(request.framing, Framing::None | Framing::Length(0));
            return self.answer(&request, &answer, body_read).await;
        }
        let mut body = Pump::new(request.framing, request.framing, self.limits);
        let wanted = self.exchanges.holds_request(&request.head);
        if wanted.most > 0 {
            Box::pin(self.hold_request(&mut request, &mut body, wanted)).await?;
            match self.exchanges.request_body(&request.head, body.held()) {
                Ok(sent) => request.sent = sent,
                Err(answer) => return self.answer(&request, &answer, body.is_read()).await,
            }
        }
        self.exchanges.adapt_request(&mut request.head);
        let mut response = self.forward(&request, body).await?;
        if response.turn == Turn::Switched {
            return Box::pin(self.upgraded(&request, &response.head)).await;
        }
        let wanted = self.exchanges.holds_response(&request.head, &response.head);
        if wanted.most > 0 {
            self.look_at_response(&request, &mut response, wanted).await?;
        }
        let held = (wanted.most > 0).then(|| response.down.as_ref().map_or(Held::NOTHING, Pump::held));
        let mut answer = self.exchanges.response(&request.head, &response.head, &request.sent, held);
        if answer.is_none() && self.exchanges.alters_page(&request.head, &response.head) {
            answer = Box::pin(self.alter_page(&request, &mut response)).await?;
        }
        if let Some(answer) = answer {
            // The rest of the blocked body is not fetched: its connection goes.
            self.origin = None;
            // An origin may answer and close before it took the whole body: what is left of it is no next request.
            return self.answer(&request, &answer, response.sent && response.body.is_read()).await;
        }
        let exchanges = self.exchanges;
        let mut transfer = exchanges.transfer();
        if let Some(waiting) = &mut transfer
            && !waiting.may_begin().await
        {
            self.origin = None;
            return self
                .answer(&request, &exchanges.unrecorded(), response.sent && response.body.is_read())
                .await;
        }
        self.pass(&request, &mut response, transfer).await
    }

    /// `None` when the client closed, or stayed silent, between two requests.
    async fn read_request(&mut self) -> Result<Option<RequestHead>, Ended> {
        // Set with the first byte: whoever sends one now and then has no longer than others.
        let mut until = None;
        loop {
            match self.reader.read(self.client.input.unread(), self.limits) {
                Parsed::Complete(head, consumed) => {
                    self.client.input.consume(consumed);
                    return Ok(Some(head));
                }
                Parsed::Refused(refusal) => return Err(Ended::Refused(Peer::Client, refusal)),
                Parsed::More => {}
            }
            if until.is_none() && !self.client.input.unread().is_empty() {
                until = Some(Instant::now() + self.timeouts.request_head);
            }
            let begun = until.is_some();
            if !begun {
                self.client.rest();
                if let Some(origin) = &mut self.origin {
                    origin.side.rest();
                }
            }
            let until = until.unwrap_or_else(|| Instant::now() + self.timeouts.idle);
            let dispensable = self.served && !begun;
            let (client, origin) = (&mut *self.client, &mut self.origin);
            // The origin waits for the end of its handshake only if there is no request yet.
            let fill = poll_fn(|cx| {
                let filled = client.poll_fill(cx);
                if let (Poll::Pending, Some(origin)) = (&filled, origin.as_mut()) {
                    origin.side.say_unsaid(cx);
                }
                filled
            });
            let filled = async {
                tokio::select! {
                    biased;
                    filled = fill => filled,
                    () = pressure::shed(), if dispensable => Ok(0),
                }
            };
            match self.clock.before(until, filled).await {
                Ok(Ok(0)) if !begun => return Ok(None),
                Ok(Ok(0)) => return Err(Ended::Refused(Peer::Client, Refusal::Truncated)),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(Ended::ClientBroken),
                Err(Stalled) if begun => return Err(Ended::SlowRequest),
                Err(Stalled) => return Err(Ended::Idle),
            }
        }
    }

    /// Sends the response as it is, body streaming, together with what is left of the request's body.
    async fn pass(
        &mut self,
        request: &Request,
        response: &mut Response,
        transfer: Option<Transfer<'_>>,
    ) -> Result<Next, Ended> {
        let Response { head, body: up, sent, down, .. } = response;
        let origin_fault = |refusal| Ended::Refused(Peer::Origin, refusal);
        let method = request.head.method();
        let (arriving, leaving) = response_framing(&request.head, head)?;
        let origin_persists = connection::response_keep_alive(head, method, arriving);
        let persistent = request.persistent && leaving != Framing::Close;
        head.set_version(request.head.version());
        let emit = Emit { framing: leaving, persistent, upgrade: false };
        h1::write_response(head, method, emit, self.client.out()).map_err(origin_fault)?;
        let Some(mut origin) = self.origin.take() else { return Err(Ended::OriginBroken("connection")) };
        self.mid_response = true;
        let down = down.get_or_insert_with(|| Pump::new(arriving, leaving, self.limits));
        let mut up_done = *sent;
        let mut down_done = false;
        let client = &mut *self.client;
        let timeouts = self.timeouts;
        let mut unread = Unread::default();
        let moving = self.clock.while_keeping_pace(timeouts.stall, |cx| {
            if !up_done && let Poll::Ready(result) = up.poll(cx, client, &mut origin.side) {
                // An origin that answered may stop reading; the answer still counts.
                up_done = true;
                if result.is_err() {
                    origin.used = true;
                }
            }
            let mut state = Poll::Pending;
            if !down_done && let Poll::Ready(result) = down.poll(cx, &mut origin.side, client) {
                down_done = true;
                state = Poll::Ready(result);
            }
            let pace = unread.watch(down.waits_for(client), || client.taken(), timeouts);
            (state, up.payload() + down.payload(), pace)
        });
        let pumped = moving.await;
        self.exchanges.moved(up.payload(), down.payload());
        if let Some(transfer) = transfer {
            transfer.end(matches!(pumped, Ok(Ok(()))), down.payload());
        }
        match pumped {
            Ok(Ok(())) => self.mid_response = false,
            Ok(Err(error)) => return Err(ended_in_body(error)),
            Err(Late::Stalled) => return Err(Ended::Stalled),
            Err(Late::Slow) => return Err(Ended::Unread),
        }
        // A request body that was not read to its end leaves both connections at an unknown place.
        let request_read = up_done && up.is_read();
        if !request_read {
            return Ok(Next::Linger);
        }
        if origin_persists {
            self.origin = Some(origin);
        }
        Ok(if persistent { Next::Again } else { Next::Close })
    }

    /// Answers the client ourselves. `body_read`: nothing of this request is left unread on the client's connection.
    async fn answer(&mut self, request: &Request, answer: &Answer, body_read: bool) -> Result<Next, Ended> {
        let persistent = request.persistent && body_read;
        answer
            .write(&request.head, persistent, self.client.out())
            .map_err(|refusal| Ended::Refused(Peer::Client, refusal))?;
        match timeout(self.timeouts.unread, self.client.flush()).await {
            Ok(Ok(())) if persistent => Ok(Next::Again),
            Ok(Ok(())) if !body_read => Ok(Next::Linger),
            Ok(Ok(())) => Ok(Next::Close),
            Ok(Err(_)) => Err(Ended::ClientBroken),
            Err(_) => Err(Ended::Unread),
        }
    }

    /// 101: both directions are copied from here on.
    async fn upgraded(&mut self, request: &Request, head: &ResponseHead) -> Result<Next, Ended> {
        let emit = Emit { framing: Framing::None, persistent: true, upgrade: true };
        h1::write_response(head, request.head.method(), emit, self.client.out())
            .map_err(|refusal| Ended::Refused(Peer::Origin, refusal))?;
        let Some(mut origin) = self.origin.take() else { return Err(Ended::OriginBroken("connection")) };
        self.mid_response = true;
        let mut relayed = Relayed::default();
        let ended = relay(self.client, &mut origin.side, self.timeouts.tunnel, &mut relayed).await;
        self.exchanges.moved(relayed.to_origin, relayed.to_client);
        match ended {
            Ok(()) => Err(Ended::Upgraded(relayed)),
            Err(RelayError::Client(_)) => Err(Ended::ClientBroken),
            Err(RelayError::Origin(_)) => Err(Ended::OriginBroken("connection")),
            Err(RelayError::Stalled | RelayError::Heard) => Err(Ended::Stalled),
        }
    }

    /// Tells the client why, where a response can still be told from what was sent before.
    async fn refuse(&mut self, ended: Ended) -> Ended {
        let status = match &ended {
            Ended::Refused(peer, refusal) => refusal.status(*peer),
            Ended::OriginBroken(_) => 502,
            Ended::SlowRequest | Ended::SlowBody => 408,
            Ended::Stalled => 504,
            _ => return ended,
        };
        if self.mid_response {
            return ended;
        }
        let answer = Answer::failure(status, &ended.to_string());
        let head = RequestHead::new(if self.to_head { "HEAD" } else { "GET" }, "/", Version::Http11);
        if answer.write(&head, false, self.client.out()).is_ok() {
            let flushed = timeout(self.timeouts.request_head, self.client.flush()).await;
            // Only who has done nothing wrong is waited for.
            if matches!((&ended, flushed), (Ended::OriginBroken(_), Ok(Ok(())))) {
                self.linger().await;
            }
        }
        ended
    }
}

/// The extent of a response's body as it arrives, and as it is sent on.
fn response_framing(request: &RequestHead, response: &ResponseHead) -> Result<(Framing, Framing), Ended> {
    let arriving = h1::response_body(response, request.method())
        .map_err(|refusal| Ended::Refused(Peer::Origin, refusal))?;
    let leaving = match arriving {
        Framing::Close | Framing::Chunked if request.version() == Version::Http10 => Framing::Close,
        Framing::Close => Framing::Chunked,
        framing => framing,
    };
    Ok((arriving, leaving))
}

/// How a response's body failed.
fn ended_in_body(error: PumpError) -> Ended {
    match error {
        PumpError::From => Ended::OriginBroken("the connection broke in a body"),
        PumpError::Refused(refusal) => Ended::Refused(Peer::Origin, refusal),
        PumpError::To => Ended::ClientBroken,
    }
}

#[cfg(test)]
mod tests;
