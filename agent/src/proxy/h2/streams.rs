//! The open streams as the shell sees them: what was asked for, and since when nothing moves.

use std::time::Duration;

use tokio::time::Instant;

use super::clocks::Clocks;
use crate::http::h2::Relay;
use crate::http::head::RequestHead;
use crate::proxy::exchanges::Sent;

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    /// Until the response has its verdict.
    request: Option<RequestHead>,
    /// What was seen of the request's body, likewise. A box: hardly any is looked at.
    sent: Option<Box<Sent>>,
    /// Its silences are part of its purpose: WebSockets, gRPC.
    patient: bool,
    /// What is a tunnel once it is granted (RFC 8441).
    tunnel: bool,
    answered: bool,
    /// Its client may wait to be asked for the body.
    asks: bool,
    /// Octets of its bodies at the last look, and when they were seen to grow.
    passed: u64,
    since: Instant,
    /// The last look, and for how long nothing but the client kept the request's body back.
    looked: Instant,
    waited: Duration,
}

/// Why a stream is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Response,
    RestOfResponse,
    RequestBody,
}

impl Stream {
    /// `request`: absent where the origin is not asked.
    pub(super) fn new(id: u32, request: Option<RequestHead>, patient: bool, now: Instant) -> Self {
        let answered = request.is_none();
        let asks = request.as_ref().is_some_and(|request| request.fields().get("expect").is_some());
        let (tunnel, passed, waited) = (false, 0, Duration::ZERO);
        Self {
            id,
            request,
            sent: None,
            patient,
            tunnel,
            answered,
            asks,
            passed,
            since: now,
            looked: now,
            waited,
        }
    }

    pub(super) fn tunnel(self, tunnel: bool) -> Self {
        Self { tunnel, patient: self.patient || tunnel, ..self }
    }
}

/// Streams that an idle connection keeps room for.
const KEPT: usize = 4;

/// gRPC calls may be silent for as long as an upgraded connection.
pub(super) fn is_grpc(request: &RequestHead) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    request.fields().get("content-type").is_some_and(|value| value.starts_with(GRPC))
}

/// In the order of their numbers, in which clients open them. As many as the relay's limit on streams.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Stream>);

impl Streams {
    pub(super) fn open(&mut self, stream: Stream) {
        self.0.push(stream);
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.0.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn request(&self, id: u32) -> Option<&RequestHead> {
        self.0.get(self.place(id)?)?.request.as_ref()
    }

    pub(super) fn request_mut(&mut self, id: u32) -> Option<&mut RequestHead> {
        let place = self.place(id)?;
        self.0.get_mut(place)?.request.as_mut()
    }

    /// The beginning of the request's body was looked at.
    pub(super) fn saw(&mut self, id: u32, sent: Sent) {
        if let Some(stream) = self.place(id).and_then(|place| self.0.get_mut(place)) {
            stream.sent = Some(Box::new(sent));
        }
    }

    /// The final response is there: hands out the request that it answers, what was seen of that, and whether it is for a
    /// tunnel.
    pub(super) fn answered(
        &mut self,
        id: u32,
        now: Instant,
    ) -> Option<(RequestHead, Option<Box<Sent>>, bool)> {
        let place = self.place(id)?;
        let stream = self.0.get_mut(place)?;
        (stream.answered, stream.since) = (true, now);
        Some((stream.request.take()?, stream.sent.take(), stream.tunnel))
    }

    /// We answer it ourselves, which is no tunnel and no call.
    pub(super) fn answered_by_us(&mut self, id: u32) {
        if let Some(stream) = self.place(id).and_then(|place| self.0.get_mut(place)) {
            (stream.answered, stream.patient) = (true, false);
        }
    }

    pub(super) fn close(&mut self, id: u32) {
        if let Some(place) = self.place(id) {
            self.0.remove(place);
        }
        if self.0.is_empty() {
            self.0.shrink_to(KEPT);
        }
    }

    /// Those of which nothing moved for too long, or the request too slowly while the client is read from.
    pub(super) fn overdue(
        &mut self,
        relay: &Relay,
        clocks: &Clocks,
        reads: bool,
        now: Instant,
    ) -> Vec<(u32, Overdue)> {
        let mut overdue = Vec::new();
        for stream in &mut self.0 {
            let (up, down) = relay.passed(stream.id).unwrap_or_default();
            if stream.passed != up + down {
                (stream.passed, stream.since) = (up + down, now);
            }
            let elapsed = now - std::mem::replace(&mut stream.looked, now);
            let asked = !stream.asks || up > 0;
            if reads && !stream.answered && !stream.patient && asked && relay.is_uploading(stream.id) {
                stream.waited += elapsed;
                if clocks.is_slow(up, stream.waited) {
                    overdue.push((stream.id, Overdue::RequestBody));
                }
            }
        }
        // Where anything moves, the window of the connection is not what is in the way.
        let moved = self.0.iter().map(|stream| stream.since).max();
        for stream in &self.0 {
            let (own, all) = relay.is_shut(stream.id);
            let shut_for = |since: Option<Instant>| {
                since.is_some_and(|since| {
                    now - since >= clocks.patience(stream.patient, stream.answered, true)
                })
            };
            let silent = now - stream.since >= clocks.patience(stream.patient, stream.answered, false);
            if silent || own && shut_for(Some(stream.since)) || all && shut_for(moved) {
                let what = if stream.answered { Overdue::RestOfResponse } else { Overdue::Response };
                overdue.push((stream.id, what));
            }
        }
        overdue
    }
}
