//! What becomes of responses: passed on, held for a look at their beginning or for their record, or answered in their place.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Connection;
use super::look::{Looked, Start};
use crate::classify::MAX_LONG_LOOK;
use crate::detect::scan::Held;
use crate::http::h1::Peer;
use crate::http::h2::ErrorCode;
use crate::http::head::{RequestHead, ResponseHead};
use crate::proxy::exchanges::{Exchanges, Hold, Sent};
use crate::record::transfer::Transfer;
use crate::tls;

/// A response that is held until its record is stored.
pub(super) struct Unrecorded<'a> {
    pub(super) id: u32,
    request: RequestHead,
    head: ResponseHead,
    transfer: Transfer<'a>,
}

impl<C, X> Connection<'_, C, X>
where
    C: tls::Stream,
    X: Exchanges,
{
    pub(super) fn response(&mut self, id: u32, mut head: ResponseHead, end: bool, now: Instant) {
        self.exchanges.adapt_response(&mut head);
        let Some((request, sent, tunnel)) = self.streams.answered(id, now) else {
            return self.relay.reset(id, ErrorCode::INTERNAL_ERROR);
        };
        if tunnel && (200..300).contains(&head.status()) {
            // A tunnel's frames are no content of the response, as behind a 101 of HTTP/1.1.
            return self.pass(id, &request, &head);
        }
        if end {
            return self.judge(id, (request, sent), head, Some(&Start::NOTHING));
        }
        match self.exchanges.holds_response(&request, &head) {
            Hold { most: 0, .. } => self.judge(id, (request, sent), head, None),
            Hold { most, .. } => self.looked.push(Looked::new(id, (request, sent), head, (most, now))),
        }
    }

    /// The verdict on a response, by its beginning where that was asked for.
    fn judge(
        &mut self,
        id: u32,
        (request, sent): (RequestHead, Option<Box<Sent>>),
        head: ResponseHead,
        start: Option<&Start>,
    ) {
        let held = start.map(|Start { octets, complete, .. }| Held { octets, complete: *complete });
        let sent = sent.as_deref().unwrap_or(&Sent::NOTHING);
        if let Some(answer) = self.exchanges.response(&request, &head, sent, held) {
            return self.answer(id, &answer);
        }
        let exchanges = self.exchanges;
        match exchanges.transfer() {
            Some(transfer) if transfer.is_unasked() => self.transfers.push((id, transfer)),
            Some(transfer) => {
                return self.unrecorded.push(Unrecorded { id, request, head, transfer });
            }
            None => {}
        }
        self.pass(id, &request, &head);
    }

    fn pass(&mut self, id: u32, request: &RequestHead, head: &ResponseHead) {
        if self.relay.pass_response(id, head).is_err() {
            self.exchanges.refused(Peer::Origin, Some(request));
        }
    }

    /// Passes what was held for its record, and says whether there was any.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) -> bool {
        let mut released = false;
        let mut at = 0;
        while let Some(held) = self.unrecorded.get_mut(at) {
            let Poll::Ready(stored) = held.transfer.poll_may_begin(cx) else {
                at += 1;
                continue;
            };
            released = true;
            let Unrecorded { id, request, head, transfer } = self.unrecorded.swap_remove(at);
            if stored {
                self.transfers.push((id, transfer));
                self.pass(id, &request, &head);
            } else {
                self.answer(id, &self.exchanges.unrecorded());
            }
        }
        released
    }

    /// Judges the responses of which enough is there.
    pub(super) fn look(&mut self, now: Instant) {
        let full = self.origin.waits || self.origin.lost;
        let mut at = 0;
        while let Some(looked) = self.looked.get_mut(at) {
            let Some(start) = looked.start(&self.relay, full, now) else {
                at += 1;
                continue;
            };
            let held = Held { octets: &start.octets, complete: start.complete };
            let more = self.exchanges.holds_more(&looked.request, &looked.head, held);
            if !start.last && (start.octets.len() + 1..=MAX_LONG_LOOK).contains(&more.most) {
                looked.go_on(more, now);
                continue;
            }
            let looked = self.looked.swap_remove(at);
            self.judge(looked.id, (looked.request, looked.sent), looked.head, Some(&start));
        }
    }
}
