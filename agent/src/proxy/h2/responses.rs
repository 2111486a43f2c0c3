//! What becomes of responses: passed on, held for a look at their beginning or for their record, or answered in their place.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Connection;
use super::look::{Looked, Start};
use crate::detect::scan::Held;
use crate::http::h1::Peer;
use crate::http::h2::ErrorCode;
use crate::http::head::{RequestHead, ResponseHead};
use crate::proxy::exchanges::Exchanges;
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
        let Some((request, tunnel)) = self.streams.answered(id, now) else {
            return self.relay.reset(id, ErrorCode::INTERNAL_ERROR);
        };
        if tunnel && (200..300).contains(&head.status()) {
            // A tunnel's frames are no content of the response, as behind a 101 of HTTP/1.1.
            return self.pass(id, &request, &head);
        }
        if end {
            return self.judge(id, request, head, Some(&Start::NOTHING));
        }
        match self.exchanges.holds_response(&request, &head) {
            0 => self.judge(id, request, head, None),
            most => self.looked.push(Looked::new(id, request, head, (most, now))),
        }
    }

    /// The verdict on a response, by its beginning where that was asked for.
    fn judge(&mut self, id: u32, request: RequestHead, head: ResponseHead, start: Option<&Start>) {
        let verdict = match start {
            Some(Start { octets, complete }) => {
                let held = Held { octets, complete: *complete };
                self.exchanges.response_body(&request, &head, held)
            }
            None => self.exchanges.response(&request, &head),
        };
        if let Some(answer) = verdict {
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
        if self.looked.is_empty() {
            return;
        }
        let full = self.origin.waits || self.origin.lost;
        let mut at = 0;
        while let Some(looked) = self.looked.get_mut(at) {
            let Some(start) = looked.start(&self.relay, full, now) else {
                at += 1;
                continue;
            };
            let looked = self.looked.swap_remove(at);
            self.judge(looked.id, looked.request, looked.head, Some(&start));
        }
        self.clocks.first_octets(self.looked.iter().filter_map(Looked::until).min());
    }
}
