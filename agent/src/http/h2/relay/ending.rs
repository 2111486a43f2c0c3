//! How streams and connections end: each stream once, with what was passed of it.

use super::stream::{Flow, RequestState, ResponseState};
use super::{ConnectionError, Event, Outcome, Relay, Side};
use crate::http::h2::frame::{MAX_31, write};
use crate::http::h2::{ErrorCode, Refusal};

impl Relay {
    /// Closes a stream whose response has gone out, and whose request has too or is not wanted by the origin.
    pub(super) fn settle(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        let unwanted = stream.up.flow == Flow::Dropped;
        if !stream.down.passed_end || !(stream.up.passed_end || unwanted) {
            return;
        }
        if unwanted && !stream.up.ended {
            write::reset(id, ErrorCode::NO_ERROR, &mut self.client.out);
            self.remember_reset(Side::Client, id);
        }
        let early = &mut self.client.budgets.early_resets;
        *early = early.saturating_sub(1);
        self.close(id, Outcome::Complete);
    }

    /// Takes a stream out of the table.
    pub(super) fn close(&mut self, id: u32, outcome: Outcome) {
        self.drop_held(id);
        let Some(stream) = self.streams.remove(id) else { return };
        if matches!(outcome, Outcome::Complete | Outcome::Answered) {
            let over = &mut self.client.budgets.over;
            *over = (*over + 1).min(self.limits.remembered_resets);
        }
        if let ResponseState::Own { body, sent } = &stream.response {
            self.answer_bytes = self.answer_bytes.saturating_sub(body.len() - sent);
        }
        // Heads of it that were not handed over are of no use any more; their `Closed` would be the first heard of it.
        self.unopened.retain(|unopened| *unopened != id);
        let (to_origin, to_client) = (stream.up.passed, stream.down.passed);
        self.events.push_back(Event::Closed { stream: id, outcome, to_origin, to_client });
    }

    /// Drops what is held of a stream, and gives the credit back.
    pub(super) fn drop_held(&mut self, id: u32) {
        for from in [Side::Client, Side::Origin] {
            let Some(stream) = self.streams.get_mut(id) else { return };
            let held = std::mem::take(&mut stream.half(from).held);
            let peer = self.peer(from);
            for held in held {
                peer.held -= held.window();
                peer.held_memory = peer.held_memory.saturating_sub(held.memory());
            }
            self.rebalance(from);
        }
    }

    /// A side broke the rules of the connection: both are told, and every stream ends.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        self.failed = Some(error);
        let code = |side| if side == error.side { error.refusal.code() } else { ErrorCode::INTERNAL_ERROR };
        write::go_away(self.highest, code(Side::Client), &mut self.client.out);
        if self.preface_written {
            let code = if error.side == Side::Origin { error.refusal.code() } else { ErrorCode::NO_ERROR };
            write::go_away(0, code, &mut self.origin.out);
        }
        let open: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        for id in open {
            self.close(id, Outcome::Reset(Some(error.refusal)));
        }
    }

    /// The connection of `side` is gone: its end was read, or it cannot be written. Of the client every stream ends. Of
    /// the origin those end that were being passed; the others await an answer, and no further request is taken.
    pub fn lost(&mut self, side: Side) {
        if std::mem::replace(&mut self.peer(side).lost, true) || self.failed.is_some() {
            return;
        }
        self.peer(side).out.clear();
        let open: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        if side == Side::Client {
            for id in open {
                self.leave_origin(id, ErrorCode::CANCEL);
                self.close(id, Outcome::ResetBy(Side::Client, ErrorCode::CANCEL));
            }
            return;
        }
        if self.last_stream.is_none() {
            write::go_away(self.highest, ErrorCode::NO_ERROR, &mut self.client.out);
        }
        self.last_stream = Some(self.last_stream.map_or(self.highest, |last| last.min(self.highest)));
        for id in open {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            match stream.response {
                ResponseState::Own { .. } | ResponseState::Judging(false) => {}
                // All of the response is here.
                ResponseState::Judging(true) | ResponseState::Passing if stream.down.ended => {
                    stream.request = RequestState::Gone;
                    self.drop_flow(Side::Client, id);
                    self.settle(id);
                }
                ResponseState::Waiting => {
                    self.bad_response(id, Refusal::OriginLost);
                }
                ResponseState::Judging(true) | ResponseState::Passing => {
                    let code = Refusal::OriginLost.code();
                    self.reset_both(id, code, Outcome::Reset(Some(Refusal::OriginLost)));
                }
            }
        }
        self.unopened.clear();
        self.origin.out.clear();
        // Settings that the origin will not acknowledge count now.
        while self.settings_ack(Side::Origin).is_ok() {}
    }

    /// Asks the client to open no more streams, without refusing those under way (RFC 9113 section 6.8). A second call
    /// draws the line: what was opened until then is served, what comes later is refused.
    pub fn shut_down(&mut self, draw_line: bool) {
        if self.failed.is_some() {
            return;
        }
        let last = if draw_line { self.highest } else { MAX_31 };
        let last = self.last_stream.map_or(last, |before| before.min(last));
        if draw_line {
            self.last_stream = Some(last);
        }
        write::go_away(last, ErrorCode::NO_ERROR, &mut self.client.out);
    }

    /// Whether nothing is under way any more, and nothing waits to be written: after [`Relay::shut_down`] or a
    /// GOAWAY the connections can be closed.
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0
            && self.events.is_empty()
            && self.client.out.is_empty()
            && self.origin.out.is_empty()
    }

    /// Whether the client's next request would be refused.
    pub fn is_closing(&self) -> bool {
        self.last_stream.is_some() || self.failed.is_some() || self.origin.lost
    }

    /// Streams whose heads await a verdict.
    pub fn awaiting(&self) -> usize {
        let awaits = |stream: &&super::stream::Stream| {
            matches!(stream.request, RequestState::Judging(_))
                || matches!(stream.response, ResponseState::Judging(_))
        };
        self.streams.iter().filter(awaits).count()
    }
}
