//! Bodies whose beginning is held until it was looked at: uploads before the origin gets them, downloads before the
//! client does.

use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{Answer, Ended, Proxy, Request, Response, ended_in_body, response_framing};
use crate::classify::{MAX_LOOK_AHEAD, redirect};
use crate::detect::scan::Held;
use crate::http::h1::{self, Emit, Framing, Peer, connection};
use crate::http::head::{ResponseHead, Version};
use crate::memory::pressure;
use crate::pages::Start;
use crate::proxy::deadline::{FIRST_OCTETS, Late, SIGNATURE};
use crate::proxy::exchanges::{Exchanges, Hold};
use crate::proxy::pump::{Pump, PumpError};
use crate::proxy::slow::Arriving;
use crate::tls::Stream;

/// How long a client that was answered before its body was read goes on sending what nobody reads, so that it sees the answer
/// (RFC 9112 section 9.6).
pub(super) const LINGER: Duration = Duration::from_secs(5);

impl<C, X> Proxy<'_, C, X>
where
    C: Stream,
    X: Exchanges,
{
    /// Reads as much of the request's body as is to be held, or comes in time. A client that waits to be asked for it is
    /// asked.
    pub(super) async fn hold_request(
        &mut self,
        request: &mut Request,
        body: &mut Pump,
        hold: Hold,
    ) -> Result<(), Ended> {
        let client_fault = |refusal| Ended::Refused(Peer::Client, refusal);
        if connection::expects_continue(&request.head).map_err(client_fault)? {
            // The origin gets the body with the head, or neither.
            request.head.fields_mut().remove("expect");
            let go_on = ResponseHead::new(100, Version::Http11);
            let method = request.head.method();
            h1::write_response(&go_on, method, Emit::new(Framing::None), self.client.out())
                .map_err(client_fault)?;
            match timeout(self.timeouts.unread, self.client.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Ended::ClientBroken),
                Err(_) => return Err(Ended::Unread),
            }
        }
        let (client, origin) = (&mut *self.client, &mut self.origin);
        let most = body.reserve(hold.most);
        let timeouts = self.timeouts;
        let mut arriving = Arriving::default();
        let holding = self.clock.while_keeping_pace(timeouts.stall, |cx| {
            let state = body.poll_hold(cx, client, most);
            if let (Poll::Pending, Some(origin)) = (&state, origin.as_mut()) {
                origin.side.say_unsaid(cx);
            }
            let octets = body.payload();
            (state, octets, arriving.look(Instant::now(), octets, true, timeouts))
        });
        match timeout(hold.patience.unwrap_or(Duration::MAX), holding).await.unwrap_or(Ok(Ok(()))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(PumpError::Refused(refusal))) => Err(client_fault(refusal)),
            Ok(Err(PumpError::From | PumpError::To)) => Err(Ended::ClientBroken),
            Err(Late::Stalled) => Err(Ended::Stalled),
            Err(Late::Slow) => Err(Ended::SlowBody),
        }
    }

    /// Holds the beginning of a response's body, and more of it where that has shown nothing.
    pub(super) async fn look_at_response(
        &mut self,
        request: &Request,
        response: &mut Response,
        wanted: Hold,
    ) -> Result<(), Ended> {
        // Clients go on by the head of a redirect alone, and some of those never end.
        let leads_on = redirect::leads_on(&response.head);
        let patience = Some(if leads_on { FIRST_OCTETS } else { Duration::MAX });
        let first = Hold { most: wanted.most.min(SIGNATURE), patience };
        self.hold_response(request, response, first).await?;
        self.hold_response(request, response, wanted).await?;
        loop {
            let held = response.down.as_ref().map_or(Held::NOTHING, Pump::held);
            let had = held.octets.len();
            let more = self.exchanges.holds_more(&request.head, &response.head, held);
            if more.most <= had {
                return Ok(());
            }
            self.hold_response(request, response, more).await?;
            // It ended, came too late, or found no room.
            if response.down.as_ref().is_none_or(|down| down.held().octets.len() < more.most) {
                return Ok(());
            }
        }
    }

    /// Reads the beginning of the response's body, while the rest of the request's goes on. First octets that keep the client
    /// waiting for longer than `hold` says are done without, and so is what of a longer beginning comes too slowly: it would
    /// take up the room in which bodies are held. What is held already counts.
    async fn hold_response(
        &mut self,
        request: &Request,
        response: &mut Response,
        hold: Hold,
    ) -> Result<(), Ended> {
        let Some(origin) = &mut self.origin else { return Err(Ended::OriginBroken("connection")) };
        let mut down = match response.down.take() {
            Some(down) => down,
            None => {
                let (arriving, leaving) = response_framing(&request.head, &response.head)?;
                Pump::new(arriving, leaving, self.limits)
            }
        };
        let most = down.reserve(hold.most);
        let client = &mut *self.client;
        let Response { body: up, sent, .. } = response;
        let mut up_done = *sent;
        // Without room for more than a look it is waited for as for one.
        let paced = hold.patience.is_none() && most > MAX_LOOK_AHEAD;
        let patience = hold.patience.unwrap_or(if paced { Duration::MAX } else { FIRST_OCTETS });
        let timeouts = self.timeouts;
        let mut arriving = Arriving::default();
        let holding = self.clock.while_keeping_pace(timeouts.stall, |cx| {
            if !up_done && up.poll(cx, client, &mut origin.side).is_ready() {
                // What an origin that stopped reading says is still to be read.
                (up_done, *sent) = (true, true);
            }
            let state = down.poll_hold(cx, &mut origin.side, most);
            let octets = down.payload();
            let pace = if paced { arriving.look(Instant::now(), octets, true, timeouts) } else { Ok(None) };
            (state, up.payload() + octets, pace)
        });
        match timeout(patience, holding).await.unwrap_or(Ok(Ok(()))) {
            Ok(Ok(())) | Err(Late::Slow) => {
                response.down = Some(down);
                Ok(())
            }
            Ok(Err(error)) => Err(ended_in_body(error)),
            Err(Late::Stalled) => Err(Ended::Stalled),
        }
    }

    /// Puts what belongs there into a page, as soon as its start is there. `Some` is sent instead of it.
    pub(super) async fn alter_page(
        &mut self,
        request: &Request,
        response: &mut Response,
    ) -> Result<Option<Answer>, Ended> {
        let mut had = None;
        let start = loop {
            let held = response.down.as_ref().map(Pump::held);
            let seen = held.map(|held| (Start::of(held.octets), held.octets.len(), held.complete));
            if let Some((start, octets, complete)) = seen
                // Where others hold too much there is no room to look.
                && (start.settled || complete || had.replace(octets) == Some(octets))
            {
                break start;
            }
            let most = seen.map_or(1, |(_, octets, _)| octets + 1);
            let more = Hold { most, patience: Some(Duration::MAX) };
            self.hold_response(request, response, more).await?;
        };
        let altered = self.exchanges.alter_page(&request.head, &mut response.head, start);
        Ok(match (altered, &mut response.down) {
            (Ok(html), Some(down)) => {
                down.insert(start.at, html.as_bytes());
                None
            }
            (Ok(_), None) => return Err(Ended::OriginBroken("connection")),
            (Err(answer), _) => Some(*answer),
        })
    }

    /// Says goodbye and reads on for a while: what lies unread when a socket is closed would take the answer with it.
    pub(super) async fn linger(&mut self) {
        self.origin = None;
        if !matches!(timeout(self.timeouts.unread, self.client.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        let until = Instant::now() + LINGER;
        // A client that sends as fast as this reads leaves a timer no turn: the clock is looked at as well.
        while Instant::now() < until {
            let unread = self.client.input.unread().len();
            self.client.input.consume(unread);
            let filled = async {
                tokio::select! {
                    biased;
                    () = pressure::shed() => Ok(0),
                    filled = self.client.fill() => filled,
                }
            };
            match timeout_at(until, filled).await {
                Ok(Ok(count)) if count > 0 => {}
                _ => return,
            }
        }
    }
}
