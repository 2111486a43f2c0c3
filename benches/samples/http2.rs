//! The messages of [`super::http`] as HTTP/2 has them, and a relay in the middle of a download.

use std::time::Duration;

use portcullis::http::h2::frame::write;
use portcullis::http::h2::fuzz::Harness;
use portcullis::http::h2::hpack::{Encoder, Indexing};
use portcullis::http::h2::{Event, Limits, Relay, Side};
use portcullis::http::head::Fields;

use super::http;

/// A field line.
pub type Line = (Vec<u8>, Vec<u8>);

fn lines(pseudo: &[(&str, &str)], fields: &Fields) -> Vec<Line> {
    let fields = fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    let kept = fields.filter(|(name, _)| name != b"connection" && name != b"host");
    pseudo
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .chain(kept)
        .collect()
}

/// The browser's request.
pub fn request_lines() -> Vec<Line> {
    let request = http::request();
    let pseudo =
        [(":method", "GET"), (":scheme", "https"), (":authority", http::HOST), (":path", request.target())];
    lines(&pseudo, request.fields())
}

/// The response to it.
pub fn response_lines() -> Vec<Line> {
    lines(&[(":status", "200")], http::response().fields())
}

/// A header block by an encoder that has or has not seen its like before.
pub fn block(lines: &[Line], encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encode(lines, encoder, &mut out);
    out
}

/// The same into a buffer that is used again.
pub fn encode(lines: &[Line], encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.begin(out);
    for (name, value) in lines {
        encoder.field(name, value, Indexing::of(name, value), out);
    }
}

/// HEADERS with a block.
pub fn headers(stream: u32, end: bool, block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::headers(stream, end, None, &mut out, |out| out.extend_from_slice(block));
    out
}

/// A DATA frame of the usual size.
pub fn data(stream: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write::header(16_384, 0, 0, stream, &mut out);
    out.resize(out.len() + 16_384, b'x');
    out
}

/// A relay whose greetings are done, with limits that no benchmark reaches.
pub fn relay() -> Relay {
    let most = u32::MAX;
    let limits = Limits { windows_per_second: most, early_resets: most, ..Limits::default() };
    let mut relay = Harness::greeted(limits).relay;
    relay.output(Side::Client).clear();
    relay.output(Side::Origin).clear();
    relay
}

/// Gives `bytes` to the relay, passes every head, and throws away what is to be written.
pub fn feed(relay: &mut Relay, from: Side, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let step = relay.receive(from, bytes, Duration::ZERO).expect("well-formed");
        assert!(step.consumed > 0, "whole frames");
        bytes = &bytes[step.consumed..];
        while let Some(event) = relay.next_event() {
            match event {
                Event::Request { stream, head, .. } => relay.pass_request(stream, &head).expect("passes"),
                Event::Response { stream, head, .. } => relay.pass_response(stream, &head).expect("passes"),
                _ => {}
            }
        }
        relay.output(Side::Client).clear();
        relay.output(Side::Origin).clear();
    }
}

/// A relay with a download under way on stream 1.
pub fn download() -> Relay {
    let mut relay = relay();
    let request = block(&request_lines(), &mut Encoder::new(true));
    let response: Vec<Line> =
        response_lines().into_iter().filter(|(name, _)| name != b"content-length").collect();
    feed(&mut relay, Side::Client, &headers(1, true, &request));
    feed(&mut relay, Side::Origin, &headers(1, false, &block(&response, &mut Encoder::new(true))));
    relay
}

/// The client's windows for one more frame of [`data`] on stream 1.
pub fn grant() -> Vec<u8> {
    let mut out = Vec::new();
    write::window_update(0, 16_384, &mut out);
    write::window_update(1, 16_384, &mut out);
    out
}
