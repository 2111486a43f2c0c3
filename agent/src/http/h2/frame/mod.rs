//! Frames as values (RFC 9113 sections 4 and 6): header, size, padding, stream; the meaning of each is the relay's.

pub mod settings;
pub mod write;

use super::refusal::{ErrorCode, Refusal};

/// A frame header.
pub const HEADER_LEN: usize = 9;
/// Largest payload, in both directions: what every peer must take, and so a frame always fits into a read buffer.
pub const MAX_PAYLOAD: usize = 16_384;
/// Largest window, and largest stream number.
pub const MAX_31: u32 = (1 << 31) - 1;

/// What a client's connection begins with.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub mod kind {
    //! The types of frames.
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    /// RFC 9218 section 7.1.
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

pub mod flag {
    //! The flags of frames.
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// The nine octets before a payload. The reserved bit is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    /// Nothing in it is undefined: no unknown flag of DATA, no reserved bit.
    pub plain: bool,
}

impl FrameHeader {
    /// `None` when there are fewer than nine octets.
    pub fn parse(input: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *input.first_chunk::<HEADER_LEN>()?;
        let len = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        let plain = s0 & 0x80 == 0 && flags & !(flag::END_STREAM | flag::PADDED) == 0;
        Some(Self { len, kind, flags, stream, plain })
    }
}

/// A frame whose form is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `content` octets without padding; the whole payload counts for the windows.
    Data {
        stream: u32,
        content: usize,
        end: bool,
    },
    Headers {
        stream: u32,
        fragment: &'a [u8],
        end: bool,
        complete: bool,
        priority: Option<[u8; 5]>,
    },
    Priority {
        stream: u32,
        priority: [u8; 5],
    },
    Reset {
        stream: u32,
        code: ErrorCode,
    },
    /// Pairs of six octets.
    Settings(&'a [u8]),
    SettingsAck,
    PushPromise,
    Ping {
        ack: bool,
        opaque: [u8; 8],
    },
    GoAway {
        last: u32,
        code: ErrorCode,
    },
    /// On stream 0 for the connection.
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    Continuation {
        stream: u32,
        fragment: &'a [u8],
        complete: bool,
    },
    PriorityUpdate {
        stream: u32,
        value: &'a [u8],
    },
    Unknown,
}

/// Whom a malformed frame costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Connection(Refusal),
    Stream(u32, Refusal),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Connection(refusal)
    }
}

/// Reads the payload that `header` announces. `payload` is as long as it says.
pub fn parse<'a>(header: FrameHeader, payload: &'a [u8]) -> Result<Frame<'a>, Fault> {
    let FrameHeader { kind, flags, stream, .. } = header;
    let set = |bit| flags & bit != 0;
    match kind {
        kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
            if stream == 0 =>
        {
            return Err(Refusal::StreamZero.into());
        }
        kind::SETTINGS | kind::PING | kind::GOAWAY | kind::PRIORITY_UPDATE if stream != 0 => {
            return Err(Refusal::NotStreamZero.into());
        }
        _ => {}
    }
    Ok(match kind {
        kind::DATA => {
            let content = without_padding(flags, payload)?.len();
            Frame::Data { stream, content, end: set(flag::END_STREAM) }
        }
        kind::HEADERS => {
            let mut fragment = without_padding(flags, payload)?;
            let mut priority = None;
            if set(flag::PRIORITY) {
                let (first, rest) = fragment.split_first_chunk().ok_or(Refusal::FrameSize)?;
                priority = Some(*first);
                fragment = rest;
            }
            // A stream that depends on itself: the block must be decoded all the same, so the relay looks at it.
            let (end, complete) = (set(flag::END_STREAM), set(flag::END_HEADERS));
            Frame::Headers { stream, fragment, end, complete, priority }
        }
        kind::PRIORITY => {
            let priority = *exactly(payload).ok_or(Fault::Stream(stream, Refusal::FrameSize))?;
            if depends_on(priority) == stream {
                return Err(Fault::Stream(stream, Refusal::SelfDependency));
            }
            Frame::Priority { stream, priority }
        }
        kind::RST_STREAM => Frame::Reset { stream, code: ErrorCode(number(payload)?) },
        kind::SETTINGS if set(flag::ACK) && payload.is_empty() => Frame::SettingsAck,
        kind::SETTINGS if set(flag::ACK) || !payload.len().is_multiple_of(6) => {
            return Err(Refusal::FrameSize.into());
        }
        kind::SETTINGS => Frame::Settings(payload),
        kind::PUSH_PROMISE => Frame::PushPromise,
        kind::PING => {
            Frame::Ping { ack: set(flag::ACK), opaque: *exactly(payload).ok_or(Refusal::FrameSize)? }
        }
        kind::GOAWAY => {
            let (last, rest) = payload.split_first_chunk::<4>().ok_or(Refusal::FrameSize)?;
            let code = rest.first_chunk::<4>().ok_or(Refusal::FrameSize)?;
            Frame::GoAway {
                last: u32::from_be_bytes(*last) & MAX_31,
                code: ErrorCode(u32::from_be_bytes(*code)),
            }
        }
        kind::WINDOW_UPDATE => match number(payload)? & MAX_31 {
            0 if stream == 0 => return Err(Refusal::ZeroIncrement.into()),
            0 => return Err(Fault::Stream(stream, Refusal::ZeroIncrement)),
            increment => Frame::WindowUpdate { stream, increment },
        },
        kind::CONTINUATION => {
            Frame::Continuation { stream, fragment: payload, complete: set(flag::END_HEADERS) }
        }
        kind::PRIORITY_UPDATE => {
            let (of, value) = payload.split_first_chunk::<4>().ok_or(Refusal::FrameSize)?;
            Frame::PriorityUpdate { stream: u32::from_be_bytes(*of) & MAX_31, value }
        }
        _ => Frame::Unknown,
    })
}

/// The stream that a priority names as parent.
pub fn depends_on([s0, s1, s2, s3, _]: [u8; 5]) -> u32 {
    u32::from_be_bytes([s0 & 0x7f, s1, s2, s3])
}

/// The octets of a whole DATA frame whose form is right.
pub(super) fn content(whole: &[u8]) -> &[u8] {
    let flags = FrameHeader::parse(whole).map_or(0, |header| header.flags);
    without_padding(flags, whole.get(HEADER_LEN..).unwrap_or_default()).unwrap_or_default()
}

fn without_padding(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & flag::PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Refusal::FrameSize)?;
    let len = rest.len().checked_sub(usize::from(*padding)).ok_or(Refusal::Padding)?;
    Ok(rest.get(..len).unwrap_or_default())
}

fn exactly<const N: usize>(payload: &[u8]) -> Option<&[u8; N]> {
    payload.try_into().ok()
}

fn number(payload: &[u8]) -> Result<u32, Fault> {
    Ok(u32::from_be_bytes(*exactly(payload).ok_or(Refusal::FrameSize)?))
}

#[cfg(test)]
mod tests;
