//! Responses whose beginning is looked at before their verdict. The relay holds what comes of their bodies meanwhile.

use tokio::time::Instant;

use crate::classify::{MAX_LONG_LOOK, MAX_LOOK_AHEAD, redirect};
use crate::http::h2::{Relay, Side};
use crate::http::head::{RequestHead, ResponseHead};
use crate::proxy::deadline::{FIRST_OCTETS, SIGNATURE};
use crate::proxy::exchanges::{Hold, Sent};

/// A response that waits for its first octets.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) id: u32,
    pub(super) request: RequestHead,
    pub(super) sent: Option<Box<Sent>>,
    pub(super) head: ResponseHead,
    most: usize,
    /// Until when more is waited for. Before there is a [`SIGNATURE`] only the clock of streams that stand still runs.
    until: Option<Instant>,
    /// The first look has shown too little.
    further: bool,
}

/// The beginning of a body, as far as it is there.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) octets: Vec<u8>,
    pub(super) complete: bool,
    /// There is no more of it, or that is not waited for.
    pub(super) last: bool,
}

impl Start {
    /// Of a response whose head was its end.
    pub(super) const NOTHING: Start = Start { octets: Vec::new(), complete: true, last: true };
}

impl Looked {
    pub(super) fn new(
        id: u32,
        (request, sent): (RequestHead, Option<Box<Sent>>),
        head: ResponseHead,
        (most, now): (usize, Instant),
    ) -> Self {
        // Clients go on by the head of a redirect alone, and some of those never end.
        let until = redirect::leads_on(&head).then(|| now + FIRST_OCTETS);
        // Bodies that decide are looked at in HTTP/1.1; over HTTP/2 there is no room to hold them.
        Self { id, request, sent, head, most: most.min(MAX_LOOK_AHEAD), until, further: false }
    }

    /// The look goes on: what is there has shown too little.
    pub(super) fn go_on(&mut self, more: Hold, now: Instant) {
        self.most = more.most;
        self.until = more.patience.and_then(|patience| now.checked_add(patience));
        self.further = true;
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What the verdict goes by: once there is enough of it, or it was waited for long enough. `full`: the relay holds as
    /// much as it may, so that waiting would bring nothing.
    pub(super) fn start(&mut self, relay: &Relay, full: bool, now: Instant) -> Option<Start> {
        let (held, ended) = relay.held(Side::Origin, self.id)?;
        if held >= SIGNATURE && !self.further {
            self.until.get_or_insert(now + FIRST_OCTETS);
        }
        let waited = self.until.is_some_and(|until| now >= until);
        let spent = full || relay.is_spent(Side::Origin, self.id);
        (ended || held >= self.most || spent || waited).then(|| {
            let most = if self.further { MAX_LONG_LOOK } else { self.most };
            let octets = relay.held_start(Side::Origin, self.id, most);
            let all = octets.len() == held;
            let last = all && (ended || spent || waited && self.further);
            Start { complete: ended && all, last, octets }
        })
    }
}
