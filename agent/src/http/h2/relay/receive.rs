//! One step over the input of a side: frames in their order, each to whom it concerns.

use std::time::Duration;

use super::budget::Rate;
use super::data::{self, Turn};
use super::{ConnectionError, Relay, Side, Step};
use crate::http::h2::Refusal;
use crate::http::h2::frame::{self, Fault, Frame, FrameHeader, HEADER_LEN, MAX_PAYLOAD, PREFACE};

impl Relay {
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
                // What was sent before the fault goes on first; the next call meets it again.
                Err(_) if !step.forward.is_empty() => break,
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
            Frame::GoAway { last, code } => self.go_away(from, last, code, now),
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

    /// Takes one from the budget that `flood` is about.
    pub(super) fn spend(&mut self, side: Side, now: Duration, flood: Refusal) -> Result<(), Fault> {
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
