//! A message body as it arrives: which bytes of a read buffer are payload, and where the body ends.

use std::ops::Range;

use super::chunked::ChunkedDecoder;
use super::framing::Framing;
use super::limits::Limits;
use super::refusal::Refusal;
use super::trailer::Trailers;

/// The next stretch of a body within the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Payload, never empty, at `payload` in the input; `consumed` bytes are done with. Ask again with the rest.
    Data { payload: Range<usize>, consumed: usize },
    /// No payload in the rest of the input, all of which is consumed. The body goes on.
    More { consumed: usize },
    /// The body ended `consumed` bytes into the input. What follows belongs to the next message, or is surplus.
    End { consumed: usize },
}

#[derive(Debug, Clone)]
enum Extent {
    Length(u64),
    // Boxed: most bodies have a length, and a connection holds two of these.
    Chunked(Box<ChunkedDecoder>),
    Close { ended: bool },
}

/// Follows one body, whatever its framing.
#[derive(Debug, Clone)]
pub struct Body {
    extent: Extent,
}

impl Body {
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let extent = match framing {
            Framing::None => Extent::Length(0),
            Framing::Length(length) => Extent::Length(length),
            Framing::Chunked => Extent::Chunked(Box::new(ChunkedDecoder::new(limits))),
            Framing::Close => Extent::Close { ended: false },
        };
        Self { extent }
    }

    /// Reads on. `input` begins where the previous piece's `consumed` ended; bytes are never given twice.
    ///
    /// Each call consumes all of the input, or returns payload, or the end: a loop over it terminates.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        match &mut self.extent {
            Extent::Chunked(decoder) => decoder.next(input),
            Extent::Length(0) | Extent::Close { ended: true } => Ok(Piece::End { consumed: 0 }),
            _ if input.is_empty() => Ok(Piece::More { consumed: 0 }),
            Extent::Length(left) => {
                let take = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= take as u64;
                Ok(Piece::Data { payload: 0..take, consumed: take })
            }
            Extent::Close { .. } => Ok(Piece::Data { payload: 0..input.len(), consumed: input.len() }),
        }
    }

    /// Octets of payload that come next with nothing around them, at most; none where the body is framed by what stands in
    /// it.
    pub fn plain(&self) -> u64 {
        match &self.extent {
            Extent::Length(left) => *left,
            Extent::Close { ended: false } => u64::MAX,
            Extent::Chunked(_) | Extent::Close { ended: true } => 0,
        }
    }

    /// `count` octets of what is [`plain`](Self::plain) went another way.
    pub fn skip(&mut self, count: u64) {
        if let Extent::Length(left) = &mut self.extent {
            *left = left.saturating_sub(count);
        }
    }

    /// The peer ended its side. A body that had not ended is truncated, unless that is how it ends.
    pub fn end_of_input(&mut self) -> Result<(), Refusal> {
        if let Extent::Close { ended } = &mut self.extent {
            *ended = true;
        }
        if self.is_done() { Ok(()) } else { Err(Refusal::Truncated) }
    }

    pub fn is_done(&self) -> bool {
        match &self.extent {
            Extent::Length(left) => *left == 0,
            Extent::Chunked(decoder) => decoder.is_done(),
            Extent::Close { ended } => *ended,
        }
    }

    /// The trailers of a chunked body that ended.
    pub fn trailers(&self) -> Option<&Trailers> {
        match &self.extent {
            Extent::Chunked(decoder) if decoder.is_done() => Some(decoder.trailers()),
            _ => None,
        }
    }
}
