//! Frames without content: windows, resets, pings, priorities, GOAWAY. Each is counted before it is passed on.

use std::time::Duration;

use super::stream::{RequestState, ResponseState};
use super::{Event, Outcome, Relay, Side};
use crate::http::h1::syntax::is_field_text;
use crate::http::h2::frame::{Fault, MAX_31, write};
use crate::http::h2::{ErrorCode, Refusal};

/// Longest value of a PRIORITY_UPDATE: an urgency, a flag, and room for parameters yet to come.
const MAX_PRIORITY_VALUE: usize = 256;

impl Relay {
    pub(super) fn window_update(
        &mut self,
        from: Side,
        id: u32,
        increment: u32,
        now: Duration,
    ) -> Result<(), Fault> {
        self.spend(from, now, Refusal::WindowFlood)?;
        let sender = from.other();
        if id == 0 {
            let peer = self.peer(from);
            peer.send += i64::from(increment);
            if peer.send > i64::from(MAX_31) {
                return Err(Refusal::WindowOverflow.into());
            }
            self.release_all(from);
            if from == Side::Client {
                self.pump_answers();
            }
            self.rebalance(sender);
            return Ok(());
        }
        if self.streams.get(id).is_none() {
            return self.late(from, id, now);
        }
        self.grow(sender, id, increment).map_err(|refusal| Fault::Stream(id, refusal))?;
        let highest_opened = self.highest_opened;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        match (from, &stream.request) {
            (Side::Client, RequestState::Judging(_) | RequestState::Approved(_)) => {
                stream.early_grant = stream.early_grant.saturating_add(increment).min(MAX_31);
            }
            (Side::Client, RequestState::Open) if !stream.down.ended => {
                write::window_update(id, increment, &mut self.origin.out);
            }
            (Side::Client, _) => {}
            (Side::Origin, RequestState::Open) if !stream.up.ended => {
                write::window_update(id, increment, &mut self.client.out);
            }
            (Side::Origin, _) if id > highest_opened => return Err(Refusal::StreamIdle.into()),
            (Side::Origin, _) => {}
        }
        if from == Side::Client && self.streams.get(id).is_some_and(super::stream::Stream::is_own) {
            self.pump_answers();
        }
        Ok(())
    }

    /// A frame that may come late on a stream that is over.
    fn late(&mut self, from: Side, id: u32, now: Duration) -> Result<(), Fault> {
        match self.unknown(from, id) {
            Err(Refusal::StreamIdle) => Err(Refusal::StreamIdle.into()),
            Ok(()) => Ok(()),
            // Its sender may not know yet that the stream is over.
            Err(_) => self.spend(from, now, Refusal::WindowFlood),
        }
    }

    pub(super) fn reset_by(
        &mut self,
        from: Side,
        id: u32,
        code: ErrorCode,
        now: Duration,
    ) -> Result<(), Fault> {
        let limits = self.limits;
        if from == Side::Client && self.streams.get(id).is_none() && self.client.budgets.over > 0 {
            // libcurl 7.88 resets every stream once more when its response is whole. Each such end explains one.
            self.client.budgets.over -= 1;
            return match self.unknown(from, id) {
                Err(Refusal::StreamIdle) => Err(Refusal::StreamIdle.into()),
                _ => Ok(()),
            };
        }
        self.spend(from, now, Refusal::ResetFlood)?;
        let budgets = &mut self.peer(from).budgets;
        budgets.all_resets += 1;
        if budgets.all_resets > limits.resets {
            return Err(Refusal::ResetFlood.into());
        }
        let highest_opened = self.highest_opened;
        let Some(stream) = self.streams.get(id) else { return self.late(from, id, now) };
        if from == Side::Origin && !stream.is_open() {
            // We left the stream before; its origin has heard of it, or never had.
            return if id > highest_opened { Err(Refusal::StreamIdle.into()) } else { Ok(()) };
        }
        let unanswered = matches!(stream.response, ResponseState::Waiting | ResponseState::Judging(_));
        let answer_whole = stream.down.ended && !stream.down.passed_end;
        if from == Side::Origin && code == ErrorCode::NO_ERROR && answer_whole {
            // The rest of the request is not wanted; the response, which is held, counts (RFC 9113 section 8.1).
            if let Some(stream) = self.streams.get_mut(id) {
                stream.request = RequestState::Gone;
            }
            self.drop_flow(Side::Client, id);
            return Ok(());
        }
        if from == Side::Client && unanswered {
            let early = &mut self.client.budgets.early_resets;
            *early += 1;
            if *early > limits.early_resets {
                return Err(Refusal::RapidReset.into());
            }
        }
        match from {
            Side::Client => self.leave_origin(id, code),
            Side::Origin => {
                write::reset(id, code, &mut self.client.out);
                self.remember_reset(Side::Client, id);
            }
        }
        self.close(id, Outcome::ResetBy(from, code));
        self.open_next();
        Ok(())
    }

