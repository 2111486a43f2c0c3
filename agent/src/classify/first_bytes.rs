//! The bounded look at the beginning of a response body: content codings undone as far as the look goes, and no further.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use super::FileType;
use crate::http::content_coding::{ContentCoding, MAX_CODINGS, ZSTD_BLOCK, codings, decoder, zstd_block_end};
use crate::http::head::Fields;

/// Most octets of a body, as transferred, that a look-ahead asks for: what a first flight of TCP brings.
pub const MAX_LOOK_AHEAD: usize = 8 << 10;

/// The same of a body whose codings let it show next to nothing for so long: a whole block of zstd behind an ordinary look,
/// which is more than the tables before the first octet of a brotli stream take.
pub const MAX_LONG_LOOK: usize = MAX_LOOK_AHEAD + ZSTD_BLOCK;

/// Fewer octets than a whole look gives out of any stream that has something to say.
const FEW: usize = 512;

/// Most octets that content codings are undone to. With it the cost is bounded whatever the ratio of a bomb.
const MAX_DECODED: usize = 8 << 10;

/// What a look at the beginning of a body gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning<'a> {
    /// Its octets, content codings undone.
    Octets(Cow<'a, [u8]>),
    /// Too few came to undo a coding.
    Nothing,
    /// More codings than are undone, or such as hide what is behind them: broken ones, and those of which as much as a long
    /// look takes in gives next to nothing.
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
        let Some(codings) = codings(fields).collect::<Option<Vec<_>>>() else {
            return Beginning::Octets(self.start(MAX_LOOK_AHEAD).into());
        };
        if codings.len() > MAX_CODINGS {
            return Beginning::Hidden;
        }
        let near = undo(&codings, self.start(MAX_LOOK_AHEAD), MAX_DECODED);
        if codings.is_empty() || near.shown() >= FEW || self.octets.len() <= MAX_LOOK_AHEAD {
            return near;
        }
        let seen = undo(&codings, self.start(MAX_LONG_LOOK), MAX_DECODED);
        if seen.shown() < FEW && self.octets.len() >= MAX_LONG_LOOK { Beginning::Hidden } else { seen }
    }

    /// How the look at a body goes on that has shown next to nothing behind its codings, where it does.
    pub(super) fn further(self, fields: &Fields) -> Option<Further> {
        let codings = codings(fields).collect::<Option<Vec<_>>>()?;
        let len = self.octets.len();
        if self.complete || codings.is_empty() || codings.len() > MAX_CODINGS || len >= MAX_LONG_LOOK {
            return None;
        }
        let shown = match undo(&codings, self.start(MAX_LONG_LOOK), FEW) {
            Beginning::Octets(octets) => octets.len(),
            Beginning::Nothing => 0,
            Beginning::Hidden => return None,
        };
        if shown >= FEW || shown > 0 && len < MAX_LOOK_AHEAD {
            return None;
        }
        let block = if codings == [ContentCoding::Zstd] { zstd_block_end(self.octets) } else { None };
        // Whatever comes may say something; a long look takes larger steps, so that it takes few.
        let step = if len < MAX_LOOK_AHEAD { 1 } else { len / 2 };
        let most = block.unwrap_or(len + step).min(MAX_LONG_LOOK);
        Some(Further { most, patient: shown == 0 })
    }

    fn start(self, most: usize) -> &'a [u8] {
        self.octets.get(..most).unwrap_or(self.octets)
    }
}

/// How a look goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Further {
    /// Octets of the body in all.
    pub most: usize,
    /// Nothing has been shown: no client has anything of the body either, and none is kept waiting.
    pub patient: bool,
}

impl Beginning<'_> {
    /// Octets that are seen; all that could be wanted where they never will.
    fn shown(&self) -> usize {
        match self {
            Beginning::Octets(octets) => octets.len(),
            Beginning::Nothing => 0,
            Beginning::Hidden => MAX_DECODED,
        }
    }
}

/// Undoes codings, the last one first, to at most `most` octets.
fn undo<'a>(codings: &[ContentCoding], octets: &'a [u8], most: usize) -> Beginning<'a> {
    let mut octets = Cow::Borrowed(octets);
    for (inner, coding) in codings.iter().enumerate().rev() {
        // What lies within another coding may say nothing before there is much of it.
        let most = if inner > 0 { MAX_LONG_LOOK } else { most };
        let undone = undo_one(*coding, &octets, most);
        if undone.octets.is_empty() {
            return match (undone.broken, begins_as(*coding, &octets)) {
                (_, Some(false)) | (true, None) => Beginning::Octets(cut(octets, MAX_DECODED)),
                (true, Some(true)) => Beginning::Hidden,
                (false, _) => Beginning::Nothing,
            };
        }
        octets = Cow::Owned(undone.octets);
    }
    Beginning::Octets(octets)
}

fn cut(octets: Cow<'_, [u8]>, most: usize) -> Cow<'_, [u8]> {
    match octets {
        Cow::Borrowed(octets) => Cow::Borrowed(octets.get(..most).unwrap_or(octets)),
        Cow::Owned(mut octets) => {
            octets.truncate(most);
            Cow::Owned(octets)
        }
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
fn undo_one(coding: ContentCoding, octets: &[u8], most: usize) -> Undone {
    let Ok(decoder) = decoder(coding, octets) else { return Undone::default() };
    let undone = until_it_fails(decoder, most);
    // Nothing in a stream of brotli shows that it is one, so that of another thing it makes some octets before it finds out.
    if undone.broken && coding == ContentCoding::Brotli {
        return Undone { octets: Vec::new(), broken: true };
    }
    undone
}

/// A bare deflate stream (RFC 1951), at most `most` octets of it.
pub(super) fn inflate(octets: &[u8], most: usize) -> Vec<u8> {
    until_it_fails(flate2::read::DeflateDecoder::new(octets), most).octets
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
