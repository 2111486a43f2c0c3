//! Content codings (RFC 9110 section 8.4), undone as far as a bound.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use super::{Held, MAX_DECODED, Unscanned};
use crate::http::content_coding::{ContentCoding, codings};
use crate::http::head::Fields;

/// Codings undone one after the other; more are taken for broken.
const MAX_CODINGS: usize = 3;
/// Buffer of the brotli decoder.
const BROTLI_BUFFER: usize = 4096;
/// Largest window of a zstd frame, as a power of two: what RFC 8878 section 3.1.1.1.2 recommends to support.
const ZSTD_WINDOW: u32 = 23;

/// A body without its codings.
pub(super) struct Decoded<'a> {
    pub octets: Cow<'a, [u8]>,
    pub unscanned: Option<Unscanned>,
}

pub(super) fn undo<'a>(fields: &Fields, held: Held<'a>) -> Result<Decoded<'a>, Unscanned> {
    let codings: Vec<Option<ContentCoding>> = codings(fields).collect();
    if codings.is_empty() {
        return Ok(Decoded { octets: Cow::Borrowed(held.octets), unscanned: None });
    }
    if codings.len() > MAX_CODINGS {
        return Err(Unscanned::Broken);
    }
    let mut reader: Box<dyn Read + 'a> = Box::new(held.octets);
    for coding in codings.into_iter().rev() {
        reader = decoder(coding.ok_or(Unscanned::UnknownCoding)?, reader)?;
    }
    let mut octets = Vec::new();
    let bound = MAX_DECODED as u64 + 1;
    let unscanned = match reader.take(bound).read_to_end(&mut octets) {
        Ok(_) if octets.len() > MAX_DECODED => {
            octets.truncate(MAX_DECODED);
            Some(Unscanned::TooLarge)
        }
        Ok(_) => None,
        // Of a body that is not held whole the end is missing.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !held.complete => None,
        Err(_) => Some(Unscanned::Broken),
    };
    Ok(Decoded { octets: Cow::Owned(octets), unscanned })
}

fn decoder<'a>(coding: ContentCoding, from: Box<dyn Read + 'a>) -> Result<Box<dyn Read + 'a>, Unscanned> {
    Ok(match coding {
        ContentCoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
        ContentCoding::Deflate => {
            let mut from = from;
            let mut start = [0; 2];
            let got = fill(&mut from, &mut start);
            let zlib = got == 2 && start[0] & 0x0f == 8 && u16::from_be_bytes(start).is_multiple_of(31);
            let whole = std::io::Cursor::new(start).take(got as u64).chain(from);
            if zlib {
                Box::new(flate2::read::ZlibDecoder::new(whole))
            } else {
                Box::new(flate2::read::DeflateDecoder::new(whole))
            }
        }
        ContentCoding::Brotli => Box::new(brotli_decompressor::Decompressor::new(from, BROTLI_BUFFER)),
        ContentCoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(from).map_err(|_| Unscanned::Broken)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|_| Unscanned::Broken)?;
            Box::new(decoder)
        }
    })
}

/// Reads until `buffer` is full, or nothing more comes.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}
