//! DATA: judged by its head, counted for the windows, forwarded as it lies, held or dropped.

use std::time::Duration;

use super::stream::{Flow, Held};
use super::{Outcome, Relay, Side};
use crate::http::h2::emit;
use crate::http::h2::frame::{Fault, FrameHeader, HEADER_LEN, MAX_31, flag, kind, write};
use crate::http::h2::{ErrorCode, Refusal};

/// WINDOW_UPDATE frames that one octet of DATA explains: one per KiB, and two per frame.
const OCTETS_PER_WINDOW_UPDATE: usize = 1024;

/// A DATA frame.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) header: FrameHeader,
    pub(super) stream: u32,
    pub(super) content: usize,
    pub(super) end: bool,
    pub(super) whole: &'a [u8],
}

/// What becomes of a DATA frame.
pub(super) enum Turn {
    /// It goes on as it is.
    Forward,
    /// Its payload goes on behind a header that was written anew.
    ForwardPayload,
    Done,
    /// What is to be forwarded goes first; then it is asked again.
    Flush,
    /// It cannot be taken now.
    Wait,
}

/// The same before anything has changed.
enum Plan {
    Forward,
    Hold,
    Drop,
    Wait,
}

impl Relay {
    pub(super) fn data(
        &mut self,
        from: Side,
        data: Data<'_>,
        forwarding: bool,
        now: Duration,
    ) -> Result<Turn, Fault> {
        let plan = self.plan(from, &data)?;
        if matches!(plan, Plan::Wait) {
            return Ok(Turn::Wait);
        }
        // What is forwarded is one row of whole frames: whatever is not, ends the row.
        if forwarding && !(matches!(plan, Plan::Forward) && data.header.plain) {
            return Ok(Turn::Flush);
        }
        if data.content == 0 && !data.end {
            self.spend(from, now, Refusal::EmptyFlood)?;
        }
        self.count_data(from, data.header.len);
        match plan {
            Plan::Forward => {
                let plain = data.header.plain;
                if !plain {
                    rewrite_header(&data, &mut self.peer(from.other()).out);
                }
                self.count_forwarded(from, data.stream, data.header.len, data.content, data.end, true);
                self.settle(data.stream);
                Ok(if plain { Turn::Forward } else { Turn::ForwardPayload })
            }
            Plan::Hold => {
                self.hold(from, &data);
                Ok(Turn::Done)
            }
            Plan::Drop | Plan::Wait => {
                let len = window_len(data.header.len);
                if let Some(stream) = self.streams.get_mut(data.stream) {
                    let half = stream.half(from);
                    half.ended |= data.end;
                    half.room = half.room.map(|room| room - len);
                }
                self.peer(from).take_room_on(data.stream, len, data.end);
                self.rebalance(from);
                Ok(Turn::Done)
            }
        }
    }

    /// Decides without changing anything.
    fn plan(&self, from: Side, data: &Data<'_>) -> Result<Plan, Fault> {
        let len = window_len(data.header.len);
        let peer = self.peer_ref(from);
        if len > peer.granted {
            return Err(Refusal::WindowExceeded.into());
        }
        let Some(stream) = self.streams.get(data.stream) else {
            self.unknown(from, data.stream)?;
            return dropped(peer.room_on(data.stream).unwrap_or_default(), len);
        };
        let stream_fault = |refusal| Err(Fault::Stream(data.stream, refusal));
        let half = stream.half_ref(from);
        if from == Side::Origin && !stream.is_open() {
            if data.stream > self.highest_opened {
                return Err(Refusal::StreamIdle.into());
            }
            return dropped(if half.ended { -1 } else { half.room.unwrap_or_default() }, len);
        }
        if half.ended {
            return stream_fault(Refusal::StreamClosed);
        }
        if from == Side::Origin && matches!(stream.response, super::stream::ResponseState::Waiting) {
            return stream_fault(Refusal::NoHead);
        }
        if half.flow == Flow::Dropped {
            return dropped(half.room.unwrap_or_default(), len);
        }
        if !half.fits(data.content, data.end) {
            return stream_fault(Refusal::ContentLength);
        }
        if len > half.room(self.initial_windows(from.other()).1) {
            return stream_fault(Refusal::WindowExceeded);
        }
        let fits_window = len <= self.peer_ref(from.other()).send;
        if half.flow == Flow::Passing && half.held.is_empty() && fits_window {
            return Ok(Plan::Forward);
        }
        let full = peer.held_memory + data.whole.len() + 64 > self.limits.held;
        Ok(if full { Plan::Wait } else { Plan::Hold })
    }

    /// A frame of `from` on a stream that is not in the table: fine if it was reset, else an error.
    pub(super) fn unknown(&self, from: Side, stream: u32) -> Result<(), Refusal> {
        let highest = if from == Side::Client { self.highest } else { self.highest_opened };
        if stream > highest || stream.is_multiple_of(2) {
            return Err(Refusal::StreamIdle);
        }
        if self.peer_ref(from).room_on(stream).is_some() { Ok(()) } else { Err(Refusal::StreamClosed) }
    }

    /// What `from` may still send on a stream until it is granted more. Of one that was never taken in, all of the window.
    fn room(&self, from: Side, id: u32) -> i64 {
        let (_, most) = self.initial_windows(from.other());
        self.streams.get(id).map_or(i64::from(most), |stream| stream.half_ref(from).room(most))
    }

    /// From here on what `from` sends on a stream goes nowhere.
    pub(super) fn drop_flow(&mut self, from: Side, id: u32) {
        let room = self.room(from, id);
        if let Some(stream) = self.streams.get_mut(id) {
            let half = stream.half(from);
            (half.flow, half.room) = (Flow::Dropped, Some(room));
        }
    }

