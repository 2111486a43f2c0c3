//! What becomes of requests: passed on, held until the beginning of their bodies was looked at, or answered in the origin's
//! place.
//!
//! Streams are opened in the order of their numbers, so one that is held keeps back those behind it.

use tokio::time::Instant;

use super::Connection;
use super::clocks::Reason;
use super::streams::{self, Stream};
use crate::detect::scan::Held;
use crate::http::h1::Peer;
use crate::http::h2::{ErrorCode, Side};
use crate::http::head::RequestHead;
use crate::proxy::exchanges::{Exchanges, Hold};
use crate::tls;

/// A request that waits for the beginning of its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u32,
    most: usize,
    until: Option<Instant>,
}

impl<C, X> Connection<'_, C, X>
where
    C: tls::Stream,
    X: Exchanges,
{
    pub(super) fn request(
        &mut self,
        id: u32,
        head: RequestHead,
        (end, websocket): (bool, bool),
        now: Instant,
    ) {
        if self.exchanges.http1_only() {
            // A reload has made it so. A stream that is refused may be asked for again (RFC 9113 section 8.7), and a new
            // connection is not offered HTTP/2.
            self.streams.open(Stream::new(id, None, false, now));
            self.relay.reset(id, ErrorCode::REFUSED_STREAM);
            return self.wind_down(now, Reason::Stop);
        }
        if let Some(answer) = self.exchanges.request(&head) {
            self.streams.open(Stream::new(id, None, false, now));
            return self.answer(id, &answer);
        }
        let hold = if end || websocket { Hold::NOTHING } else { self.exchanges.holds_request(&head) };
        let patient = streams::is_grpc(&head);
        self.streams.open(Stream::new(id, Some(head), patient, now).tunnel(websocket));
        if hold.most > 0 {
            let until = hold.patience.and_then(|patience| now.checked_add(patience));
            self.asked.push(Asked { id, most: hold.most, until });
        } else {
            self.send_on(id);
        }
    }

    /// The origin gets the request, as it is to have it.
    fn send_on(&mut self, id: u32) {
        let Some(head) = self.streams.request_mut(id) else { return };
        self.exchanges.adapt_request(head);
        if self.relay.pass_request(id, head).is_err() {
            self.exchanges.refused(Peer::Client, Some(head));
        }
    }

    /// Judges the requests of whose bodies there is enough, or which were waited for long enough.
    pub(super) fn look_at_requests(&mut self, now: Instant) {
        let full = self.client.waits || self.client.lost;
        let mut at = 0;
        while let Some(Asked { id, most, until }) = self.asked.get(at) {
            let (id, most) = (*id, *most);
            let Some((held, complete)) = self.relay.held(Side::Client, id) else {
                self.asked.swap_remove(at);
                continue;
            };
            let waited = until.is_some_and(|until| now >= until);
            if !(complete || held >= most || full || waited || self.relay.is_spent(Side::Client, id)) {
                at += 1;
                continue;
            }
            self.asked.swap_remove(at);
            let octets = self.relay.held_start(Side::Client, id, most);
            let held = Held { complete: complete && octets.len() == held, octets: &octets };
            let Some(head) = self.streams.request(id) else { continue };
            match self.exchanges.request_body(head, held) {
                Ok(sent) => {
                    self.streams.saw(id, sent);
                    self.send_on(id);
                }
                Err(answer) => self.answer(id, &answer),
            }
        }
    }

    /// Until when the request that waits longest is held.
    pub(super) fn asked_until(&self) -> Option<Instant> {
        self.asked.iter().filter_map(|asked| asked.until).min()
    }
}
