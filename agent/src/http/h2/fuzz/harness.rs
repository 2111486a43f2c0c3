//! A relay between two sides made of bytes, for fuzzers, tests and benches.

use std::time::Duration;

use crate::http::h2::frame::{self, Frame, FrameHeader, HEADER_LEN, MAX_PAYLOAD, PREFACE, write};
use crate::http::h2::hpack::{Decoder, FieldList};
use crate::http::h2::{ConnectionError, Event, Limits, Refusal, Relay, Side};
use crate::http::head::{Fields, ResponseHead, Version};

/// A relay between two sides made of bytes, which are held to the rules as a real peer would hold it.
///
/// Its verdicts: `/elsewhere` is answered, a response with Content-Disposition is blocked, all else passes.
#[derive(Debug)]
pub struct Harness {
    pub relay: Relay,
    unread: [Vec<u8>; 2],
    pub written: [Vec<u8>; 2],
    pub events: Vec<Event>,
    pub error: Option<ConnectionError>,
    now: Duration,
    /// Verdicts are given by hand.
    pub undecided: bool,
}

impl Harness {
    pub fn new(limits: Limits) -> Self {
        Self {
            relay: Relay::new(limits),
            unread: Default::default(),
            written: Default::default(),
            events: Vec::new(),
            error: None,
            now: Duration::ZERO,
            undecided: false,
        }
    }

    /// Both sides have sent and acknowledged SETTINGS.
    pub fn greeted(limits: Limits) -> Self {
        let mut harness = Self::new(limits);
        let mut greeting = PREFACE.to_vec();
        write::settings([], &mut greeting);
        harness.feed(Side::Client, &greeting);
        harness.feed(Side::Origin, &greeting.split_off(PREFACE.len()));
        let mut ack = Vec::new();
        write::settings_ack(&mut ack);
        harness.feed(Side::Origin, &ack);
        harness.feed(Side::Client, &ack.repeat(2));
        harness
    }

    pub fn pass_time(&mut self, time: Duration) {
        self.now += time;
    }

    /// `from` sends `bytes`, in whatever relation to frames.
    pub fn feed(&mut self, from: Side, bytes: &[u8]) {
        let unread = self.unread(from);
        unread.extend_from_slice(bytes);
        self.drive(from);
        // What waited for a verdict or a window may go on.
        self.drive(from.other());
    }

    fn unread(&mut self, side: Side) -> &mut Vec<u8> {
        let [client, origin] = &mut self.unread;
        if side == Side::Client { client } else { origin }
    }

    fn drive(&mut self, from: Side) {
        while self.error.is_none() {
            let input = std::mem::take(self.unread(from));
            let step = match self.relay.receive(from, &input, self.now) {
                Ok(step) => step,
                Err(error) => {
                    self.error = Some(error);
                    self.take_output(&[], from);
                    while let Some(event) = self.relay.next_event() {
                        self.events.push(event);
                    }
                    return;
                }
            };
            assert!(step.consumed <= input.len() && step.forward.end <= step.consumed);
            let forward = input.get(step.forward.clone()).expect("forward lies in the input");
            self.take_output(forward, from.other());
            *self.unread(from) = input.get(step.consumed..).unwrap_or_default().to_vec();
            while let Some(event) = self.relay.next_event() {
                self.decide(&event);
                self.events.push(event);
            }
            self.take_output(&[], from);
            if step.consumed == 0 {
                return;
            }
        }
    }

    pub fn take_output(&mut self, forward: &[u8], to: Side) {
        for side in [Side::Client, Side::Origin] {
            let [client, origin] = &mut self.written;
            let written = if side == Side::Client { client } else { origin };
            written.append(self.relay.output(side));
            if side == to {
                written.extend_from_slice(forward);
            }
        }
    }

    fn decide(&mut self, event: &Event) {
        if self.undecided {
            return;
        }
        let page = ResponseHead::new(403, Version::Http2).with("Content-Type", "text/plain");
        match event {
            Event::Request { stream, head, .. } if head.path() == "/elsewhere" => {
                assert_eq!(self.relay.answer(*stream, &page, vec![b'B'; 100]), Ok(()));
            }
            Event::Request { stream, head, .. } => {
                assert_eq!(self.relay.pass_request(*stream, head), Ok(()));
            }
            Event::Response { stream, head, .. } if head.fields().get("content-disposition").is_some() => {
                assert_eq!(self.relay.answer(*stream, &page, vec![b'B'; 100]), Ok(()));
            }
            Event::Response { stream, head, .. } => {
                assert_eq!(self.relay.pass_response(*stream, head), Ok(()));
            }
            Event::Interim { stream, head } => self.relay.pass_interim(*stream, head),
            Event::BadRequest { stream, refusal } => self.relay.reset(*stream, refusal.code()),
            Event::BadResponse { stream, .. } => {
                let head = ResponseHead::new(502, Version::Http2);
                assert_eq!(self.relay.answer(*stream, &head, b"502".to_vec()), Ok(()));
            }
            Event::Closed { .. } | Event::GoAway { .. } => {}
        }
    }

