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
mod settings;
mod stream;
mod verdict;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::frame::{
    self, Fault, Frame, FrameHeader, HEADER_LEN, MAX_PAYLOAD, PREFACE, settings as setting, write,
};
use super::hpack::FieldList;
use super::{ErrorCode, Limits, Refusal};
use crate::http::head::{RequestHead, ResponseHead};
use budget::Rate;
use data::Turn;
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
    /// The relay reset it: for an error of one side, or as the shell wished.
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

    /// Takes what `from` has sent: as many frames as lead to nothing, one that leads to events, or a row of frames to
    /// forward. With the rest of the input, and more behind it, it is called again. Asks [`Relay::next_event`] to be
    /// called. `now` is the time since any fixed moment, never going back.
    pub fn receive(&mut self, from: Side, input: &[u8], now: Duration) -> Result<Step, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut step = Step::default();
        while self.events.is_empty() {
            let rest = input.get(step.consumed..).unwrap_or_default();
            let taken = match self.frame(from, rest, &mut step, now) {
                Ok(taken) => taken,
                Err(refusal) => {
                    let error = ConnectionError { side: from, refusal };
                    self.fail(error);
                    return Err(error);
                }
            };
            if taken == 0 {
                break;
            }
            step.consumed += taken;
        }
        Ok(step)
    }

    /// One frame. Returns the octets it took; 0 when there is no whole one, or it must wait.
    fn frame(&mut self, from: Side, input: &[u8], step: &mut Step, now: Duration) -> Result<usize, Refusal> {
        if from == Side::Client && !self.preface_read {
            let begun = input.get(..PREFACE.len()).unwrap_or(input);
            if !PREFACE.starts_with(begun) {
                return Err(Refusal::Preface);
            }
            self.preface_read = begun.len() == PREFACE.len();
            return Ok(if self.preface_read { begun.len() } else { 0 });
        }
        let Some(header) = FrameHeader::parse(input) else { return Ok(0) };
        if header.len > MAX_PAYLOAD {
            return Err(Refusal::FrameTooLarge);
        }
        let size = HEADER_LEN + header.len;
        let Some(whole) = input.get(..size) else { return Ok(0) };
        let forwarding = !step.forward.is_empty();
        if forwarding && header.kind != frame::kind::DATA {
            return Ok(0);
        }
        if self.is_full() {
            step.waits = !forwarding;
            return Ok(0);
        }
        let parsed = frame::parse(header, whole.get(HEADER_LEN..).unwrap_or_default());
        self.check_order(from, header, parsed)?;
        match parsed {
            Ok(Frame::Data { stream, content, end }) => {
                match self.data(from, data::Data { header, stream, content, end, whole }, forwarding, now) {
                    Ok(Turn::Forward) => {
                        let start = if forwarding { step.forward.start } else { step.consumed };
                        step.forward = start..step.consumed + size;
                    }
                    Ok(Turn::ForwardPayload) => {
                        step.forward = step.consumed + HEADER_LEN..step.consumed + size;
                        step.consumed += size;
                        return Ok(0);
                    }
                    Ok(Turn::Done) => {}
                    Ok(Turn::Flush) => return Ok(0),
                    Ok(Turn::Wait) => {
                        step.waits = !forwarding;
                        return Ok(0);
                    }
                    Err(Fault::Connection(refusal)) => return Err(refusal),
                    Err(Fault::Stream(_, _)) if forwarding => return Ok(0),
                    Err(Fault::Stream(stream, refusal)) => {
                        self.count_data(from, header.len);
                        self.stream_error(from, stream, refusal, now)?;
                        self.rebalance(from);
                    }
                }
            }
            Ok(frame) => match self.other_frame(from, frame, now) {
                Ok(()) => {}
                Err(Fault::Connection(refusal)) => return Err(refusal),
                Err(Fault::Stream(stream, refusal)) => self.stream_error(from, stream, refusal, now)?,
            },
            Err(Fault::Connection(refusal)) => return Err(refusal),
            Err(Fault::Stream(stream, refusal)) => self.stream_error(from, stream, refusal, now)?,
        }
        Ok(size)
    }

    /// SETTINGS come first, and nothing comes between the frames of a header block.
    fn check_order(
        &self,
        from: Side,
        header: FrameHeader,
        parsed: Result<Frame<'_>, Fault>,
    ) -> Result<(), Refusal> {
        let peer = self.peer_ref(from);
        if !peer.greeted && header.kind == frame::kind::SETTINGS {
            return if matches!(parsed, Ok(Frame::SettingsAck)) { Err(Refusal::Preface) } else { Ok(()) };
        }
        if !peer.greeted {
            return Err(Refusal::Preface);
        }
        match &peer.block {
            Some(block) if header.kind != frame::kind::CONTINUATION || header.stream != block.stream => {
                Err(Refusal::HeaderBlockTorn)
            }
            None if header.kind == frame::kind::CONTINUATION => Err(Refusal::Continuation),
            _ => Ok(()),
        }
    }

    fn other_frame(&mut self, from: Side, frame: Frame<'_>, now: Duration) -> Result<(), Fault> {
        match frame {
            Frame::Headers { stream, fragment, end, complete, priority } => {
                self.headers(from, stream, fragment, end, complete, priority, now)
            }
            Frame::Continuation { fragment, complete, .. } => {
                self.continuation(from, fragment, complete, now)
            }
            Frame::Settings(payload) => self.settings(from, payload, now),
            Frame::SettingsAck => self.settings_ack(from),
            Frame::WindowUpdate { stream, increment } => self.window_update(from, stream, increment, now),
            Frame::Reset { stream, code } => self.reset_by(from, stream, code, now),
            Frame::Ping { ack, opaque } => self.ping(from, ack, opaque, now),
            Frame::GoAway { last, code } => self.go_away(from, last, code),
            Frame::Priority { stream, priority } => self.priority(from, stream, priority, now),
            Frame::PriorityUpdate { stream, value } => self.priority_update(from, stream, value, now),
            Frame::PushPromise => Err(Refusal::Push.into()),
            Frame::Unknown => self.spend(from, now, Refusal::PriorityFlood),
            // Taken before this is asked.
            Frame::Data { .. } => Ok(()),
        }
    }

    /// Whether so much waits to be written that nothing more is read.
    fn is_full(&self) -> bool {
        self.client.out.len().max(self.origin.out.len()) > self.limits.output
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

    /// Takes one from the budget that `flood` is about.
    fn spend(&mut self, side: Side, now: Duration, flood: Refusal) -> Result<(), Fault> {
        let limits = self.limits;
        let budgets = &mut self.peer(side).budgets;
        let (rate, per_second): (&mut Rate, u32) = match flood {
            Refusal::ResetFlood => (&mut budgets.resets, limits.resets_per_second),
            Refusal::PingFlood => (&mut budgets.pings, limits.pings_per_second),
            Refusal::SettingsFlood => (&mut budgets.settings, limits.settings_per_second),
            Refusal::EmptyFlood => (&mut budgets.empty, limits.empty_per_second),
            Refusal::WindowFlood => (&mut budgets.windows, limits.windows_per_second),
            Refusal::PriorityFlood => (&mut budgets.priorities, limits.priorities_per_second),
            _ => (&mut budgets.glitches, limits.glitches_per_second),
        };
        if rate.take(now, per_second) { Ok(()) } else { Err(Fault::Connection(flood)) }
    }
}
