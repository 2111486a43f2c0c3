//! The relay frame by frame: strictness by section of RFC 9113, verdicts, windows, floods, and properties.

mod floods;
mod messages;
mod properties;
mod strictness;
mod verdicts;
mod windows;

use std::time::Duration;

use super::frame::{self, FrameHeader, HEADER_LEN, write};
use super::fuzz::{Harness, raw_data, raw_headers, read_heads};
use super::{ConnectionError, ErrorCode, Event, Limits, Outcome, Refusal, Side};
use crate::http::head::{ResponseHead, Version};

type Lines<'a> = &'a [(&'a str, &'a str)];

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
const OK: [(&str, &str); 1] = [(":status", "200")];

fn greeted() -> Harness {
    let mut harness = Harness::greeted(Limits::default());
    harness.written = Default::default();
    harness
}

fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::header(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write::window_update(stream, increment, &mut out);
    out
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame_of(frame::kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// The frames of `bytes` as kind, flags, stream and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = FrameHeader::parse(bytes) {
        let payload = bytes[HEADER_LEN..HEADER_LEN + header.len].to_vec();
        frames.push((header.kind, header.flags, header.stream, payload));
        bytes = &bytes[HEADER_LEN + header.len..];
    }
    frames
}

/// Sum of the connection window updates in `bytes`.
fn granted(bytes: &[u8]) -> i64 {
    granted_on(bytes, 0)
}

fn granted_on(bytes: &[u8], stream: u32) -> i64 {
    frames(bytes)
        .iter()
        .filter(|(kind, _, on, _)| (*kind, *on) == (frame::kind::WINDOW_UPDATE, stream))
        .map(|(.., payload)| i64::from(u32::from_be_bytes(payload[..].try_into().unwrap())))
        .sum()
}

/// Octets of DATA payload in `bytes`.
fn data_len(bytes: &[u8]) -> i64 {
    let data = |(kind, _, _, payload): &(u8, u8, u32, Vec<u8>)| {
        if *kind == frame::kind::DATA { payload.len() as i64 } else { 0 }
    };
    frames(bytes).iter().map(data).sum()
}

fn resets(bytes: &[u8]) -> Vec<(u32, u32)> {
    frames(bytes)
        .iter()
        .filter(|(kind, ..)| *kind == frame::kind::RST_STREAM)
        .map(|(_, _, stream, payload)| (*stream, u32::from_be_bytes(payload[..].try_into().unwrap())))
        .collect()
}

fn outcomes(harness: &Harness) -> Vec<(u32, Outcome, u64, u64)> {
    let closed = harness.events.iter().filter_map(|event| match event {
        Event::Closed { stream, outcome, to_origin, to_client } => {
            Some((*stream, *outcome, *to_origin, *to_client))
        }
        _ => None,
    });
    closed.collect()
}
