//! The waits of one HTTP/2 connection pair: which run, which is the next to end, and which has.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;
use crate::proxy::ended::Ended;
use crate::proxy::slow::{Slow, Unread, allowed};

/// How often streams are looked at for a standstill: theirs ends up to so much later than its deadline, or an eighth of it.
const LOOK: Duration = Duration::from_secs(5);
/// From the GOAWAY that announces the end to the one that draws the line: requests under way reach us meanwhile
/// (RFC 9113 section 6.8).
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Why we end a connection of which nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Stop,
    Idle,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The rest of a request head.
    SlowHead,
    /// The origin reads nothing of what is there for it.
    Unread,
    /// Nothing yet: it is time to ask what the client took.
    Taken,
    /// The next request.
    Idle,
    /// The first octets of a response that classification would like to see.
    FirstOctets,
    /// Requests that were under way are here.
    Line,
    /// Nothing yet: streams are to be looked at.
    Look,
}

/// What the origin still has to read.
#[derive(Debug, Clone, Copy, Default)]
struct Writing {
    written: u64,
    since: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clocks {
    begun: Instant,
    timeouts: Timeouts,
    /// Since when no stream is open.
    idle: Option<Instant>,
    /// Since when a request head is under way.
    head: Option<Instant>,
    client: Unread,
    origin: Writing,
    /// Until when first octets are waited for.
    first_octets: Option<Instant>,
    look: Option<Instant>,
    winding_down: Option<(Reason, Instant)>,
    line_drawn: bool,
}

impl Clocks {
    pub(super) fn new(now: Instant, timeouts: Timeouts) -> Self {
        Self {
            begun: now,
            timeouts,
            idle: Some(now),
            head: None,
            client: Unread::default(),
            origin: Writing::default(),
            first_octets: None,
            look: None,
            winding_down: None,
            line_drawn: false,
        }
    }

    pub(super) fn since_begun(&self, now: Instant) -> Duration {
        now - self.begun
    }

    /// How long a stream may stand still. `shut`: its client has no room for what the origin may have for it.
    pub(super) fn patience(&self, patient: bool, answered: bool, shut: bool) -> Duration {
        match (patient, answered, shut) {
            (true, ..) => self.timeouts.tunnel,
            (false, true, true) => self.timeouts.stall.min(self.timeouts.unread),
            (false, true, false) => self.timeouts.stall,
            (false, false, _) => self.timeouts.response_head,
        }
    }

    /// Whether so many octets of a request's body are too few after such a wait for them.
    pub(super) fn is_slow(&self, octets: u64, waited: Duration) -> bool {
        allowed(octets, &self.timeouts).is_some_and(|allowed| waited >= allowed)
    }

    /// Whether a request head is under way now. A head that was read ends the wait of the one before it.
    pub(super) fn head(&mut self, under_way: bool, now: Instant) {
        if !under_way {
            self.head = None;
        } else if self.head.is_none() {
            self.head = Some(now);
        }
    }

    pub(super) fn head_read(&mut self) {
        self.head = None;
    }

    pub(super) fn streams(&mut self, open: usize, now: Instant) {
        if open > 0 {
            self.idle = None;
            self.look.get_or_insert(now + look_every(&self.timeouts));
        } else {
            self.idle.get_or_insert(now);
            self.look = None;
        }
    }

    /// `written`: octets that the origin was sent so far, when there is more for it.
    pub(super) fn writing(&mut self, written: Option<u64>, now: Instant) {
        match written {
            None => self.origin.since = None,
            Some(written) if self.origin.since.is_none() || self.origin.written != written => {
                self.origin = Writing { written, since: Some(now) };
            }
            Some(_) => {}
        }
    }

    /// Whether something waits for the client.
    pub(super) fn unread(&mut self, waits: bool, now: Instant) {
        self.client.waits(now, waits);
    }

    /// Asks what the client `took` in all, where it is time to.
    pub(super) fn taken(&mut self, took: impl FnOnce() -> u64, now: Instant) -> Result<(), Slow> {
        self.client.look(now, took, &self.timeouts)
    }

    /// Until when the response that waits longest is held.
    pub(super) fn first_octets(&mut self, until: Option<Instant>) {
        self.first_octets = until;
    }

    /// `false` when the end was announced already.
    pub(super) fn wind_down(&mut self, now: Instant, reason: Reason) -> bool {
        let first = self.winding_down.is_none();
        self.winding_down.get_or_insert((reason, now + LAST_REQUESTS));
        first
    }

    pub(super) fn line_drawn(&mut self) {
        self.line_drawn = true;
    }

    pub(super) fn is_line_drawn(&self) -> bool {
        self.line_drawn
    }

    /// How a connection ends that is being wound down.
    pub(super) fn reason(&self) -> Option<Ended> {
        self.winding_down.map(|(reason, _)| match reason {
            Reason::Stop => Ended::Done,
            Reason::Idle => Ended::Idle,
        })
    }

    /// What ends next, and when.
    fn next(&self) -> Option<(Instant, Expired)> {
        let Timeouts { request_head, idle, stall, .. } = self.timeouts;
        let line = self.winding_down.filter(|_| !self.line_drawn).map(|(_, line)| line);
        let idle = self.idle.filter(|_| self.winding_down.is_none()).map(|since| since + idle);
        [
            (self.head.map(|since| since + request_head), Expired::SlowHead),
            (self.client.due(&self.timeouts), Expired::Taken),
            (self.origin.since.map(|since| since + stall), Expired::Unread),
            (idle, Expired::Idle),
            (self.first_octets, Expired::FirstOctets),
            (line, Expired::Line),
            (self.look, Expired::Look),
        ]
        .into_iter()
        .filter_map(|(at, what)| Some((at?, what)))
        .min_by_key(|(at, _)| *at)
    }

    pub(super) fn due(&self, now: Instant) -> Instant {
        self.next().map_or(now + LOOK, |(at, _)| at)
    }

    /// What has ended.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Expired> {
        let (_, what) = self.next().filter(|(at, _)| *at <= now)?;
        if what == Expired::Look {
            self.look = Some(now + look_every(&self.timeouts));
        }
        Some(what)
    }
}

fn look_every(timeouts: &Timeouts) -> Duration {
    LOOK.min(timeouts.stall.min(timeouts.unread).min(timeouts.body_grace) / 8)
}
