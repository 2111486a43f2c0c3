//! The open streams as the shell sees them: what was asked for, and since when nothing moves.

use tokio::time::Instant;

use super::clocks::Clocks;
use crate::http::h2::Relay;
use crate::http::head::RequestHead;

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    /// Until the response has its verdict.
    request: Option<RequestHead>,
    /// Its silences are part of its purpose: WebSockets, gRPC.
    patient: bool,
    /// What is a tunnel once it is granted (RFC 8441).
    tunnel: bool,
    answered: bool,
    /// Octets of its bodies at the last look, and when they were seen to grow.
    passed: u64,
    since: Instant,
}

impl Stream {
    /// `request`: absent where the origin is not asked.
    pub(super) fn new(id: u32, request: Option<RequestHead>, patient: bool, now: Instant) -> Self {
        let answered = request.is_none();
        Self { id, request, patient, tunnel: false, answered, passed: 0, since: now }
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

    /// The final response is there: hands out the request that it answers, and whether that is for a tunnel.
    pub(super) fn answered(&mut self, id: u32, now: Instant) -> Option<(RequestHead, bool)> {
        let place = self.place(id)?;
        let stream = self.0.get_mut(place)?;
        (stream.answered, stream.since) = (true, now);
        Some((stream.request.take()?, stream.tunnel))
    }

    pub(super) fn close(&mut self, id: u32) {
        if let Some(place) = self.place(id) {
            self.0.remove(place);
        }
        if self.0.is_empty() {
            self.0.shrink_to(KEPT);
        }
    }

    /// Those of which nothing moved for too long, and whether their response had begun.
    pub(super) fn stalled(&mut self, relay: &Relay, clocks: &Clocks, now: Instant) -> Vec<(u32, bool)> {
        let mut stalled = Vec::new();
        for stream in &mut self.0 {
            let (up, down) = relay.passed(stream.id).unwrap_or_default();
            if stream.passed != up + down {
                (stream.passed, stream.since) = (up + down, now);
            } else if now - stream.since >= clocks.patience(stream.patient, stream.answered) {
                stalled.push((stream.id, stream.answered));
            }
        }
        stalled
    }
}
