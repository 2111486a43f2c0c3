//! The bounded look at the beginning of a response body: content codings undone as far as the look goes, and no further.

use std::borrow::Cow;
use std::io::Read;

use super::FileType;
use crate::http::head::Fields;

/// Most octets of a body, as transferred, that a look-ahead asks for: what a first flight of TCP brings.
pub const MAX_LOOK_AHEAD: usize = 8 << 10;

/// Most octets that content codings are undone to. With it the cost is bounded whatever the ratio of a bomb.
const MAX_DECODED: usize = 8 << 10;

/// Codings undone one after the other; more are taken for unreadable.
const MAX_CODINGS: usize = 4;
/// Those that clients undo (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
const CODINGS: &[&[u8]] = &[b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"];

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB, what RFC 8878 section 3.1.1.1.2 recommends.
const ZSTD_WINDOW: u32 = 23;

/// The first octets of a response body as transferred, transfer coding undone, content codings not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstBytes<'a> {
    pub octets: &'a [u8],
    /// They are the whole body.
    pub complete: bool,
}

impl<'a> FirstBytes<'a> {
    pub const fn whole(octets: &'a [u8]) -> Self {
        Self { octets, complete: true }
    }

    pub const fn prefix(octets: &'a [u8]) -> Self {
        Self { octets, complete: false }
    }

    /// The octets with the response's content codings undone; `None` when a coding is broken from the first octet, or in need
    /// of more than there is. Where one is unknown browsers undo none, and hand on what came.
    pub(super) fn decoded(self, fields: &Fields) -> Option<Cow<'a, [u8]>> {
        let codings: Vec<&[u8]> =
            fields.tokens("content-encoding").filter(|c| !c.eq_ignore_ascii_case(b"identity")).collect();
        let mut octets = Cow::Borrowed(self.octets.get(..MAX_LOOK_AHEAD).unwrap_or(self.octets));
        if !codings.iter().all(|coding| CODINGS.iter().any(|known| coding.eq_ignore_ascii_case(known))) {
            return Some(octets);
        }
        if codings.len() > MAX_CODINGS {
            return None;
        }
        for coding in codings.iter().rev() {
            let decoded = undo(coding, &octets)?;
            if decoded.is_empty() {
                return None;
            }
            octets = Cow::Owned(decoded);
        }
        Some(octets)
    }
}

