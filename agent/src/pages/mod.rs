//! Pages in which copying, cutting, pasting or printing is blocked: what is asked of their origin, what is put into them.
//!
//! A browser copies and prints without asking anybody, so the page itself has to refuse. It gets a script and a style as
//! the first things in it, before whatever its own scripts do.

pub mod csp;
mod script;
mod start;

use std::sync::Arc;

pub use start::{MAX_START, Start};

use crate::classify::ActivityType;
use crate::http::content_coding::codings;
use crate::http::head::{Fields, RequestHead, ResponseHead};

/// What can be blocked in a page.
pub const RESTRICTABLE: [ActivityType; 4] =
    [ActivityType::Copy, ActivityType::Cut, ActivityType::Paste, ActivityType::Print];

/// What is blocked in a page, with what its user is told. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restrictions {
    told: [Option<Arc<str>>; RESTRICTABLE.len()],
}

/// Why a page cannot be restricted, and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrestrictable {
    #[error("its origin compressed it although it was asked not to")]
    Compressed,
    #[error("its text is UTF-16")]
    Utf16,
}

/// What is put into a page, and what its Content Security Policy has to name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Text of the style element; empty where printing is free.
    pub style: String,
    /// Text of the script element.
    pub script: String,
}

impl Restrictions {
    /// `told`: what the user reads where the activity is blocked, else `None`. `None` in all: nothing is restricted.
    pub fn of(told: impl FnMut(ActivityType) -> Option<Arc<str>>) -> Option<Self> {
        let told = RESTRICTABLE.map(told);
        told.iter().any(Option::is_some).then_some(Self { told })
    }

    fn each(&self) -> impl Iterator<Item = (ActivityType, &str)> {
        let named = RESTRICTABLE.into_iter().zip(&self.told);
        named.filter_map(|(activity, told)| Some((activity, told.as_deref()?)))
    }

    /// What is put into each page.
    pub fn parts(&self) -> Parts {
        let printed = self.each().find(|(activity, _)| *activity == ActivityType::Print);
        Parts {
            style: printed.map(|(_, told)| script::style(told)).unwrap_or_default(),
            script: script::script(self.each()),
        }
    }
}

impl Parts {
    /// As HTML, in ASCII.
    pub fn html(&self) -> String {
        let Self { style, script } = self;
        if style.is_empty() {
            return format!("<script>{script}</script>");
        }
        format!("<style data-portcullis>{style}</style><script>{script}</script>")
    }
}

/// What a page is asked for with, so that all of it comes, and as text.
pub fn ask(request: &mut RequestHead) {
    let fields = request.fields_mut();
    // A copy from before the policy must not be called good (RFC 9110 section 13.1).
    for conditional in ["if-none-match", "if-modified-since"] {
        fields.remove(conditional);
    }
    fields.set("Accept-Encoding", b"identity");
}

/// Whether a response is a page into which something can be put. Not what a browser saves: that is asked elsewhere.
///
/// # Errors
/// It is one, and cannot be restricted.
pub fn is_page(request: &RequestHead, response: &ResponseHead) -> Result<bool, Unrestrictable> {
    let fields = response.fields();
    // Parts of a page are for a download to be resumed with.
    if request.method() == "HEAD"
        || matches!(response.status(), 100..=199 | 204..=206 | 304)
        || !is_html(fields)
    {
        return Ok(false);
    }
    if codings(fields).next().is_some() {
        return Err(Unrestrictable::Compressed);
    }
    let utf16 = |value: &[u8]| value.to_ascii_lowercase().windows(6).any(|word| word == b"utf-16");
    if fields.get_all("content-type").any(utf16) {
        return Err(Unrestrictable::Utf16);
    }
    Ok(true)
}

fn is_html(fields: &Fields) -> bool {
    let mut types = fields.get_all("content-type").flat_map(|value| value.split(|octet| *octet == b','));
    types.any(|value| {
        let essence = value.split(|octet| *octet == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// Makes the head of a page that of the page with `added` octets more: no validator, digest or range is right any more,
/// and no copy is kept that would be shown when other policies hold.
pub fn answer(response: &mut ResponseHead, added: usize, hashes: &csp::Hashes) {
    let fields = response.fields_mut();
    for stale in [
        "etag",
        "last-modified",
        "accept-ranges",
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
        "expires",
        "pragma",
        "age",
    ] {
        fields.remove(stale);
    }
    fields.set("Cache-Control", b"no-store");
    let length =
        fields.get("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        fields.set("Content-Length", length.saturating_add(added as u64).to_string().as_bytes());
    }
    csp::allow(fields, hashes);
}

#[cfg(test)]
mod tests;
