//! The bounded look at the beginning of a response body: content codings undone as far as the look goes, and no further.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use super::FileType;
use crate::http::content_coding::{ContentCoding, codings};
use crate::http::head::Fields;

/// Most octets of a body, as transferred, that a look-ahead asks for: what a first flight of TCP brings.
pub const MAX_LOOK_AHEAD: usize = 8 << 10;

/// Fewer octets than a whole look gives out of any stream that has something to say.
const FEW: usize = 512;

/// Most octets that content codings are undone to. With it the cost is bounded whatever the ratio of a bomb.
const MAX_DECODED: usize = 8 << 10;

/// Codings undone one after the other; more are taken for unreadable.
const MAX_CODINGS: usize = 4;

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB, what RFC 8878 section 3.1.1.1.2 recommends.
const ZSTD_WINDOW: u32 = 23;

/// What a look at the beginning of a body gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning<'a> {
    /// Its octets, content codings undone.
    Octets(Cow<'a, [u8]>),
    /// Too few came to undo a coding.
    Nothing,
    /// More codings than are undone, or such as hide what is behind them: broken ones, and those of which as much as a look
    /// takes in gives next to nothing.
    Hidden,
}

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

    /// The octets with the response's content codings undone. Where one is unknown browsers undo none, and hand on what
    /// came; where one is named that is not there, programs that undo none keep what came.
    pub(super) fn decoded(self, fields: &Fields) -> Beginning<'a> {
        let mut octets = Cow::Borrowed(self.octets.get(..MAX_LOOK_AHEAD).unwrap_or(self.octets));
        let Some(codings) = codings(fields).collect::<Option<Vec<_>>>() else {
            return Beginning::Octets(octets);
        };
        if codings.len() > MAX_CODINGS {
            return Beginning::Hidden;
        }
        // The others may have to see a whole block, or the tables of one, before they give its first octet.
        let by_and_by = |coding: &_| matches!(coding, ContentCoding::Gzip | ContentCoding::Deflate);
        let full =
            self.octets.len() >= MAX_LOOK_AHEAD && !codings.is_empty() && codings.iter().all(by_and_by);
        for coding in codings.into_iter().rev() {
            let undone = undo(coding, &octets);
            if undone.octets.is_empty() {
                return match (undone.broken, begins_as(coding, &octets)) {
                    (_, Some(false)) | (true, None) => Beginning::Octets(octets),
                    (true, Some(true)) => Beginning::Hidden,
                    (false, _) if full => Beginning::Hidden,
                    (false, _) => Beginning::Nothing,
                };
            }
            octets = Cow::Owned(undone.octets);
        }
        if full && octets.len() < FEW { Beginning::Hidden } else { Beginning::Octets(octets) }
    }
}

/// Whether a response names more codings than are undone, whatever its body is.
pub(super) fn is_coded_beyond(fields: &Fields) -> bool {
    codings(fields).count() > MAX_CODINGS
}

/// Whether a content coding stands between the octets transferred and the ones a browser looks at.
pub(super) fn is_encoded(fields: &Fields) -> bool {
    codings(fields).next().is_some()
}

/// Whether octets begin like a coding: `None` where it begins like nothing in particular, or too few came.
fn begins_as(coding: ContentCoding, octets: &[u8]) -> Option<bool> {
    match coding {
        ContentCoding::Zstd => {
            let first = octets.first_chunk::<4>()?;
            Some(first == b"\x28\xb5\x2f\xfd" || first.ends_with(b"\x2a\x4d\x18"))
        }
        ContentCoding::Gzip => Some(octets.first_chunk::<2>()? == b"\x1f\x8b"),
        ContentCoding::Deflate | ContentCoding::Brotli => None,
    }
}

/// What became of a coding.
#[derive(Debug, Default)]
struct Undone {
    octets: Vec<u8>,
    /// It is not what it says, or was cut into; not merely at its end.
    broken: bool,
}

/// Undoes one coding as far as the octets and the bound go.
fn undo(coding: ContentCoding, octets: &[u8]) -> Undone {
    match coding {
        ContentCoding::Gzip => until_it_fails(flate2::read::MultiGzDecoder::new(octets), MAX_DECODED),
        ContentCoding::Deflate if matches!(octets, [a, b, ..] if a & 0x0f == 8 && u16::from_be_bytes([*a, *b]) % 31 == 0) => {
            until_it_fails(flate2::read::ZlibDecoder::new(octets), MAX_DECODED)
        }
        ContentCoding::Deflate => until_it_fails(flate2::read::DeflateDecoder::new(octets), MAX_DECODED),
        ContentCoding::Brotli => unbrotli(octets),
        ContentCoding::Zstd => unzstd(octets).unwrap_or_default(),
    }
}

fn unzstd(octets: &[u8]) -> std::io::Result<Undone> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(octets)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(until_it_fails(decoder, MAX_DECODED))
}

/// A bare deflate stream (RFC 1951), at most `most` octets of it.
pub(super) fn inflate(octets: &[u8], most: usize) -> Vec<u8> {
    until_it_fails(flate2::read::DeflateDecoder::new(octets), most).octets
}

