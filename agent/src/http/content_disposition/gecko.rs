//! How Gecko (Firefox, Thunderbird) reads a Content-Disposition value: its type, and the text of its file name.
//!
//! Facts from Gecko's `nsMIMEHeaderParamImpl` and `nsNetUtil`. Its parser walks a C string, so an octet zero that some
//! encoding smuggles in ends the text there; the model keeps that, because it changes extensions.

use super::encoding;
use super::gecko_parameters::{Parameters, is_space};
use super::gecko_words;
use super::{Effect, trim_lws};

/// What all field values of one response do to it.
pub(super) fn effect(values: &[&[u8]]) -> Effect {
    let mut trimmed = values.iter().map(|value| trim_lws(value));
    let first = trimmed.next().unwrap_or_default();
    if trimmed.any(|value| value != first) { Effect::Refuse } else { effect_of(first) }
}

/// The C string in `value`; `None` when text follows its end, which Gecko refuses as a whole.
fn c_string(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
    let (text, rest) = value.split_at(end);
    rest.iter().all(|&b| b == 0).then_some(text)
}

fn effect_of(value: &[u8]) -> Effect {
    let Some(text) = c_string(value) else { return Effect::Download };
    let start = text.iter().position(|&b| !is_space(b)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().position(|&b| b == b';' || is_space(b)).unwrap_or(text.len());
    let kind = text.get(..end).unwrap_or_default();
    // Servers that send parameters alone are common enough for Gecko to know them by the first eight letters.
    let parameters_alone = kind.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"filename"));
    if kind.is_empty() || kind.eq_ignore_ascii_case(b"inline") || parameters_alone {
        Effect::Inline
    } else {
        Effect::Download
    }
}

/// The names in one value.
#[derive(Default)]
pub(super) struct Names {
    /// What Gecko proposes for saving, before it is fitted to the file system.
    pub(super) chosen: Option<String>,
    /// The plain `filename=` value alone, which clients that know no other form go by (curl).
    pub(super) plain: Option<String>,
}

impl Names {
    pub(super) fn of(value: &[u8]) -> Self {
        let Some(text) = c_string(value) else { return Self::default() };
        let parameters = Parameters::of(text);
        let plain = parameters.plain.as_deref().and_then(|octets| decoded(octets, b""));
        let chosen = parameters.chosen().and_then(|(octets, charset)| decoded(&octets, &charset));
        let [chosen, plain] = [chosen.map(unescaped), plain].map(|name| name.filter(|name| !name.is_empty()));
        Self { chosen, plain }
    }
}

/// Names often come percent-encoded once more. Escapes of control octets stay; so does a result that is no UTF-8.
fn unescaped(name: String) -> String {
    if !name.contains('%') {
        return name;
    }
    let octets = encoding::percent_decode_if(name.as_bytes(), |octet| !octet.is_ascii_control());
    String::from_utf8(octets).unwrap_or(name)
}

/// Text of the octets: by the charset they came with, else with quoted pairs and encoded words undone, as UTF-8 if they
/// are and as ISO 8859-1 if not.
fn decoded(octets: &[u8], charset: &[u8]) -> Option<String> {
    if !charset.is_empty() {
        return match encoding::encoding_for(charset) {
            Some(encoding) => Some(encoding::decode_lossy(octets, encoding).into_owned()),
            None => std::str::from_utf8(octets).ok().map(str::to_owned),
        };
    }
    let octets = gecko_words::decode(&undo_quoted_pairs(octets));
    Some(String::from_utf8(octets).unwrap_or_else(|e| encoding::latin1(e.as_bytes())))
}

/// Drops a backslash before CR, LF, `"` or another backslash.
fn undo_quoted_pairs(octets: &[u8]) -> Vec<u8> {
    if !octets.contains(&b'\\') {
        return octets.to_vec();
    }
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let quoted = rest.next_if(|next| byte == b'\\' && matches!(next, b'\r' | b'\n' | b'"' | b'\\'));
        out.push(quoted.unwrap_or(byte));
    }
    out
}
