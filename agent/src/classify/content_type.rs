//! Content-Type as browsers read it, repeated and joined fields included.

use std::borrow::Cow;

use crate::http::head::Fields;
use crate::http::{is_token, lower_case};

/// Longest essence taken for a media type: RFC 6838 section 4.2 allows 127 for each half.
const MAX_ESSENCE: usize = 255;

/// Distinct types kept of one response; more are a contradiction anyway.
const MAX_TYPES: usize = 4;

/// The types a response declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Declared<'a> {
    /// Distinct essences in the order of their last mention: browsers go by the last one.
    essences: Vec<Cow<'a, str>>,
}

impl<'a> Declared<'a> {
    /// Reads all Content-Type fields. What is no media type counts as not declared.
    pub(super) fn of(fields: &'a Fields) -> Self {
        let mut essences: Vec<Cow<'a, str>> = Vec::new();
        for essence in fields.get_all("content-type").flat_map(members).filter_map(essence) {
            essences.retain(|known| *known != essence);
            if essences.len() == MAX_TYPES {
                essences.remove(0);
            }
            essences.push(essence);
        }
        // Says nothing, so that browsers go by another one where there is one (WHATWG Fetch, "extract a MIME type").
        if essences.len() > 1 {
            essences.retain(|essence| essence != "*/*");
        }
        Self { essences }
    }

    /// The type browsers go by.
    pub(super) fn essence(&self) -> Option<&str> {
        self.essences.last().map(Cow::as_ref)
    }

    /// Every declared type, the decisive one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.essences.iter().rev().map(Cow::as_ref)
    }

    /// Several different types: clients may go by another one than browsers do.
    pub(super) fn contradicts_itself(&self) -> bool {
        self.essences.len() > 1
    }
}

/// Splits a value at commas outside quotes: repeated fields may have been joined on the way.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |&b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        b == b',' && !quoted
    })
}

/// `type/subtype` in lower case, without parameters, and copied only where that changes it. `None` when it is not two tokens.
pub(super) fn essence(value: &[u8]) -> Option<Cow<'_, str>> {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let text = value.get(..end)?.trim_ascii();
    let slash = text.iter().position(|&b| b == b'/')?;
    let (family, subtype) = (text.get(..slash)?, text.get(slash + 1..)?);
    if text.len() > MAX_ESSENCE || !is_token(family) || !is_token(subtype) {
        return None;
    }
    // Tokens are ASCII.
    std::str::from_utf8(text).ok().map(lower_case)
}