    /// `from` broke a rule on a stream: it ends on both sides, and costs the one that did it (CVE-2025-8671).
    pub(super) fn stream_error(
        &mut self,
        from: Side,
        id: u32,
        refusal: Refusal,
        now: Duration,
    ) -> Result<(), Refusal> {
        let limits = self.limits;
        let budgets = &mut self.peer(from).budgets;
        budgets.made_resets += 1;
        if budgets.made_resets > limits.made_resets {
            return Err(Refusal::MadeReset);
        }
        if let Err(Fault::Connection(flood)) = self.spend(from, now, Refusal::GlitchFlood) {
            return Err(flood);
        }
        if self.streams.get(id).is_none() {
            // A malformed frame on a stream that is over, or never was.
            return match self.unknown(from, id) {
                // A stream that was never opened cannot be reset.
                Err(Refusal::StreamIdle) => Err(refusal),
                _ => Ok(()),
            };
        }
        // Where the client has seen nothing of a response yet, it may get an answer instead.
        let unanswered = self.streams.get(id).is_some_and(|stream| {
            stream.is_open() && matches!(stream.response, ResponseState::Waiting | ResponseState::Judging(_))
        });
        if from == Side::Origin && unanswered {
            self.bad_response(id, refusal);
            return Ok(());
        }
        self.reset_both(id, refusal.code(), Outcome::Refused(from, refusal));
        Ok(())
    }

    /// Pings go from end to end: clients measure their round trip by them. The other end being lost, we answer.
    pub(super) fn ping(
        &mut self,
        from: Side,
        ack: bool,
        opaque: [u8; 8],
        now: Duration,
    ) -> Result<(), Fault> {
        if ack {
            let peer = self.peer(from);
            let Some(left) = peer.pings.checked_sub(1) else {
                return self.spend(from, now, Refusal::GlitchFlood);
            };
            peer.pings = left;
            write::ping(true, opaque, &mut self.peer(from.other()).out);
            return Ok(());
        }
        self.spend(from, now, Refusal::PingFlood)?;
        let most = self.limits.pings;
        let to = self.peer(from.other());
        if to.lost {
            write::ping(true, opaque, &mut self.peer(from).out);
            return Ok(());
        }
        to.pings += 1;
        if to.pings > most {
            return Err(Refusal::PingFlood.into());
        }
        write::ping(false, opaque, &mut to.out);
        Ok(())
    }

    pub(super) fn go_away(
        &mut self,
        from: Side,
        last: u32,
        code: ErrorCode,
        now: Duration,
    ) -> Result<(), Fault> {
        self.spend(from, now, Refusal::GlitchFlood)?;
        self.events.push_back(Event::GoAway { from, code });
        if from == Side::Client {
            // What it says is about pushed streams, of which there are none.
            write::go_away(0, code, &mut self.origin.out);
            return Ok(());
        }
        let last = self.last_stream.map_or(last, |before| before.min(last));
        self.last_stream = Some(last);
        write::go_away(last, code, &mut self.client.out);
        // The origin will not answer these; the client may ask for them again elsewhere.
        let beyond: Vec<u32> =
            self.streams.iter().filter(|s| s.id > last && !s.is_own()).map(|s| s.id).collect();
        for id in beyond {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.request = RequestState::Gone;
            }
            self.remember_reset(Side::Origin, id);
            self.reset_both(id, ErrorCode::REFUSED_STREAM, Outcome::Reset(None));
        }
        Ok(())
    }

    pub(super) fn priority(
        &mut self,
        from: Side,
        id: u32,
        priority: [u8; 5],
        now: Duration,
    ) -> Result<(), Fault> {
        self.spend(from, now, Refusal::PriorityFlood)?;
        // Origins have nothing to say about it, and a stream of the client's may stand in its tree before it is open.
        if from == Side::Client && !id.is_multiple_of(2) && !self.origin.lost {
            write::priority(id, priority, &mut self.origin.out);
        }
        Ok(())
    }

    pub(super) fn priority_update(
        &mut self,
        from: Side,
        id: u32,
        value: &[u8],
        now: Duration,
    ) -> Result<(), Fault> {
        self.spend(from, now, Refusal::PriorityFlood)?;
        if from == Side::Origin || id == 0 || id.is_multiple_of(2) || !is_field_text(value) {
            return Err(Refusal::PriorityUpdate.into());
        }
        if value.len() <= MAX_PRIORITY_VALUE && !self.origin.lost {
            write::priority_update(id, value, &mut self.origin.out);
        }
        Ok(())
    }
}
