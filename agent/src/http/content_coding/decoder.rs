//! Content codings undone as streams: what is there of a body gives what it says so far.

use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Result};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::ContentCoding;

/// Largest window of a zstd frame, as a power of two: 8 MiB, what RFC 8878 section 3.1.1.1.2 recommends to support.
const ZSTD_WINDOW: u32 = 23;
/// Largest block of a zstd frame (RFC 8878 section 3.1.1.2.4), which says nothing before it is whole.
pub const ZSTD_BLOCK: usize = 128 << 10;
/// Octets taken in at a time for brotli.
const BROTLI_INPUT: usize = 4096;

/// What `from` says once `coding` is undone. Where it ends in the middle that is an `UnexpectedEof`, or an end; where it is
/// broken, or not of this coding, it is another error.
///
/// # Errors
/// There is no memory for it.
pub fn decoder<'a>(coding: ContentCoding, mut from: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    Ok(match coding {
        ContentCoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
        ContentCoding::Deflate => {
            let mut start = [0; 2];
            let got = fill(&mut from, &mut start);
            let zlib = got == 2 && start[0] & 0x0f == 8 && u16::from_be_bytes(start).is_multiple_of(31);
            let whole = Cursor::new(start).take(got as u64).chain(from);
            if zlib {
                Box::new(flate2::read::ZlibDecoder::new(whole))
            } else {
                Box::new(flate2::read::DeflateDecoder::new(whole))
            }
        }
        ContentCoding::Brotli => Box::new(Brotli::new(from)),
        ContentCoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(from))?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Reads until `buffer` is full, or nothing more comes.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

/// The crate's own reader says the same of an end in the middle and of what is broken.
struct Brotli<R> {
    from: R,
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: [u8; BROTLI_INPUT],
    /// Of the input: taken in, and how much there is.
    read: usize,
    filled: usize,
    ended: bool,
}

impl<R: Read> Brotli<R> {
    fn new(from: R) -> Self {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new(alloc(), alloc(), alloc());
        Self { from, state, input: [0; BROTLI_INPUT], read: 0, filled: 0, ended: false }
    }
}

impl<R: Read> Read for Brotli<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        // Each turn takes input in.
        loop {
            let mut left = self.filled - self.read;
            let (mut room, mut written, mut total) = (buffer.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut self.read,
                self.input.get(..self.filled).unwrap_or_default(),
                &mut room,
                &mut written,
                buffer,
                &mut total,
                &mut self.state,
            );
            match result {
                BrotliResult::ResultFailure => return Err(ErrorKind::InvalidData.into()),
                BrotliResult::ResultSuccess => {
                    self.ended = true;
                    return Ok(written);
                }
                BrotliResult::NeedsMoreOutput => return Ok(written),
                BrotliResult::NeedsMoreInput if written > 0 => return Ok(written),
                BrotliResult::NeedsMoreInput => {
                    (self.read, self.filled) = (0, self.from.read(&mut self.input)?);
                    if self.filled == 0 {
                        return Err(Error::from(ErrorKind::UnexpectedEof));
                    }
                }
            }
        }
    }
}

/// Where the block ends that is the first to be cut off in the beginning of a zstd stream: nothing behind the blocks before it
/// is said until then. `None` where that is not known.
pub fn zstd_block_end(octets: &[u8]) -> Option<usize> {
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd";
    const SKIPPABLE: &[u8] = b"\x2a\x4d\x18";
    let number = |at: usize, len: usize| {
        let digits = octets.get(at..at.checked_add(len)?)?;
        Some(digits.iter().rev().fold(0, |number, octet| number << 8 | usize::from(*octet)))
    };
    let mut at = 0usize;
    // Each turn steps over a frame, each of the inner ones over a block.
    loop {
        let magic = octets.get(at..at.checked_add(4)?)?;
        if magic.ends_with(SKIPPABLE) {
            at = at.checked_add(8)?.checked_add(number(at + 4, 4)?)?;
            continue;
        }
        if magic != FRAME {
            return None;
        }
        // RFC 8878 section 3.1.1.1.
        let descriptor = number(at + 4, 1)?;
        let single = descriptor >> 5 & 1;
        let dictionary = [0, 1, 2, 4].get(descriptor & 3)?;
        let size = *[single, 2, 4, 8].get(descriptor >> 6)?;
        let checksum = (descriptor >> 2 & 1) * 4;
        at += 5 + (1 - single) + dictionary + size;
        loop {
            let header = number(at, 3)?;
            let (last, kind, size) = (header & 1, header >> 1 & 3, header >> 3);
            if kind == 3 || size > ZSTD_BLOCK {
                return None;
            }
            at += 3 + if kind == 1 { 1 } else { size };
            if at > octets.len() {
                return Some(at);
            }
            if last == 1 {
                at += checksum;
                break;
            }
        }
    }
}
