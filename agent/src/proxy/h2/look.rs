//! Responses whose beginning is looked at before their verdict. The relay holds what comes of their bodies meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::classify::MAX_LOOK_AHEAD;
use crate::http::h2::Relay;
use crate::http::head::{RequestHead, ResponseHead};

/// How long the client waits for the beginning of a response that classification would like to see.
const FIRST_OCTETS: Duration = Duration::from_secs(2);

/// A response that waits for its first octets.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) id: u32,
    pub(super) request: RequestHead,
    pub(super) head: ResponseHead,
    most: usize,
    until: Instant,
}

/// The beginning of a body, as far as it is there.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) octets: Vec<u8>,
    pub(super) complete: bool,
}

impl Start {
    /// Of a response whose head was its end.
    pub(super) const NOTHING: Start = Start { octets: Vec::new(), complete: true };
}

impl Looked {
    pub(super) fn new(id: u32, request: RequestHead, head: ResponseHead, most: usize, now: Instant) -> Self {
        // Bodies that decide are looked at in HTTP/1.1; over HTTP/2 there is no room to hold them.
        Self { id, request, head, most: most.min(MAX_LOOK_AHEAD), until: now + FIRST_OCTETS }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// What the verdict goes by: once there is enough of it, or it was waited for long enough. `full`: the relay holds as
    /// much as it may, so that waiting would bring nothing.
    pub(super) fn start(&self, relay: &Relay, full: bool, now: Instant) -> Option<Start> {
        let (octets, complete) = relay.held_start(self.id, self.most)?;
        let enough = complete || octets.len() >= self.most || full || now >= self.until;
        enough.then_some(Start { octets, complete })
    }
}
