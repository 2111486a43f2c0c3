//! How Chromium reads a Content-Disposition value, including where it refuses the whole response.
//!
//! Facts from Chromium's `http_content_disposition`, `http_util` and `http_response_headers`. Relatives that share the
//! network stack (Chrome, Edge, Electron apps) behave the same.

use std::ops::ControlFlow;

use unicode_normalization::UnicodeNormalization as _;

use super::encoding::{self, Padding};
use super::{Effect, Reading, trim_lws};
use crate::http::is_token;

/// Reads all field values of one response.
pub(super) fn read(values: &[&[u8]]) -> Reading {
    let members: Vec<&[u8]> =
        values.iter().flat_map(|value| split_unquoted(value, b',')).map(trim_lws).collect();
    let conflict = members.iter().any(|member| Some(member) != members.first());
    // Members that agree are joined again, with a comma, before they are parsed. Members that do not are an error and
    // never parsed; reading them anyway yields the name that a relative without this check would use.
    let joined = if conflict && values.len() == 1 {
        values.first().map(|v| trim_lws(v).to_vec()).unwrap_or_default()
    } else {
        members.join(&b", "[..])
    };
    let (attachment, filename) = parse(&joined);
    let effect = match (conflict, attachment) {
        (true, _) => Effect::Refuse,
        (false, true) => Effect::Download,
        (false, false) => Effect::Inline,
    };
    Reading { effect, filename }
}

/// Disposition (true: attachment) and file name of one joined value.
fn parse(value: &[u8]) -> (bool, Option<String>) {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let (head, tail) = value.split_at(end);
    let kind = trim_lws(head);
    // A type that is no token is not a type at all: the text is read as parameters, of an inline response.
    let (attachment, parameters) =
        if is_token(kind) { (!kind.eq_ignore_ascii_case(b"inline"), tail) } else { (false, value) };

    let mut plain = None;
    let mut extended = None;
    for parameter in split_unquoted(parameters, b';').map(trim_lws).filter(|p| !p.is_empty()) {
        // The first malformed parameter ends the reading.
        let Some((name, raw)) = name_and_value(parameter) else { break };
        if plain.is_none() && name.eq_ignore_ascii_case(b"filename") {
            plain = plain_name(&unquote(raw)).filter(|n| !n.is_empty());
        } else if extended.is_none() && name.eq_ignore_ascii_case(b"filename*") {
            // Without its opening quote where the closing one is missing, as for plain values.
            extended = extended_name(half_quoted(raw).unwrap_or(raw)).filter(|n| !n.is_empty());
        }
    }
    (attachment, extended.or(plain))
}

/// Splits at `delimiter` outside double quotes; a backslash inside quotes protects the next byte. An open quote runs to
/// the end.
fn split_unquoted(value: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |&byte| {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            return false;
        }
        quoted = byte == b'"';
        byte == delimiter
    })
}

/// `name=value`, both trimmed. `None` where Chromium calls the pair malformed: no `=`, no name, no value, or a quote
/// before the `=`.
fn name_and_value(parameter: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = parameter.iter().position(|&b| b == b'=')?;
    let (name, value) = (parameter.get(..equals)?, parameter.get(equals + 1..)?);
    let (trimmed, value) = (trim_lws(name), trim_lws(value));
    (!name.is_empty() && !trimmed.contains(&b'"') && !value.is_empty()).then_some((trimmed, value))
}

/// The value without its opening quote, when it has one and no closing one to match.
fn half_quoted(value: &[u8]) -> Option<&[u8]> {
    let rest = value.strip_prefix(b"\"")?;
    (rest.is_empty() || rest.last() != Some(&b'"')).then_some(rest)
}

fn unquote(value: &[u8]) -> Vec<u8> {
    if let Some(rest) = half_quoted(value) {
        return rest.to_vec();
    }
    let Some(inner) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(byte);
        }
    }
    out
}

/// Decodes a `filename` value word by word. Blanks after an encoded word vanish, others become one space each.
fn plain_name(value: &[u8]) -> Option<String> {
    let mut name = String::new();
    let mut after_encoded_word = true;
    for part in words_and_blanks(value) {
        match part {
            [b' ' | b'\t' | b'\n' | b'\r'] => {
                if !after_encoded_word {
                    name.push(' ');
                }
            }
            word => {
                let (text, encoded) = word_text(word)?;
                after_encoded_word = encoded;
                name.push_str(&text);
            }
        }
    }
    Some(name)
}

/// Runs of non-blank bytes, and each blank byte on its own, in order.
fn words_and_blanks(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    value.chunk_by(move |a, b| !blank(a) && !blank(b))
}

/// Text of one word, and whether it was an RFC 2047 encoded word. `None` spoils the whole name, as in Chromium.
fn word_text(word: &[u8]) -> Option<(String, bool)> {
    if !word.is_ascii() {
        // Octets that are no UTF-8 are read in the charset of the referring page or the system: not knowable from the
        // response, so this model gives no name for them.
        return Some((std::str::from_utf8(word).ok()?.to_owned(), false));
    }
    match encoded_word(word) {
        ControlFlow::Break(result) => Some((result?, true)),
        ControlFlow::Continue(()) => Some((String::from_utf8(encoding::percent_decode(word)).ok()?, false)),
    }
}

/// `=?charset?B?text?=` or `=?charset?Q?text?=`. Continue: not meant as an encoded word. Break(None): meant as one, but
/// broken.
///
/// The pieces are what stands between runs of `?`, so that an empty text is not a piece.
fn encoded_word(word: &[u8]) -> ControlFlow<Option<String>> {
    let mut pieces = word.split(|&b| b == b'?').filter(|piece| !piece.is_empty());
    let closed = word.last() == Some(&b'=');
    let done = |text: String| ControlFlow::Break(closed.then_some(text));
    let Some(first) = pieces.next() else { return done(String::new()) };
    if first != b"=" {
        return ControlFlow::Continue(());
    }
    let Some(charset) = pieces.next() else { return done(String::new()) };
    let Some(scheme) = pieces.next() else { return done(String::new()) };
    let [scheme @ (b'b' | b'B' | b'q' | b'Q')] = scheme else { return ControlFlow::Continue(()) };
    let Some(text) = pieces.next() else { return done(String::new()) };
    let octets = match scheme {
        b'b' | b'B' => encoding::base64_decode(text, Padding::Required),
        _ => encoding::q_decode(text, |b| (0x21..0x7F).contains(&b) && b != b'?'),
    };
    let Some(octets) = octets else { return ControlFlow::Break(None) };
    let text = if octets.is_empty() {
        String::new()
    } else {
        let Some(charset) = encoding::encoding_for_loosely(charset) else { return ControlFlow::Break(None) };
        encoding::decode_lossy(&octets, charset).into_owned()
    };
    match pieces.next() {
        Some(b"=") if pieces.next().is_none() => done(text),
        Some(_) => ControlFlow::Break(None),
        None => done(text),
    }
}

/// Decodes `charset'language'value` (RFC 8187), normalised to NFC. Quoted values are refused; octets outside ASCII are
/// too.
fn extended_name(value: &[u8]) -> Option<String> {
    if value.contains(&b'"') {
        return None;
    }
    let mut parts = value.split(|&b| b == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || charset.is_empty() || text.is_empty() || !text.is_ascii() {
        return None;
    }
    let charset = encoding::encoding_for_loosely(charset)?;
    let octets = encoding::percent_decode(text);
    let name = encoding::decode_lossy(&octets, charset);
    Some(if name.is_ascii() { name.into_owned() } else { name.nfc().collect() })
}