    /// A stream is over by a reset, of which `side` may hear only after it has sent what its window allows.
    pub(super) fn remember_reset(&mut self, side: Side, id: u32) {
        let limits = self.limits;
        let ended = self.streams.get(id).is_some_and(|stream| stream.half_ref(side).ended);
        let room = if ended { -1 } else { self.room(side, id) };
        self.peer(side).remember_reset(id, room, &limits);
    }

    /// The octets have arrived, whatever becomes of them.
    pub(super) fn count_data(&mut self, from: Side, len: usize) {
        self.peer(from).granted -= window_len(len);
    }

    /// The octets go to the other side; `direct`: they were not held before.
    fn count_forwarded(&mut self, from: Side, id: u32, len: usize, content: usize, end: bool, direct: bool) {
        let to = self.peer(from.other());
        to.send -= window_len(len);
        let explained = content / OCTETS_PER_WINDOW_UPDATE + 2;
        to.budgets.windows.earn(u32::try_from(explained).unwrap_or(0));
        to.budgets.pings.earn(1);
        if let Some(stream) = self.streams.get_mut(id) {
            let half = stream.half(from);
            half.credit -= window_len(len);
            half.passed += content as u64;
            half.passed_end |= end;
            if direct {
                half.content += content as u64;
                half.ended |= end;
            }
        }
    }

    fn hold(&mut self, from: Side, data: &Data<'_>) {
        let Some(stream) = self.streams.get_mut(data.stream) else { return };
        let mut frame = Vec::with_capacity(data.whole.len());
        rewrite_header(data, &mut frame);
        frame.extend_from_slice(data.whole.get(HEADER_LEN..).unwrap_or_default());
        let held = Held::Data { frame, content: data.content, end: data.end };
        let half = stream.half(from);
        half.content += data.content as u64;
        half.ended |= data.end;
        let (window, memory) = (held.window(), held.memory());
        half.held.push_back(held);
        let peer = self.peer(from);
        peer.held += window;
        peer.held_memory += memory;
    }

    /// Passes on what is held of `from` on a stream, as far as the window of the other connection reaches.
    pub(super) fn release(&mut self, from: Side, id: u32) -> Result<(), Refusal> {
        loop {
            let room = self.peer_ref(from.other()).send;
            let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
            let half = stream.half(from);
            if half.flow != Flow::Passing || half.held.front().is_none_or(|held| held.window() > room) {
                break;
            }
            let Some(held) = half.held.pop_front() else { break };
            let peer = self.peer(from);
            peer.held -= held.window();
            peer.held_memory = peer.held_memory.saturating_sub(held.memory());
            match held {
                Held::Data { frame, content, end } => {
                    self.peer(from.other()).out.extend_from_slice(&frame);
                    self.count_forwarded(from, id, frame.len() - HEADER_LEN, content, end, false);
                }
                Held::Trailers(fields) => {
                    let to = self.peer(from.other());
                    emit::write_trailers(&fields, id, &mut to.encoder, &mut to.out)?;
                    if let Some(stream) = self.streams.get_mut(id) {
                        stream.half(from).passed_end = true;
                    }
                }
            }
        }
        self.settle(id);
        Ok(())
    }

    /// After the window of `to` has grown: what waited for it goes on.
    pub(super) fn release_all(&mut self, to: Side) {
        let from = to.other();
        if self.peer_ref(from).held_memory == 0 {
            return;
        }
        let waiting: Vec<u32> = self
            .streams
            .iter()
            .filter(|stream| !stream.half_ref(from).held.is_empty())
            .map(|stream| stream.id)
            .collect();
        for id in waiting {
            if let Err(refusal) = self.release(from, id) {
                self.reset_both(id, ErrorCode::INTERNAL_ERROR, Outcome::Reset(Some(refusal)));
            }
        }
    }

    /// Least and most of the initial windows of `receiver` that can be in force: of those it has sent, we do not know
    /// which ones the sender of its data goes by, until it acknowledges them.
    pub(super) fn initial_windows(&self, receiver: Side) -> (u32, u32) {
        let known = self.peer_ref(receiver).initial_window;
        let sent = self.peer_ref(receiver.other()).unacked.iter().filter_map(|unacked| match unacked {
            super::Unacked::Of(settings) => settings.initial_window_size,
            super::Unacked::Own => None,
        });
        sent.fold((known, known), |(least, most), window| (least.min(window), most.max(window)))
    }

    /// Adds to what the receiver of `from`'s data has granted on a stream.
    pub(super) fn grow(&mut self, from: Side, id: u32, increment: u32) -> Result<(), Refusal> {
        let (least, _) = self.initial_windows(from.other());
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let half = stream.half(from);
        half.credit += i64::from(increment);
        if half.credit + i64::from(least) > i64::from(MAX_31) {
            return Err(Refusal::WindowOverflow);
        }
        Ok(())
    }
}

/// DATA that nobody gets: as much as may have been under way. Whoever sends on does not listen.
fn dropped(room: i64, len: i64) -> Result<Plan, Fault> {
    match room {
        ..0 => Err(Refusal::StreamClosed.into()),
        _ if len > room => Err(Refusal::WindowExceeded.into()),
        _ => Ok(Plan::Drop),
    }
}

/// The header of a DATA frame without what its sender left undefined.
fn rewrite_header(data: &Data<'_>, out: &mut Vec<u8>) {
    let flags = data.header.flags & (flag::END_STREAM | flag::PADDED);
    write::header(data.header.len, kind::DATA, flags, data.stream, out);
}

fn window_len(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
