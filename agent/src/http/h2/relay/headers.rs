//! HEADERS and CONTINUATION: blocks assembled and decoded in their order, heads handed over for their verdicts.

use std::time::Duration;

use super::peer::Block;
use super::stream::{Flow, Held, RequestState, ResponseState, Stream};
use super::{Event, Relay, Side};
use crate::http::h2::frame::{Fault, depends_on, write};
use crate::http::h2::{ErrorCode, Refusal, message};

/// What a decoded block belongs to.
struct Place {
    stream: u32,
    end: bool,
    priority: Option<[u8; 5]>,
}

impl Relay {
    #[expect(clippy::too_many_arguments, reason = "the parts of one frame")]
    pub(super) fn headers(
        &mut self,
        from: Side,
        stream: u32,
        fragment: &[u8],
        end: bool,
        complete: bool,
        priority: Option<[u8; 5]>,
        now: Duration,
    ) -> Result<(), Fault> {
        if !complete {
            // Room grows with what arrives, not with what is announced.
            let bytes = fragment.to_vec();
            self.peer(from).block = Some(Block { stream, end, priority, bytes, continuations: 0 });
            return Ok(());
        }
        self.decode(from, fragment)?;
        self.block(from, Place { stream, end, priority }, now)
    }

    pub(super) fn continuation(
        &mut self,
        from: Side,
        fragment: &[u8],
        complete: bool,
        now: Duration,
    ) -> Result<(), Fault> {
        let limits = self.limits;
        let Some(mut block) = self.peer(from).block.take() else { return Err(Refusal::Continuation.into()) };
        block.continuations += 1;
        if block.continuations > limits.continuations
            || block.bytes.len() + fragment.len() > limits.header_block
        {
            return Err(Refusal::ContinuationFlood.into());
        }
        block.bytes.extend_from_slice(fragment);
        if !complete {
            self.peer(from).block = Some(block);
            return Ok(());
        }
        self.decode(from, &block.bytes)?;
        self.block(from, Place { stream: block.stream, end: block.end, priority: block.priority }, now)
    }

    /// Every block is decoded, whatever becomes of it: the tables of both ends must stay the same.
    fn decode(&mut self, from: Side, block: &[u8]) -> Result<(), Fault> {
        let mut list = std::mem::take(&mut self.list);
        let decoded = self.peer(from).decoder.decode(block, &mut list);
        self.list = list;
        decoded.map_err(|_| Fault::Connection(Refusal::Compression))
    }

    fn block(&mut self, from: Side, place: Place, now: Duration) -> Result<(), Fault> {
        let id = place.stream;
        if self.streams.get(id).is_some() {
            return match from {
                Side::Client => self.trailers(Side::Client, &place, now),
                Side::Origin => self.response(&place, now),
            };
        }
        if from == Side::Client && id > self.highest && !id.is_multiple_of(2) {
            return self.request(place, now);
        }
        if from == Side::Client && id.is_multiple_of(2) {
            return Err(Refusal::StreamNumber.into());
        }
        // Frames under way to a stream that was reset.
        self.unknown(from, id)?;
        self.spend(from, now, Refusal::GlitchFlood)
    }

    fn request(&mut self, place: Place, now: Duration) -> Result<(), Fault> {
        let Place { stream: id, end, priority } = place;
        self.highest = id;
        if self.last_stream.is_some_and(|last| id > last) || self.origin.lost {
            return self.turn_away(id, now);
        }
        if self.streams.len() >= usize::try_from(self.limits.concurrent_streams).unwrap_or(usize::MAX) {
            self.spend(Side::Client, now, Refusal::GlitchFlood)?;
            return self.turn_away(id, now);
        }
        let mut stream = Stream::new(id);
        stream.up.ended = end;
        stream.up.head_ended = end;
        stream.priority = priority;
        let read = match message::request(&self.list, &self.limits) {
            Ok(_) if priority.is_some_and(|priority| depends_on(priority) == id) => {
                Err(Refusal::SelfDependency)
            }
            // Not to be used where it was not offered: an origin might take it for a CONNECT of another kind.
            Ok(request) if request.websocket && !self.origin.offers_connect => Err(Refusal::MethodRefused),
            Ok(request) if end && request.length.is_some_and(|length| length > 0) => {
                Err(Refusal::ContentLength)
            }
            read => read,
        };
        match read {
            Ok(request) => {
                stream.scheme = request.scheme;
                stream.websocket = request.websocket;
                stream.up.declared = request.length;
                stream.method = match request.head.method() {
                    "HEAD" => "HEAD",
                    "CONNECT" => "CONNECT",
                    _ => "GET",
                };
                let websocket = request.websocket;
                self.events.push_back(Event::Request { stream: id, head: request.head, end, websocket });
            }
            Err(refusal) => {
                self.spend(Side::Client, now, Refusal::GlitchFlood)?;
                stream.request = RequestState::Judging(false);
                self.events.push_back(Event::BadRequest { stream: id, refusal });
            }
        }
        self.streams.push(stream);
        self.unopened.push_back(id);
        Ok(())
    }

