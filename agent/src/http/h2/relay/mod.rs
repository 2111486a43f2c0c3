//! The relay between a client's and an origin's connection: frames of either side in; frames to forward, bytes to
//! write and events out.
//!
//! Stream numbers are the same on both sides, and so are the windows: what one side grants is granted to the other. The
//! relay departs from that in one place only, where it answers a stream itself. One rule keeps both connection windows
//! exact then: the credit that a side has, together with what is held of its frames, never exceeds the other side's
//! window ([`Relay::rebalance`]). What our own bodies take from the client's window is withheld from the origin until
//! the client gives it back; what the origin sent on a stream that was reset is given back to it at once.
//!
//! SETTINGS, their acknowledgements and pings travel from end to end, in their order among DATA: a smaller window counts
//! for the relay when it counts for both ends.

mod answers;
mod budget;
mod control;
mod data;
mod ending;
mod headers;
mod peer;
mod receive;
mod settings;
mod stream;
mod verdict;

use std::collections::VecDeque;
use std::ops::Range;

use super::frame::{self, settings as setting, write};
use super::hpack::FieldList;
use super::{ErrorCode, Limits, Refusal};
use crate::http::head::{RequestHead, ResponseHead};
use peer::{Peer, Unacked};
use stream::Streams;

/// One of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Origin,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Origin,
            Self::Origin => Self::Client,
        }
    }
}

/// What a call of [`Relay::receive`] came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Octets of the input that are done with, once those of `forward` are written.
    pub consumed: usize,
    /// Octets of the input that go to the other side as they are, behind its [`Relay::output`]. Whole frames.
    pub forward: Range<usize>,
    /// The rest of the input is left although it holds a frame: a bound is reached. Call again when output was written
    /// or a verdict was given.
    pub waits: bool,
}

/// What the shell has to know or to decide. Every stream that an event names ends in one [`Event::Closed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request awaits [`Relay::pass_request`], [`Relay::answer`] or [`Relay::reset`]. `end`: it has no body.
    Request { stream: u32, head: RequestHead, end: bool, websocket: bool },
    /// A request that cannot be passed awaits `answer` or `reset`.
    BadRequest { stream: u32, refusal: Refusal },
    /// An interim response awaits [`Relay::pass_interim`]; without it the client does not get it.
    Interim { stream: u32, head: ResponseHead },
    /// A final response awaits [`Relay::pass_response`], `answer` or `reset`. Nothing of its body has gone out.
    Response { stream: u32, head: ResponseHead, end: bool },
    /// The origin's response cannot be passed, or will not come; the client awaits `answer` or `reset`.
    BadResponse { stream: u32, refusal: Refusal },
    /// A stream is over. The octets of the bodies that were passed on, our own included.
    Closed { stream: u32, outcome: Outcome, to_origin: u64, to_client: u64 },
    /// One side takes no more streams, or is about to close.
    GoAway { from: Side, code: ErrorCode },
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Both sides ended it.
    Complete,
    /// The client has the whole of our own answer.
    Answered,
    /// A side reset it, or was lost.
    ResetBy(Side, ErrorCode),
    /// This side broke a rule on it.
    Refused(Side, Refusal),
    /// The relay reset it: the connection failed, or as the shell wished.
    Reset(Option<Refusal>),
}

/// The connections cannot go on: what is in both outputs is still to be written, then they are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionError {
    /// Whose fault it is.
    pub side: Side,
    pub refusal: Refusal,
}

/// See the module.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    client: Peer,
    origin: Peer,
    streams: Streams,
    /// Highest stream the client opened, and the highest one that the origin was told of.
    highest: u32,
    highest_opened: u32,
    /// Streams the origin does not know yet, in their order.
    unopened: VecDeque<u32>,
    /// Streams whose answers of ours are not written to their end, in the order of their turns.
    answering: VecDeque<u32>,
    /// Octets of those answers.
    answer_bytes: usize,
    events: VecDeque<Event>,
    list: FieldList,
    preface_read: bool,
    preface_written: bool,
    /// Streams above it are not taken: the origin's GOAWAY, or our own.
    last_stream: Option<u32>,
    failed: Option<ConnectionError>,
}