    /// Both sides hang up. Whatever was written are frames, every stream ended once, and a head that was passed reads
    /// as the one that was judged.
    pub fn finish(&mut self) {
        for side in [Side::Origin, Side::Client] {
            self.relay.lost(side);
            while let Some(event) = self.relay.next_event() {
                self.decide(&event);
                self.events.push(event);
            }
        }
        let mut asked: Vec<u32> = Vec::new();
        let mut closed: Vec<u32> = Vec::new();
        for event in &self.events {
            match event {
                Event::Request { stream, .. } | Event::BadRequest { stream, .. } => asked.push(*stream),
                Event::Closed { stream, .. } => closed.push(*stream),
                _ => {}
            }
        }
        asked.sort_unstable();
        closed.sort_unstable();
        assert_eq!(asked, closed, "every stream ends once");
        let to_client = read_heads(&self.written[0]);
        for event in &self.events {
            let Event::Response { stream, head, .. } = event else { continue };
            let blocked = head.fields().get("content-disposition").is_some();
            let seen = to_client.iter().find(|(id, fields)| id == stream && !is_interim(fields));
            if let (false, Some((_, fields))) = (blocked || self.undecided, seen) {
                let status = head.status().to_string();
                let expected =
                    std::iter::once((&b":status"[..], status.as_bytes())).chain(head.fields().iter());
                let expected: Vec<_> = expected.filter(|(name, _)| *name != b"te").collect();
                // A stream that broke between head and verdict is answered instead.
                assert!(fields.iter().eq(expected) || fields.get(":status") == Some(b"502"), "{fields:?}");
            }
        }
        read_heads(self.written[1].strip_prefix(PREFACE).unwrap_or_default());
    }
}

fn is_interim(fields: &Fields) -> bool {
    fields.get(":status").is_none_or(|status| status.starts_with(b"1"))
}

/// The field lists in what was written to a side, by stream. All of it must be frames as they should be.
pub fn read_heads(mut bytes: &[u8]) -> Vec<(u32, Fields)> {
    let mut decoder = Decoder::new(usize::MAX, usize::MAX);
    let mut heads = Vec::new();
    let mut block: Vec<u8> = Vec::new();
    while let Some(header) = FrameHeader::parse(bytes) {
        assert!(header.len <= MAX_PAYLOAD);
        let payload = bytes.get(HEADER_LEN..HEADER_LEN + header.len).expect("a whole frame");
        bytes = bytes.get(HEADER_LEN + header.len..).unwrap_or_default();
        let parsed = frame::parse(header, payload).expect("well-formed");
        let done = match parsed {
            Frame::Headers { fragment, complete, .. } | Frame::Continuation { fragment, complete, .. } => {
                block.extend_from_slice(fragment);
                complete
            }
            Frame::Unknown | Frame::PushPromise => panic!("a frame that has no place here"),
            _ => {
                assert!(block.is_empty(), "a frame within a header block");
                false
            }
        };
        if done {
            let mut list = FieldList::new();
            assert_eq!(decoder.decode(&block, &mut list), Ok(()));
            heads.push((header.stream, list.iter().collect()));
            block.clear();
        }
    }
    assert!(bytes.is_empty() && block.is_empty(), "whole frames");
    heads
}

/// HEADERS with these lines as they are, from a side whose encoder is fresh for every block.
pub fn raw_headers(stream: u32, end: bool, lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write::headers(stream, end, None, &mut out, |out| {
        for (name, value) in lines {
            out.push(0);
            for text in [name, value] {
                // A length with a prefix of seven bits, in three octets where it needs them.
                let len = text.len();
                if len < 127 {
                    out.push((len & 0x7f) as u8);
                } else {
                    out.extend([0x7f, ((len - 127) & 0x7f | 0x80) as u8, ((len - 127) >> 7) as u8]);
                }
                out.extend_from_slice(text.as_bytes());
            }
        }
    });
    out
}

/// A DATA frame.
pub fn raw_data(stream: u32, end: bool, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write::header(len, frame::kind::DATA, u8::from(end), stream, &mut out);
    out.resize(HEADER_LEN + len, b'd');
    out
}

/// Refusals that this relay gave as answers.
pub fn refusals(events: &[Event]) -> Vec<Refusal> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::BadRequest { refusal, .. } | Event::BadResponse { refusal, .. } => Some(*refusal),
            _ => None,
        })
        .collect()
}