    /// The request was not looked at, and may be sent again elsewhere.
    fn turn_away(&mut self, id: u32, now: Duration) -> Result<(), Fault> {
        let limits = self.limits;
        if !self.client.budgets.turned_away.take(now, limits.turned_away_per_second) {
            return Err(Refusal::GlitchFlood.into());
        }
        write::reset(id, ErrorCode::REFUSED_STREAM, &mut self.client.out);
        self.remember_reset(Side::Client, id);
        Ok(())
    }

    fn trailers(&mut self, from: Side, place: &Place, now: Duration) -> Result<(), Fault> {
        let id = place.stream;
        let fault = |refusal| Err(Fault::Stream(id, refusal));
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let half = stream.half(from);
        if half.ended {
            return fault(Refusal::StreamClosed);
        }
        if half.flow == Flow::Dropped {
            half.ended |= place.end;
            return self.spend(from, now, Refusal::GlitchFlood);
        }
        if !place.end {
            return fault(Refusal::TrailersOpen);
        }
        if !half.fits(0, true) {
            return fault(Refusal::ContentLength);
        }
        let fields = match message::trailers(&self.list) {
            Ok(fields) => fields,
            Err(refusal) => return fault(refusal),
        };
        half.ended = true;
        let held = Held::Trailers(fields);
        let memory = held.memory();
        half.held.push_back(held);
        self.peer(from).held_memory += memory;
        self.release(from, id).map_err(|refusal| Fault::Stream(id, refusal))
    }

    fn response(&mut self, place: &Place, now: Duration) -> Result<(), Fault> {
        let id = place.stream;
        let highest_opened = self.highest_opened;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if !stream.is_open() {
            // Answered by us, or not yet asked at all.
            if id > highest_opened {
                return Err(Refusal::StreamIdle.into());
            }
            return self.spend(Side::Origin, now, Refusal::GlitchFlood);
        }
        if !matches!(stream.response, ResponseState::Waiting) {
            return self.trailers(Side::Origin, place, now);
        }
        if stream.down.ended {
            return Err(Fault::Stream(id, Refusal::StreamClosed));
        }
        if let Err(refusal) = self.response_head(place) {
            self.bad_response(id, refusal);
        }
        Ok(())
    }

    /// The head of a response, interim or final, of a stream that waits for one.
    fn response_head(&mut self, place: &Place) -> Result<(), Refusal> {
        let head = message::response(&self.list)?;
        let Some(stream) = self.streams.get_mut(place.stream) else { return Ok(()) };
        if (100..200).contains(&head.status()) {
            stream.interim += 1;
            if place.end {
                return Err(Refusal::InterimEnd);
            }
            if stream.interim > self.limits.interim_responses {
                return Err(Refusal::InterimFlood);
            }
            self.events.push_back(Event::Interim { stream: place.stream, head });
            return Ok(());
        }
        let declared = message::response_length(&head, stream.method)?;
        if place.end && stream.method != "HEAD" && declared.is_some_and(|length| length > 0) {
            return Err(Refusal::ContentLength);
        }
        stream.down.declared = declared;
        stream.down.ended = place.end;
        stream.down.head_ended = place.end;
        stream.response = ResponseState::Judging(true);
        self.events.push_back(Event::Response { stream: place.stream, head, end: place.end });
        Ok(())
    }

    /// The origin's part is over; the client waits for what the shell answers.
    pub(super) fn bad_response(&mut self, id: u32, refusal: Refusal) {
        self.leave_origin(id, refusal.code());
        if let Some(stream) = self.streams.get_mut(id) {
            stream.response = ResponseState::Judging(false);
            self.events.push_back(Event::BadResponse { stream: id, refusal });
        }
    }
}
