//! Frames as bytes.

use super::super::refusal::ErrorCode;
use super::{HEADER_LEN, MAX_PAYLOAD, flag, kind};

/// Appends a frame header. `len` is at most 2^24-1.
pub fn header(len: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&header_bytes(len, kind, flags, stream));
}

fn header_bytes(len: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEADER_LEN] {
    let [.., l0, l1, l2] = len.to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [l0, l1, l2, kind, flags, s0, s1, s2, s3]
}

/// Appends SETTINGS with these pairs.
pub fn settings(pairs: impl IntoIterator<Item = (u16, u32)>, out: &mut Vec<u8>) {
    let start = out.len();
    header(0, kind::SETTINGS, 0, 0, out);
    for (id, value) in pairs {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
    let len = out.len() - start - HEADER_LEN;
    patch(start, header_bytes(len, kind::SETTINGS, 0, 0), out);
}

fn patch(at: usize, header: [u8; HEADER_LEN], out: &mut [u8]) {
    if let Some(place) = out.get_mut(at..at + HEADER_LEN) {
        place.copy_from_slice(&header);
    }
}

pub fn settings_ack(out: &mut Vec<u8>) {
    header(0, kind::SETTINGS, flag::ACK, 0, out);
}

pub fn ping(ack: bool, opaque: [u8; 8], out: &mut Vec<u8>) {
    header(8, kind::PING, if ack { flag::ACK } else { 0 }, 0, out);
    out.extend_from_slice(&opaque);
}

pub fn reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
    header(4, kind::RST_STREAM, 0, stream, out);
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    header(4, kind::WINDOW_UPDATE, 0, stream, out);
    out.extend_from_slice(&increment.to_be_bytes());
}

pub fn go_away(last: u32, code: ErrorCode, out: &mut Vec<u8>) {
    header(8, kind::GOAWAY, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn priority(stream: u32, priority: [u8; 5], out: &mut Vec<u8>) {
    header(5, kind::PRIORITY, 0, stream, out);
    out.extend_from_slice(&priority);
}

pub fn priority_update(stream: u32, value: &[u8], out: &mut Vec<u8>) {
    header(4 + value.len(), kind::PRIORITY_UPDATE, 0, 0, out);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(value);
}

/// Appends HEADERS, and CONTINUATION frames where the block that `encode` appends is longer than one frame.
pub fn headers(
    stream: u32,
    end: bool,
    priority: Option<[u8; 5]>,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    header(0, kind::HEADERS, 0, stream, out);
    let mut flags = if end { flag::END_STREAM } else { 0 };
    if let Some(priority) = priority {
        flags |= flag::PRIORITY;
        out.extend_from_slice(&priority);
    }
    encode(out);
    let len = out.len() - start - HEADER_LEN;
    if len <= MAX_PAYLOAD {
        return patch(start, header_bytes(len, kind::HEADERS, flags | flag::END_HEADERS, stream), out);
    }
    patch(start, header_bytes(MAX_PAYLOAD, kind::HEADERS, flags, stream), out);
    let rest = out.split_off(start + HEADER_LEN + MAX_PAYLOAD);
    let mut pieces = rest.chunks(MAX_PAYLOAD).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        header(piece.len(), kind::CONTINUATION, flags, stream, out);
        out.extend_from_slice(piece);
    }
}
