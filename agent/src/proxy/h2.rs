//! HTTP/2 on an inspected connection: one connection to the origin for the client's one, frames relayed between them,
//! every head judged before anything of its stream goes on.
//!
//! The rules of the protocol are [`crate::http::h2::relay`]'s. Here are its sockets, its verdicts and its clocks. A frame of
//! DATA is written from the buffer that it was read into; nothing is allocated for it.

mod clocks;
mod lane;
mod look;
mod requests;
mod responses;
mod streams;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until, timeout};

use self::clocks::{Clocks, Expired, Reason};
use self::lane::{Lane, Turn, advance, write_row};
use self::look::Looked;
use self::requests::Asked;
use self::responses::Unrecorded;
use self::streams::{Overdue, Stream, Streams};
use super::ended::Ended;
use super::enforce::Answer;
use super::exchanges::Exchanges;
use super::side::Side;
use super::slow::Slow;
use crate::config::Timeouts;
use crate::http::h1::Peer;
use crate::http::h2::{ErrorCode, Event, Limits, Outcome, Refusal, Relay, Side as Which};
use crate::record::transfer::Transfer;
use crate::tls;

/// Longest that the last frames of a connection may take on their way out.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// Serves both connections until one side has had enough. `stopping` resolves when the agent is about to end: the client
/// is told to open no more streams, and those under way go on.
pub fn serve<C, X>(
    client: Side<C>,
    origin: X::Origin,
    exchanges: &X,
    limits: &Limits,
    timeouts: &Timeouts,
    stopping: impl Future<Output = ()>,
) -> impl Future<Output = Ended>
where
    C: tls::Stream,
    X: Exchanges,
{
    let begun = Instant::now();
    let mut connection = Connection {
        relay: Relay::new(*limits),
        client: Lane::new(client),
        origin: Lane::new(Side::new(origin)),
        streams: Streams::default(),
        clocks: Clocks::new(begun, *timeouts),
        exchanges,
        asked: Vec::new(),
        looked: Vec::new(),
        unrecorded: Vec::new(),
        transfers: Vec::new(),
        cut: false,
    };
    // What an asynchronous function is called with and what it makes of it would both be kept to the end.
    async move {
        let mut stopping = pin!(stopping);
        let mut stopped = false;
        let mut timer = pin!(sleep_until(connection.clocks.due(begun)));
        let ended = poll_fn(|cx| {
            if !stopped && stopping.as_mut().poll(cx).is_ready() {
                stopped = true;
                connection.wind_down(Instant::now(), Reason::Stop);
            }
            loop {
                let now = Instant::now();
                if let Poll::Ready(ended) = connection.poll(cx, now) {
                    return Poll::Ready(ended);
                }
                let due = connection.clocks.due(now);
                if due <= now {
                    if let Some(ended) = connection.expire(now) {
                        return Poll::Ready(ended);
                    }
                    continue;
                }
                // A timer that is early looks again; only one that would be late is set anew.
                if due < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(due);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        connection.part(ended).await
    }
}

struct Connection<'a, C, X: Exchanges> {
    relay: Relay,
    client: Lane<C>,
    origin: Lane<X::Origin>,
    streams: Streams,
    clocks: Clocks,
    exchanges: &'a X,
    /// Requests that wait for the beginning of their bodies, and responses that wait for their first octets: at most one a
    /// stream.
    asked: Vec<Asked>,
    looked: Vec<Looked>,
    /// Responses whose records have to be stored first, and downloads under way: at most one a stream.
    unrecorded: Vec<Unrecorded<'a>>,
    transfers: Vec<(u32, Transfer<'a>)>,
    /// The end of the origin's connection cost the client a response.
    cut: bool,
}

impl<C, X> Connection<'_, C, X>
where
    C: tls::Stream,
    X: Exchanges,
{
    /// Moves everything that can move.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Ended> {
        loop {
            let mut moved = false;
            for which in [Which::Client, Which::Origin] {
                let turn = self.turn(cx, which, now);
                // Before anything else is read: nothing of a stream goes on while its head awaits the verdict.
                self.decide(now);
                match turn {
                    Turn::Pending => {}
                    Turn::Moved => moved = true,
                    Turn::Lost(side) => {
                        moved = true;
                        if let Some(ended) = self.lost(side, now) {
                            return Poll::Ready(ended);
                        }
                    }
                    Turn::Failed(error) => {
                        let peer = match error.side {
                            Which::Client => Peer::Client,
                            Which::Origin => Peer::Origin,
                        };
                        return Poll::Ready(Ended::Violated(peer, error.refusal));
                    }
                }
            }
            if moved {
                continue;
            }
            let before = self.waiting_output();
            for which in [Which::Client, Which::Origin] {
                if self.flush(cx, which).is_err() {
                    moved = true;
                    if let Some(ended) = self.lost(which, now) {
                        return Poll::Ready(ended);
                    }
                }
            }
            // Room was made for frames that had to wait for it.
            let made_room = self.waiting_output() < before && (self.client.waits || self.origin.waits);
            if self.release(cx) || moved || made_room {
                continue;
            }
            break;
        }
        self.watch(now);
        if self.is_over() {
            let cut = self.cut.then_some(Ended::OriginBroken("it closed with requests under way"));
            return Poll::Ready(self.clocks.reason().or(cut).unwrap_or(Ended::Done));
        }
        Poll::Pending
    }

    /// Octets that the relay has for both sides.
    fn waiting_output(&mut self) -> usize {
        self.relay.output(Which::Client).len() + self.relay.output(Which::Origin).len()
    }

    fn turn(&mut self, cx: &mut Context<'_>, which: Which, now: Instant) -> Turn {
        let since = self.clocks.since_begun(now);
        let (relay, client, origin) = (&mut self.relay, &mut self.client, &mut self.origin);
        match which {
            Which::Client => advance(cx, relay, (which, client), origin, since),
            Which::Origin if origin.lost => match write_row(cx, which, origin, client) {
                // What it sent before it went.
                Some(turn) => turn,
                None => Turn::Pending,
            },
            Which::Origin => advance(cx, relay, (which, origin), client, since),
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, which: Which) -> Result<(), std::io::Error> {
        let output = self.relay.output(which);
        let flushed = match which {
            Which::Client => self.client.poll_flush(cx, output, self.origin.is_between_rows()),
            Which::Origin if self.origin.lost => return Ok(()),
            Which::Origin => self.origin.poll_flush(cx, output, self.client.is_between_rows()),
        };
        match flushed {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Whether the kernel has everything that is to go to this side.
    fn is_written(&mut self, which: Which) -> bool {
        let no_output = self.relay.output(which).is_empty();
        match which {
            Which::Client => no_output && self.client.side.is_flushed() && self.origin.is_between_rows(),
            Which::Origin => {
                self.origin.lost
                    || no_output && self.origin.side.is_flushed() && self.client.is_between_rows()
            }
        }
    }

    /// Nothing is under way, and nothing new will be.
    fn is_over(&mut self) -> bool {
        (self.origin.lost || self.clocks.is_line_drawn())
            && self.relay.open_streams() == 0
            && self.is_written(Which::Client)
    }

    /// One connection is gone. `Some` when that ends the other one at once.
    fn lost(&mut self, which: Which, now: Instant) -> Option<Ended> {
        match which {
            Which::Client => {
                let clean = self.relay.open_streams() == 0;
                self.client.lost = true;
                Some(if clean { self.clocks.reason().unwrap_or(Ended::Done) } else { Ended::ClientBroken })
            }
            Which::Origin => {
                self.origin.lost = true;
                self.client.drop_row();
                self.relay.lost(which);
                self.decide(now);
                None
            }
        }
    }

    /// Tells the clocks how things stand.
    fn watch(&mut self, now: Instant) {
        let in_head = self.relay.is_in_head(Which::Client) || self.client.is_in_head();
        self.clocks.head(in_head, now);
        self.clocks.streams(self.relay.open_streams(), now);
        let unread = !self.is_written(Which::Client);
        self.clocks.unread(unread, now);
        let written = self.is_written(Which::Origin);
        self.clocks.writing((!written).then(|| self.origin.side.written()), now);
    }

    /// Something took too long. `Some` when the connection does not survive it.
    fn expire(&mut self, now: Instant) -> Option<Ended> {
        match self.clocks.expired(now)? {
            Expired::SlowHead => return Some(Ended::SlowRequest),
            Expired::Unread => return Some(Ended::Stalled),
            Expired::Taken => {
                let took = self.clocks.taken(|| self.client.side.taken(), now);
                return took.err().map(|Slow| Ended::Unread);
            }
            Expired::Idle => self.wind_down(now, Reason::Idle),
            Expired::FirstOctets => self.decide(now),
            Expired::Line => {
                self.relay.shut_down(true);
                self.clocks.line_drawn();
            }
            Expired::Look => {
                // While the origin takes nothing, nothing is read from the client either, whatever its windows say.
                let reads = !self.client.waits && self.is_written(Which::Origin);
                for (id, what) in self.streams.overdue(&self.relay, &self.clocks, reads, now) {
                    match what {
                        Overdue::RestOfResponse => self.relay.reset(id, ErrorCode::CANCEL),
                        Overdue::Response => {
                            self.answer(id, &Answer::failure(504, "nothing moved for too long"));
                        }
                        Overdue::RequestBody => {
                            self.answer(id, &Answer::failure(408, &Ended::SlowBody.to_string()));
                        }
                    }
                }
                self.decide(now);
            }
        }
        None
    }

    /// Asks the client to open no more streams (RFC 9113 section 6.8).
    fn wind_down(&mut self, now: Instant, reason: Reason) {
        if self.clocks.wind_down(now, reason) {
            self.relay.shut_down(false);
        }
    }

    /// Answers what the relay tells: the one place where heads are judged.
    fn decide(&mut self, now: Instant) {
        while let Some(event) = self.relay.next_event() {
            match event {
                Event::Request { stream, head, end, websocket } => {
                    self.clocks.head_read();
                    self.request(stream, head, (end, websocket), now);
                }
                Event::Interim { stream, mut head } => {
                    self.exchanges.adapt_response(&mut head);
                    self.relay.pass_interim(stream, &head);
                }
                Event::Response { stream, head, end } => self.response(stream, head, end, now),
                Event::BadRequest { stream, refusal } => {
                    self.streams.open(Stream::new(stream, None, false, now));
                    self.exchanges.refused(Peer::Client, None);
                    match refusal {
                        Refusal::HeadTooLarge | Refusal::TargetTooLong | Refusal::MethodRefused => {
                            self.answer(stream, &Answer::failure(refusal.status(), &refusal.to_string()));
                        }
                        // Malformed: a stream error (RFC 9113 section 8.1.1).
                        _ => self.relay.reset(stream, refusal.code()),
                    }
                }
                Event::BadResponse { stream, refusal } => {
                    if refusal == Refusal::OriginLost {
                        self.cut = true;
                    } else {
                        self.exchanges.refused(Peer::Origin, self.streams.request(stream));
                    }
                    self.asked.retain(|asked| asked.id != stream);
                    self.looked.retain(|looked| looked.id != stream);
                    self.answer(stream, &Answer::failure(502, &refusal.to_string()));
                }
                Event::Closed { stream, outcome, to_origin, to_client } => {
                    self.closed(stream, outcome, (to_origin, to_client));
                }
                Event::GoAway { from, code } => tracing::debug!(?from, code = code.0, "GOAWAY"),
            }
        }
        self.look_at_requests(now);
        self.look(now);
        let looked = self.looked.iter().filter_map(Looked::until).chain(self.asked_until()).min();
        self.clocks.first_octets(looked);
    }

    fn answer(&mut self, id: u32, answer: &Answer) {
        let (head, body) = answer.parts();
        self.streams.answered_by_us(id);
        // What cannot be written resets its stream.
        let _ = self.relay.answer(id, head, body.to_vec());
    }

    fn closed(&mut self, id: u32, outcome: Outcome, (to_origin, to_client): (u64, u64)) {
        match outcome {
            Outcome::Refused(Which::Client, _) => {
                self.exchanges.refused(Peer::Client, self.streams.request(id))
            }
            Outcome::Refused(Which::Origin, _) => {
                self.exchanges.refused(Peer::Origin, self.streams.request(id))
            }
            Outcome::Reset(Some(Refusal::OriginLost)) => self.cut = true,
            _ => {}
        }
        // A body of our own is no traffic.
        let to_client = if outcome == Outcome::Answered { 0 } else { to_client };
        self.exchanges.moved(to_origin, to_client);
        self.asked.retain(|asked| asked.id != id);
        self.looked.retain(|looked| looked.id != id);
        self.unrecorded.retain(|held| held.id != id);
        if let Some(at) = self.transfers.iter().position(|(stream, _)| *stream == id) {
            let (_, transfer) = self.transfers.swap_remove(at);
            transfer.end(outcome == Outcome::Complete, to_client);
        }
        self.streams.close(id);
    }

    /// The last frames go out, and every stream that is still open is accounted for.
    async fn part(&mut self, ended: Ended) -> Ended {
        if !matches!(ended, Ended::ClientBroken) {
            if !self.clocks.is_line_drawn() {
                self.relay.shut_down(true);
            }
            self.decide(Instant::now());
            let _ = timeout(FAREWELL, poll_fn(|cx| self.poll_farewell(cx))).await;
            let _ = timeout(FAREWELL, self.client.side.shutdown()).await;
        }
        self.relay.lost(Which::Client);
        self.decide(Instant::now());
        ended
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = write_row(cx, Which::Origin, &mut self.origin, &mut self.client) {
            return if matches!(turn, Turn::Pending) { Poll::Pending } else { Poll::Ready(()) };
        }
        let client = self.client.poll_flush(cx, self.relay.output(Which::Client), true);
        // The origin is told as far as it listens; a row that stands in the way says that it does not.
        let _ = self.flush(cx, Which::Origin);
        client.map(|_| ())
    }
}

#[cfg(test)]
mod tests;