impl Relay {
    /// The client's SETTINGS of ours are in its output at once.
    pub fn new(limits: Limits) -> Self {
        let mut client = Peer::new(&limits, false);
        let list = u32::try_from(limits.header_list).unwrap_or(u32::MAX);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.concurrent_streams),
            (setting::MAX_HEADER_LIST_SIZE, list),
        ];
        write::settings(settings, &mut client.out);
        client.unacked.push_back(Unacked::Own);
        Self {
            limits,
            client,
            // The way to the origin is a real network, the one to the client often is not: there the shorter strings
            // are not worth the time of both ends.
            origin: Peer::new(&limits, true),
            streams: Streams::default(),
            highest: 0,
            highest_opened: 0,
            unopened: VecDeque::new(),
            answering: VecDeque::new(),
            answer_bytes: 0,
            events: VecDeque::new(),
            list: FieldList::new(),
            preface_read: false,
            preface_written: false,
            last_stream: None,
            failed: None,
        }
    }

    /// Bytes to be written to `side`, before anything that is forwarded to it afterwards. The shell takes them out.
    pub fn output(&mut self, side: Side) -> &mut Vec<u8> {
        &mut self.peer(side).out
    }

    /// What happened, oldest first. To be asked after every call that says so.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Number of streams that are not over.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Octets of the bodies of an open stream that were passed on so far, to the origin and to the client.
    pub fn passed(&self, id: u32) -> Option<(u64, u64)> {
        self.streams.get(id).map(|stream| (stream.up.passed, stream.down.passed))
    }

    /// Whether a client has no room for the body of a response: in the window of its stream, in the one of the connection.
    /// What is held of it for want of room in the latter counts for the former.
    pub fn is_shut(&self, id: u32) -> (bool, bool) {
        let (least, _) = self.initial_windows(Side::Client);
        let stream = self.streams.get(id).is_some_and(|stream| {
            let down = &stream.down;
            down.credit + i64::from(least) <= 0 || down.flow == stream::Flow::Passing && !down.held.is_empty()
        });
        (stream, self.client.send <= 0)
    }

    /// Whether the body of a request is under way and nothing but the client keeps the rest of it back.
    pub fn is_uploading(&self, id: u32) -> bool {
        let (least, _) = self.initial_windows(Side::Origin);
        self.streams.get(id).is_some_and(|stream| {
            let up = &stream.up;
            let room = up.credit + i64::from(least) > 0 && self.origin.send > 0;
            stream.is_open() && !up.ended && up.flow == stream::Flow::Passing && up.held.is_empty() && room
        })
    }

    /// How many octets of the body that `side` sends are held for the verdict on its head, and whether they are all of it.
    /// `None` for a stream that is over.
    pub fn held(&self, side: Side, id: u32) -> Option<(usize, bool)> {
        let half = self.streams.get(id)?.half_ref(side);
        Some((usize::try_from(half.content).unwrap_or(usize::MAX), half.ended))
    }

    /// Whether no more of the body that `side` sends can come before its head is passed on: its window is used up, or the
    /// one of the connection, by what is held.
    pub fn is_spent(&self, side: Side, id: u32) -> bool {
        let (_, most) = self.initial_windows(side.other());
        let peer = self.peer_ref(side);
        let is_full = |stream: &stream::Stream| stream.half_ref(side).room(most) <= 0;
        peer.granted <= 0 && peer.held > 0 || self.streams.get(id).is_none_or(is_full)
    }

    /// A copy of the beginning of what is held, at most `most` octets.
    pub fn held_start(&self, side: Side, id: u32, most: usize) -> Vec<u8> {
        let held = self.streams.get(id).into_iter().flat_map(|stream| &stream.half_ref(side).held);
        let mut start = Vec::new();
        for held in held {
            let stream::Held::Data { frame, .. } = held else { break };
            let octets = frame::content(frame);
            let room = most.saturating_sub(start.len()).min(octets.len());
            start.extend_from_slice(octets.get(..room).unwrap_or_default());
        }
        start
    }

    /// Whether a header block of `side` has begun and not ended.
    pub fn is_in_head(&self, side: Side) -> bool {
        self.peer_ref(side).block.is_some()
    }

    fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.client,
            Side::Origin => &mut self.origin,
        }
    }

    fn peer_ref(&self, side: Side) -> &Peer {
        match side {
            Side::Client => &self.client,
            Side::Origin => &self.origin,
        }
    }

    /// Gives `of` what it may have: the other side's window, less what is held and what `of` has already.
    fn rebalance(&mut self, of: Side) {
        let room = self.peer_ref(of.other()).send;
        let ready = of == Side::Client || self.preface_written;
        let peer = self.peer(of);
        if ready && !peer.lost {
            peer.grant(room - peer.held - peer.granted);
        }
    }
}