/// Whether a content coding stands between the octets transferred and the ones a browser looks at.
pub(super) fn is_encoded(fields: &Fields) -> bool {
    fields.tokens("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Undoes one coding (RFC 9110 section 8.4.1, RFC 7932, RFC 8878) as far as the octets and the bound go.
fn undo(coding: &[u8], octets: &[u8]) -> Option<Vec<u8>> {
    let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
    if is("gzip") || is("x-gzip") {
        Some(until_it_fails(flate2::read::MultiGzDecoder::new(octets), MAX_DECODED))
    } else if is("deflate") {
        // Meant is the zlib format; some origins send the bare stream, and browsers take both.
        let zlib = matches!(octets, [a, b, ..] if a & 0x0f == 8 && u16::from_be_bytes([*a, *b]) % 31 == 0);
        Some(if zlib {
            until_it_fails(flate2::read::ZlibDecoder::new(octets), MAX_DECODED)
        } else {
            inflate(octets, MAX_DECODED)
        })
    } else if is("br") {
        Some(unbrotli(octets))
    } else if is("zstd") {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(octets).ok()?;
        decoder.window_log_max(ZSTD_WINDOW).ok()?;
        Some(until_it_fails(decoder, MAX_DECODED))
    } else {
        None
    }
}

/// A bare deflate stream (RFC 1951), at most `most` octets of it.
pub(super) fn inflate(octets: &[u8], most: usize) -> Vec<u8> {
    until_it_fails(flate2::read::DeflateDecoder::new(octets), most)
}

fn unbrotli(octets: &[u8]) -> Vec<u8> {
    use brotli_decompressor::{BrotliDecompressStream, BrotliState, StandardAlloc};
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let mut out = vec![0; MAX_DECODED];
    let (mut left, mut read, mut room, mut written, mut total) = (octets.len(), 0, out.len(), 0, 0);
    // What was written before the end of the input, or before an error, is what there is to see.
    let _ = BrotliDecompressStream(
        &mut left,
        &mut read,
        octets,
        &mut room,
        &mut written,
        &mut out,
        &mut total,
        &mut state,
    );
    out.truncate(written);
    out
}

/// What a decoder gives until the bound, its end, or the place where the octets end or are broken.
fn until_it_fails(mut decoder: impl Read, most: usize) -> Vec<u8> {
    let mut out = vec![0; most];
    let mut filled = 0;
    while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
        match decoder.read(room) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    out.truncate(filled);
    out
}

/// Entry for the fuzzer: the first octet chooses a coding, the rest is a body. Panics when a promise is broken.
pub fn fuzz_first_bytes(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let codings = ["identity", "gzip", "deflate", "br", "zstd", "zstd, gzip", "compress"];
    let Some(coding) = codings.get(usize::from(*choice) % codings.len()) else { return };
    let fields: Fields = [("Content-Encoding", coding)].into_iter().collect();
    let Some(content) = FirstBytes::prefix(body).decoded(&fields) else { return };
    assert!(content.len() <= MAX_DECODED.max(MAX_LOOK_AHEAD), "{} octets", content.len());
    let known = FileType::of(&content);
    assert_eq!(FileType::from_name(known.name()), Some(known));
    assert!(
        content.starts_with(b"PK") || !matches!(known.name(), "docx" | "xlsx" | "pptx" | "odt"),
        "{known:?}"
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
        use flate2::Compression;
        use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
        let level = Compression::new(6);
        match coding {
            "gzip" => {
                let mut to = GzEncoder::new(Vec::new(), level);
                to.write_all(plain).and_then(|()| to.finish()).unwrap()
            }
            "deflate" => {
                let mut to = ZlibEncoder::new(Vec::new(), level);
                to.write_all(plain).and_then(|()| to.finish()).unwrap()
            }
            "bare deflate" => {
                let mut to = DeflateEncoder::new(Vec::new(), level);
                to.write_all(plain).and_then(|()| to.finish()).unwrap()
            }
            "zstd" => zstd::encode_all(plain, 3).unwrap(),
            other => panic!("{other}"),
        }
    }

    fn decoded(codings: &[&str], octets: &[u8]) -> Option<Vec<u8>> {
        let fields: Fields = codings.iter().map(|coding| ("Content-Encoding", *coding)).collect();
        FirstBytes::prefix(octets).decoded(&fields).map(Cow::into_owned)
    }

    #[test]
    fn codings_are_undone() {
        let plain = b"%PDF-1.7 and more of it, and more of it, and more of it";
        assert_eq!(decoded(&[], plain).unwrap(), plain);
        assert_eq!(decoded(&["identity"], plain).unwrap(), plain);
        for coding in ["gzip", "deflate", "zstd"] {
            assert_eq!(decoded(&[coding], &encoded(coding, plain)).unwrap(), plain, "{coding}");
        }
        assert_eq!(decoded(&["X-GZIP"], &encoded("gzip", plain)).unwrap(), plain);
        assert_eq!(decoded(&["deflate"], &encoded("bare deflate", plain)).unwrap(), plain);
        // A stream of RFC 7932 that says `hello`: one uncompressed meta-block, then the end.
        assert_eq!(decoded(&["br"], b"\x0b\x02\x80hello\x03").unwrap(), b"hello");
        let twice = encoded("gzip", &encoded("zstd", plain));
        assert_eq!(decoded(&["zstd, gzip"], &twice).unwrap(), plain);
        assert_eq!(decoded(&["zstd", "gzip"], &twice).unwrap(), plain);
    }

    #[test]
    fn what_cannot_be_undone_is_not_seen() {
        assert_eq!(decoded(&["gzip, gzip, gzip, gzip, gzip"], b"x"), None);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            assert_eq!(decoded(&[coding], b""), None, "{coding}");
            assert_eq!(decoded(&[coding], b"\xffnot that"), None, "{coding}");
        }
    }

    #[test]
    fn where_a_coding_is_unknown_none_is_undone() {
        for coding in ["compress", "utf-8", "aws-chunked, gzip", "gzip, none"] {
            assert_eq!(decoded(&[coding], b"PK\x03\x04").unwrap(), b"PK\x03\x04", "{coding}");
        }
    }

    #[test]
    fn a_prefix_is_undone_as_far_as_it_goes_and_a_bomb_no_further_than_the_bound() {
        let noise: Vec<u8> =
            (0u32..40_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let whole = encoded("gzip", &noise);
        let seen = decoded(&["gzip"], &whole[..4096]).unwrap();
        assert!(seen.len() > 1000 && noise.starts_with(&seen), "{}", seen.len());
        for coding in ["gzip", "deflate", "zstd"] {
            let bomb = encoded(coding, &vec![b'a'; 64 << 20]);
            assert_eq!(decoded(&[coding], &bomb).unwrap().len(), MAX_DECODED, "{coding}");
        }
    }

    #[test]
    fn a_frame_that_wants_a_huge_window_is_not_read() {
        // Magic, a descriptor without content size, a window of 2^31 octets (RFC 8878 section 3.1.1).
        assert_eq!(decoded(&["zstd"], b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00a"), None);
    }

    proptest! {
        #[test]
        fn no_octets_break_a_decoder(coding in "gzip|deflate|br|zstd", octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let seen = decoded(&[&coding], &octets);
            prop_assert!(seen.is_none_or(|seen| !seen.is_empty() && seen.len() <= MAX_DECODED));
        }
    }
}
