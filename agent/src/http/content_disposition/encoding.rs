//! The encodings that file names travel in: percent-encoding, base64, quoted-printable words, character sets.
//! Bytes in, bytes or text out; which of them applies where is the browser models' business.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// Value of one ASCII hex digit.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The octet that `%XX` at the start of `bytes` stands for.
pub(super) fn percent_octet(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// Replaces every well-formed `%XX` for which `wanted` holds by its octet; all else stays as it is.
pub(super) fn percent_decode_if(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let taken = match percent_octet(escape) {
            Some(octet) if wanted(octet) => {
                out.push(octet);
                3
            }
            _ => {
                out.push(b'%');
                1
            }
        };
        rest = escape.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Replaces every well-formed `%XX` by its octet.
pub fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    percent_decode_if(bytes, |_| true)
}

/// Whether base64 text has to be padded to a multiple of four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Required,
    Optional,
}

/// Decodes base64 (RFC 4648 section 4, standard alphabet). `None` for foreign characters or an impossible length.
pub fn base64_decode(text: &[u8], padding: Padding) -> Option<Vec<u8>> {
    let digits = if text.len().is_multiple_of(4) {
        text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text)
    } else if padding == Padding::Required {
        return None;
    } else {
        text
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let mut bits = 0u32;
    let mut held = 0u32;
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

/// Decodes the "Q" encoding (RFC 2047 section 4.2). `literal` says which octets may stand for themselves.
pub(super) fn q_decode(text: &[u8], literal: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'_' => out.push(b' '),
            b'=' => {
                let (&[high, low], tail) = rest.split_first_chunk::<2>()?;
                out.push(hex_digit(high)? << 4 | hex_digit(low)?);
                rest = tail;
            }
            other if literal(other) => out.push(other),
            _ => return None,
        }
    }
    Some(out)
}

/// The encoding a label names, by the labels of the WHATWG Encoding Standard (Gecko's rule).
pub(super) fn encoding_for(label: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(label)
}

/// The encoding a label names, by ICU's looser comparison: case, `-`, `_` and spaces do not count (Chromium's rule).
pub(super) fn encoding_for_loosely(label: &[u8]) -> Option<&'static Encoding> {
    if let Some(encoding) = encoding_for(label) {
        return Some(encoding);
    }
    let squeezed: Vec<u8> =
        label.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    if let Some(encoding) = encoding_for(&squeezed) {
        return Some(encoding);
    }
    let same = |name: &str| {
        name.bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|b| b.to_ascii_lowercase())
            .eq(squeezed.iter().copied())
    };
    HYPHENATED.iter().copied().find(|encoding| same(encoding.name()))
}

/// Encodings whose standard labels all carry a hyphen, so that squeezing a label out of shape hides them.
static HYPHENATED: [&Encoding; 24] = [
    encoding_rs::EUC_JP,
    encoding_rs::EUC_KR,
    encoding_rs::ISO_2022_JP,
    encoding_rs::ISO_8859_8_I,
    encoding_rs::ISO_8859_10,
    encoding_rs::ISO_8859_13,
    encoding_rs::ISO_8859_14,
    encoding_rs::ISO_8859_15,
    encoding_rs::ISO_8859_16,
    encoding_rs::KOI8_R,
    encoding_rs::KOI8_U,
    encoding_rs::SHIFT_JIS,
    encoding_rs::UTF_8,
    encoding_rs::WINDOWS_874,
    encoding_rs::WINDOWS_1250,
    encoding_rs::WINDOWS_1251,
    encoding_rs::WINDOWS_1252,
    encoding_rs::WINDOWS_1253,
    encoding_rs::WINDOWS_1254,
    encoding_rs::WINDOWS_1255,
    encoding_rs::WINDOWS_1256,
    encoding_rs::WINDOWS_1257,
    encoding_rs::WINDOWS_1258,
    encoding_rs::X_MAC_CYRILLIC,
];

/// Text of `bytes` in `encoding`; what does not decode becomes U+FFFD. A byte order mark is not special here.
pub(super) fn decode_lossy<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Cow<'a, str> {
    encoding.decode_without_bom_handling(bytes).0
}

/// Each byte as the character of the same number: what Gecko does with octets that are no UTF-8.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}
