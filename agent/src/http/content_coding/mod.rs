//! Content codings (RFC 9110 section 8.4.1): which of them a message has on it, and how they are undone.

mod decoder;

use super::head::Fields;
pub use decoder::{ZSTD_BLOCK, decoder, zstd_block_end};

/// Codings undone one after the other; more are taken for unreadable.
pub const MAX_CODINGS: usize = 4;

/// The codings that clients undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    Gzip,
    /// Meant is the zlib format; some send the bare stream of RFC 1951, and clients take both.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else if is("br") {
            Some(Self::Brotli)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// The codings of a message in the order in which they were applied; `None` for one that nobody undoes. What is called
/// `identity` is none.
pub fn codings(fields: &Fields) -> impl Iterator<Item = Option<ContentCoding>> {
    let names = fields.tokens("content-encoding").filter(|name| !name.eq_ignore_ascii_case(b"identity"));
    names.map(ContentCoding::named)
}
