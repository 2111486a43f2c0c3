//! Texts that are not in UTF-8: UTF-16 by its mark, its charset or its look, and encodings of one octet a character.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use crate::http::multipart::parameter;

/// Octets in which UTF-16 without a mark shows: every other one is NUL. Fewer than the shortest show nothing.
const LOOKED_AT: usize = 256;
const SHORTEST: usize = 16;

pub(super) struct Decoded {
    pub characters: String,
    /// It cannot be meant otherwise: what is ASCII in it stayed so.
    pub certain: bool,
}

/// `None`: it is in UTF-8, or in an encoding in which ASCII stands for itself, and is read as it lies.
pub(super) fn undo(content_type: &[u8], octets: &[u8]) -> Option<Decoded> {
    let claimed = || parameter(content_type, b"charset").and_then(|label| Encoding::for_label(&label));
    let encoding = match octets {
        [0xFF, 0xFE, ..] => UTF_16LE,
        [0xFE, 0xFF, ..] => UTF_16BE,
        _ => sixteen(octets).or_else(claimed)?,
    };
    let certain = encoding.is_single_byte();
    let needed = if certain {
        !octets.contains(&0) && std::str::from_utf8(octets).is_err()
    } else {
        encoding == UTF_16LE || encoding == UTF_16BE
    };
    needed.then(|| Decoded { characters: encoding.decode(octets).0.into_owned(), certain })
}

/// Text of ASCII characters in two octets each.
fn sixteen(octets: &[u8]) -> Option<&'static Encoding> {
    let near = octets.get(..LOOKED_AT).unwrap_or(octets);
    let (pairs, _) = near.as_chunks::<2>();
    let all = |shape: fn(&[u8; 2]) -> bool| near.len() >= SHORTEST && pairs.iter().all(shape);
    if all(|[low, high]| *low != 0 && *high == 0) {
        Some(UTF_16LE)
    } else if all(|[high, low]| *low != 0 && *high == 0) {
        Some(UTF_16BE)
    } else {
        None
    }
}
