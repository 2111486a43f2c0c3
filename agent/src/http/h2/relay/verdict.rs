//! What the shell decides: heads passed on, streams answered by us or reset.

use super::stream::{Flow, RequestState, ResponseState};
use super::{Outcome, Relay, Side};
use crate::http::h2::emit::{self, Envelope};
use crate::http::h2::frame::write;
use crate::http::h2::{ErrorCode, Refusal};
use crate::http::head::{RequestHead, ResponseHead};

impl Relay {
    /// Sends a request on, as `head` has it now. Requests before it that await their verdicts go first, so it may wait.
    /// A stream that is over is left alone.
    ///
    /// # Errors
    /// The head cannot be written: the stream is reset.
    pub fn pass_request(&mut self, id: u32, head: &RequestHead) -> Result<(), Refusal> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if !matches!(stream.request, RequestState::Judging(true)) {
            return Ok(());
        }
        if self.unopened.front() != Some(&id) {
            stream.request = RequestState::Approved(Box::new(head.clone()));
            return Ok(());
        }
        self.unopened.pop_front();
        let opened = self.open(id, head);
        if let Err(refusal) = opened {
            self.reset_both(id, ErrorCode::INTERNAL_ERROR, Outcome::Reset(Some(refusal)));
        }
        self.open_next();
        opened
    }

    /// Sends an interim response on, as `head` has it now. A stream whose final response is there is left alone.
    pub fn pass_interim(&mut self, id: u32, head: &ResponseHead) {
        let waits = |stream: &super::stream::Stream| {
            stream.is_open() && matches!(stream.response, ResponseState::Waiting)
        };
        if !self.streams.get(id).is_some_and(waits) {
            return;
        }
        let client = &mut self.client;
        let envelope = Envelope::new(id, false);
        if let Err(refusal) = emit::write_response(head, envelope, &mut client.encoder, &mut client.out) {
            self.bad_response(id, refusal);
        }
    }

    /// Writes an approved request to the origin, and what is held behind it.
    fn open(&mut self, id: u32, head: &RequestHead) -> Result<(), Refusal> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        stream.request = RequestState::Gone;
        let end = stream.up.head_ended;
        let envelope = Envelope { stream: id, end, priority: stream.priority };
        let (scheme, websocket) = (stream.scheme, stream.websocket);
        let origin = &mut self.origin;
        emit::write_request(head, scheme, websocket, envelope, &mut origin.encoder, &mut origin.out)?;
        stream.request = RequestState::Open;
        stream.up.flow = Flow::Passing;
        stream.up.passed_end = end;
        let grant = std::mem::take(&mut stream.early_grant);
        if grant > 0 {
            write::window_update(id, grant, &mut origin.out);
        }
        self.highest_opened = id;
        self.release(Side::Client, id)
    }

    /// Sends a response on, as `head` has it now, and its body behind it. A stream that is over is left alone.
    ///
    /// # Errors
    /// The head cannot be written: the stream is reset.
    pub fn pass_response(&mut self, id: u32, head: &ResponseHead) -> Result<(), Refusal> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if !matches!(stream.response, ResponseState::Judging(true)) {
            return Ok(());
        }
        let end = stream.down.head_ended;
        let client = &mut self.client;
        let written =
            emit::write_response(head, Envelope::new(id, end), &mut client.encoder, &mut client.out);
        if written.is_ok() {
            stream.response = ResponseState::Passing;
            stream.down.flow = Flow::Passing;
            stream.down.passed_end = end;
        }
        let passed = written.and_then(|()| self.release(Side::Origin, id));
        if let Err(refusal) = passed {
            self.reset_both(id, ErrorCode::INTERNAL_ERROR, Outcome::Reset(Some(refusal)));
        }
        passed
    }

    /// Answers a request ourselves, in place of the origin, which hears of it by RST_STREAM if it knew of the request.
    /// Content-Length is set; a HEAD request gets no body, nor does anybody when too many bodies wait already.
    ///
    /// # Errors
    /// The head cannot be written: the stream is reset.
    pub fn answer(&mut self, id: u32, head: &ResponseHead, mut body: Vec<u8>) -> Result<(), Refusal> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        if matches!(stream.response, ResponseState::Passing | ResponseState::Own { .. }) {
            return Ok(());
        }
        let head_only = stream.method == "HEAD";
        if self.answer_bytes + body.len() > self.limits.answers {
            body.clear();
        }
        let mut head = head.clone();
        head.fields_mut().set("content-length", body.len().to_string().as_bytes());
        if head_only {
            body.clear();
        }
        self.leave_origin(id, ErrorCode::CANCEL);
        let client = &mut self.client;
        let envelope = Envelope::new(id, body.is_empty());
        let written = emit::write_response(&head, envelope, &mut client.encoder, &mut client.out);
        if let Err(refusal) = written {
            self.reset_both(id, ErrorCode::INTERNAL_ERROR, Outcome::Reset(Some(refusal)));
            return written;
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        self.answer_bytes += body.len();
        stream.response = ResponseState::Own { body, sent: 0 };
        self.answering.push_back(id);
        self.pump_answers();
        self.open_next();
        Ok(())
    }

    /// Resets a stream on both sides. A stream that is over is left alone.
    pub fn reset(&mut self, id: u32, code: ErrorCode) {
        self.reset_both(id, code, Outcome::Reset(None));
    }

    pub(super) fn reset_both(&mut self, id: u32, code: ErrorCode, outcome: Outcome) {
        if self.streams.get(id).is_none() {
            return;
        }
        self.leave_origin(id, code);
        write::reset(id, code, &mut self.client.out);
        self.remember_reset(Side::Client, id);
        self.close(id, outcome);
        self.open_next();
    }

    /// Ends the origin's part in a stream; what is held or arrives of it is dropped, and given back.
    pub(super) fn leave_origin(&mut self, id: u32, code: ErrorCode) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let over = stream.up.passed_end && stream.down.ended;
        let was_open = stream.is_open();
        stream.request = RequestState::Gone;
        if was_open && !over {
            write::reset(id, code, &mut self.origin.out);
            self.remember_reset(Side::Origin, id);
        }
        self.drop_flow(Side::Client, id);
        self.drop_flow(Side::Origin, id);
        self.drop_held(id);
    }

    /// Opens the requests that waited for one before them.
    pub(super) fn open_next(&mut self) {
        while let Some(front) = self.unopened.front().copied() {
            let state = self.streams.get_mut(front).map(|stream| &mut stream.request);
            let approved = match state {
                Some(RequestState::Judging(_)) => return,
                Some(state) => std::mem::replace(state, RequestState::Gone),
                None => RequestState::Gone,
            };
            self.unopened.pop_front();
            let RequestState::Approved(head) = approved else { continue };
            if let Err(refusal) = self.open(front, &head) {
                self.reset_both(front, ErrorCode::INTERNAL_ERROR, Outcome::Reset(Some(refusal)));
            }
        }
    }
}
