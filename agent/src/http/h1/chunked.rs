//! Chunked transfer coding (RFC 9112 section 7.1): a decoder that works in place over read buffers, and the encoder.

use super::Parsed;
use super::body::Piece;
use super::limits::Limits;
use super::refusal::Refusal;
use super::scan::{Scanner, Section};
use super::syntax::is_token_char;
use super::trailer::Trailers;

/// Closes the payload of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a body that has no trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

const MAX_SIZE_DIGITS: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a size, with that many digits read.
    Size(u8),
    /// Behind the `;`, before the first character of an extension name.
    ExtensionStart,
    Extension,
    /// Between the quotes of an extension's value; behind a backslash there.
    Quoted,
    QuotedPair,
    /// Behind the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of what follows the last chunk.
    Last,
    /// Behind a CR there: with a LF the body ends without trailers.
    LastLf,
    Trailer,
    End,
}

/// The decoder. It takes every byte it is given, keeps no payload, and allocates only for a trailer section.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder {
    limits: Limits,
    state: State,
    /// The size being read, then what is left of the chunk.
    left: u64,
    /// Bytes of extension in this chunk.
    extension: usize,
    /// Bytes of extension not yet outweighed by payload.
    excess: u64,
    trailer: Vec<u8>,
    trailer_scanner: Scanner,
    trailers: Trailers,
}

impl ChunkedDecoder {
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            state: State::Size(0),
            left: 0,
            extension: 0,
            excess: 0,
            trailer: Vec::new(),
            trailer_scanner: Scanner::new(Section::Trailer),
            trailers: Trailers::default(),
        }
    }

    /// See [`Body::next`](super::body::Body::next).
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let available = input.len() - at;
                    let take = usize::try_from(self.left).map_or(available, |left| left.min(available));
                    self.left -= take as u64;
                    self.excess = self.excess.saturating_sub(2 * take as u64);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Piece::Data { payload: at..at + take, consumed: at + take });
                }
                State::Trailer => {
                    let end = self.trailer_section(input.get(at..).unwrap_or_default())?;
                    return Ok(match end {
                        Some(consumed) => Piece::End { consumed: at + consumed },
                        None => Piece::More { consumed: input.len() },
                    });
                }
                State::End => break,
                // The byte belongs to the first trailer line: read again in that state.
                State::Last if *byte != b'\r' => {
                    self.state = State::Trailer;
                    continue;
                }
                _ => self.state = self.step(*byte)?,
            }
            at += 1;
        }
        Ok(if self.state == State::End { Piece::End { consumed: at } } else { Piece::More { consumed: at } })
    }

    /// One byte outside of payload and trailer section.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size(digits), b'\r') if digits > 0 => Ok(State::SizeLf),
            (State::Size(digits), b';') if digits > 0 => Ok(State::ExtensionStart),
            (State::Size(digits), _) => self.size_digit(digits, byte),
            (State::ExtensionStart, b' ' | b'\t') => self.extension_byte(State::ExtensionStart),
            (State::ExtensionStart, byte) if is_token_char(byte) => self.extension_byte(State::Extension),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b'"') => self.extension_byte(State::Quoted),
            (State::Quoted, b'"') => self.extension_byte(State::Extension),
            (State::Quoted, b'\\') => self.extension_byte(State::QuotedPair),
            (State::Extension, b'\t' | b' '..=0x7e | 0x80..) => self.extension_byte(State::Extension),
            (State::Quoted | State::QuotedPair, b'\t' | b' '..=0x7e | 0x80..) => {
                self.extension_byte(State::Quoted)
            }
            // A line's end between quotes too: readers differ in where such a line ends.
            (State::ExtensionStart | State::Extension | State::Quoted | State::QuotedPair, _) => {
                Err(Refusal::ChunkExtension)
            }
            (State::SizeLf, b'\n') => Ok(self.size_done()),
            (State::SizeLf, _) => Err(Refusal::BareCr),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(0)),
            (State::DataCr | State::DataLf, _) => Err(Refusal::ChunkEnd),
            (State::Last, _) => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::End),
            (State::LastLf, _) => Err(Refusal::BareCr),
            (State::Data | State::Trailer | State::End, _) => Ok(self.state),
        }
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<State, Refusal> {
        let digit = char::from(byte).to_digit(16).ok_or(Refusal::ChunkSize)?;
        let first = if digits == 0 { 0 } else { self.left };
        let size = first.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
        self.left = size.filter(|size| *size < 1 << 63).ok_or(Refusal::ChunkSize)?;
        if digits >= MAX_SIZE_DIGITS { Err(Refusal::ChunkSize) } else { Ok(State::Size(digits + 1)) }
    }

    fn extension_byte(&mut self, next: State) -> Result<State, Refusal> {
        self.extension += 1;
        self.excess += 1;
        let too_large = self.extension > self.limits.chunk_extension
            || self.excess > self.limits.chunk_extension_excess as u64;
        if too_large { Err(Refusal::ChunkExtension) } else { Ok(next) }
    }

    fn size_done(&mut self) -> State {
        self.extension = 0;
        if self.left == 0 { State::Last } else { State::Data }
    }

    /// Collects the trailer section. The number of bytes of `input` that belong to it, once it is whole.
    fn trailer_section(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let before = self.trailer.len();
        let room = self.limits.trailer_bytes.saturating_sub(before);
        self.trailer.extend_from_slice(input.get(..room).unwrap_or(input));
        match self.trailer_scanner.scan(&self.trailer, &self.limits) {
            Parsed::More => Ok(None),
            Parsed::Refused(refusal) => Err(refusal),
            Parsed::Complete(scanned, consumed) => {
                self.trailers = Trailers::of(scanned.fields);
                self.trailer = Vec::new();
                self.state = State::End;
                Ok(Some(consumed.saturating_sub(before)))
            }
        }
    }

    /// Whether the last chunk and the trailer section were read.
    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// The trailers, empty until the end was read.
    pub fn trailers(&self) -> &Trailers {
        &self.trailers
    }
}

/// The line before a chunk's payload: size in hexadecimal, CRLF. Lives on the stack.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHeader {
    bytes: [u8; 18],
    start: usize,
}

impl ChunkHeader {
    /// For a payload of `size` bytes. `None` for none at all: that line would end the body.
    pub fn new(size: usize) -> Option<Self> {
        let mut header = Self { bytes: [b'\n'; 18], start: 16 };
        let mut left = size;
        if let Some(byte) = header.bytes.get_mut(16) {
            *byte = b'\r';
        }
        while left > 0 {
            header.start -= 1;
            if let Some(byte) = header.bytes.get_mut(header.start) {
                *byte = *b"0123456789abcdef".get(left & 15)?;
            }
            left >>= 4;
        }
        (size > 0).then_some(header)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}
