//! Bodies of our own: written as the client's windows allow, in turns, without touching what the origin may send.

use super::stream::ResponseState;
use super::{Outcome, Relay, Side};
use crate::http::h2::ErrorCode;
use crate::http::h2::frame::{MAX_PAYLOAD, flag, kind, write};

impl Relay {
    /// Writes what the windows have room for. Called when an answer was given, or a window of the client has grown.
    pub(super) fn pump_answers(&mut self) {
        let mut stuck = 0;
        while stuck < self.answering.len() {
            let Some(id) = self.answering.pop_front() else { return };
            match self.pump(id) {
                Pumped::Done => {}
                Pumped::Some => {
                    stuck = 0;
                    self.answering.push_back(id);
                }
                Pumped::Nothing => {
                    stuck += 1;
                    self.answering.push_back(id);
                }
            }
        }
    }

    /// One frame of one answer.
    fn pump(&mut self, id: u32) -> Pumped {
        let (initial, _) = self.initial_windows(Side::Client);
        // What the origin may send at once more than the client takes: its data would have to wait for our body.
        let gap = self.origin.granted + self.origin.held - self.client.send;
        let gap_room = if self.origin.lost { i64::MAX } else { i64::from(self.limits.answer_gap) - gap };
        let Some(stream) = self.streams.get_mut(id) else { return Pumped::Done };
        let stream_room = i64::from(initial) + stream.down.credit;
        let ResponseState::Own { body, sent } = &mut stream.response else { return Pumped::Done };
        let rest = body.get(*sent..).unwrap_or_default();
        let room = stream_room.min(self.client.send).min(gap_room);
        let len = usize::try_from(room).unwrap_or(0).min(rest.len()).min(MAX_PAYLOAD);
        let ended = len == rest.len();
        if let Some(piece) = rest.get(..len).filter(|piece| !piece.is_empty()) {
            let flags = if ended { flag::END_STREAM } else { 0 };
            write::header(len, kind::DATA, flags, id, &mut self.client.out);
            self.client.out.extend_from_slice(piece);
            *sent += len;
            let len_window = i64::try_from(len).unwrap_or(0);
            stream.down.credit -= len_window;
            stream.down.passed += len as u64;
            self.client.send -= len_window;
            self.answer_bytes = self.answer_bytes.saturating_sub(len);
            let budgets = &mut self.client.budgets;
            budgets.windows.earn(u32::try_from(len / 1024 + 2).unwrap_or(0));
        } else if !ended {
            return Pumped::Nothing;
        }
        if ended {
            self.end_answer(id);
            return Pumped::Done;
        }
        Pumped::Some
    }

    /// The client has all of our answer. Of a request that is still under way it is told that nobody reads on.
    fn end_answer(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|stream| !stream.up.ended) {
            write::reset(id, ErrorCode::NO_ERROR, &mut self.client.out);
            self.remember_reset(Side::Client, id);
        }
        self.close(id, Outcome::Answered);
    }
}

enum Pumped {
    Done,
    Some,
    Nothing,
}