fn unbrotli(octets: &[u8]) -> Undone {
    use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let mut out = vec![0; MAX_DECODED];
    let (mut left, mut read, mut room, mut written, mut total) = (octets.len(), 0, out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut read,
        octets,
        &mut room,
        &mut written,
        &mut out,
        &mut total,
        &mut state,
    );
    // What was written before the end of the input is what there is to see. Nothing in such a stream shows that it is one,
    // so that of another thing it makes some octets before it finds out.
    let broken = matches!(result, BrotliResult::ResultFailure);
    out.truncate(if broken { 0 } else { written });
    Undone { octets: out, broken }
}

/// What a decoder gives until the bound, its end, or the place where the octets end or are broken.
fn until_it_fails(mut decoder: impl Read, most: usize) -> Undone {
    let mut out = vec![0; most];
    let (mut filled, mut broken) = (0, false);
    while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
        match decoder.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => {
                broken = error.kind() != ErrorKind::UnexpectedEof;
                break;
            }
        }
    }
    out.truncate(filled);
    Undone { octets: out, broken }
}

/// Entry for the fuzzer: the first octet chooses a coding, the rest is a body. Panics when a promise is broken.
pub fn fuzz_first_bytes(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let codings = ["identity", "gzip", "deflate", "br", "zstd", "zstd, gzip", "compress"];
    let Some(coding) = codings.get(usize::from(*choice) % codings.len()) else { return };
    let fields: Fields = [("Content-Encoding", coding)].into_iter().collect();
    let Beginning::Octets(content) = FirstBytes::prefix(body).decoded(&fields) else { return };
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

    fn look<'a>(codings: &[&str], octets: &'a [u8]) -> Beginning<'a> {
        let fields: Fields = codings.iter().map(|coding| ("Content-Encoding", *coding)).collect();
        FirstBytes::prefix(octets).decoded(&fields)
    }

    fn decoded(codings: &[&str], octets: &[u8]) -> Option<Vec<u8>> {
        match look(codings, octets) {
            Beginning::Octets(octets) => Some(octets.into_owned()),
            Beginning::Nothing | Beginning::Hidden => None,
        }
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
        assert_eq!(look(&["gzip, gzip, gzip, gzip, gzip"], b"x"), Beginning::Hidden);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            assert_eq!(look(&[coding], b""), Beginning::Nothing, "{coding}");
        }
        let file = encoded("gzip", b"PK\x03\x04");
        assert_eq!(look(&["gzip"], &file[..10]), Beginning::Nothing);
        assert_eq!(
            look(&["gzip"], b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff"),
            Beginning::Hidden,
            "a reserved block"
        );
    }

    #[test]
    fn a_coding_that_is_not_there_hides_nothing() {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            for plain in
                [&b"PK\x03\x04\x14\0\0\0\x08\0 and what is in it"[..], b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"]
            {
                assert_eq!(decoded(&[coding], plain).as_deref(), Some(plain), "{coding}");
            }
        }
    }

    #[test]
    fn streams_that_say_nothing_for_as_long_as_a_look_hide_what_follows() {
        const HEAD: &[u8] = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff";
        let file = encoded("bare deflate", b"PK\x03\x04\x14\0");
        let nothing = b"\0\0\0\xff\xff".repeat(4000);
        let with = |flag: u8, field: &[u8]| {
            let mut head = HEAD.to_vec();
            head[3] = flag;
            [&head, field, &file].concat()
        };
        for (coding, stream) in [
            ("gzip", [HEAD, &nothing, &file].concat()),
            ("gzip", encoded("gzip", b"").repeat(2000)),
            ("gzip", with(4, &[&[0x60, 0xea][..], &[b'x'; 60_000]].concat())),
            ("gzip", with(8, &[&[b'n'; 20_000][..], b"\0"].concat())),
            ("deflate", [&b"\x78\x9c"[..], &nothing, &file].concat()),
            ("deflate", [&nothing[..], &file].concat()),
            // One octet of the file alone in front.
            ("gzip", [HEAD, b"\0\x01\0\xfe\xffP", &nothing, &file].concat()),
        ] {
            assert_eq!(look(&[coding], &stream), Beginning::Hidden, "{coding} {:?}", &stream[..12]);
        }
        // Blocks of these are undone whole or not at all, and take more than a look.
        let letters: Vec<u8> = (0u32..60_000)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes().map(|octet| b'a' + octet % 16))
            .collect();
        assert!(matches!(look(&["zstd"], &encoded("zstd", &letters)[..MAX_LOOK_AHEAD]), Beginning::Nothing));
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
        assert_eq!(look(&["zstd"], b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00a"), Beginning::Hidden);
    }

    proptest! {
        #[test]
        fn no_octets_break_a_decoder(coding in "gzip|deflate|br|zstd", octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let seen = decoded(&[&coding], &octets);
            prop_assert!(seen.is_none_or(|seen| !seen.is_empty() && seen.len() <= MAX_DECODED));
        }
    }
}
