//! The notice that an app is monitored: which requests it is for, who has read it, and who does not want to see it again.
//!
//! It stands before the first page that somebody opens in a browser. What scripts and programs ask for never gets it.

mod told;

pub use told::{HIDDEN, MAX_HIDDEN, MAX_READ, SITTING, Told};

use crate::http::head::RequestHead;

/// Where its links lead, on the app's own host. Origins never see it while notices are shown.
pub const CONTINUE: &str = "/.well-known/portcullis/continue";

/// What a request has to do with the notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Somebody opens a page.
    Page,
    /// Somebody has read the notice, and goes on to `then`: a path of the same host, with its query.
    Continue { then: String, hide: bool },
}

impl Asked {
    /// `browser`: the client is known to be one, or says so. `None`: a part of a page, a script's fetch, a form that was
    /// sent, a program's call.
    pub fn of(request: &RequestHead, browser: bool) -> Option<Self> {
        if !browser || request.method() != "GET" || !is_navigation(request) {
            return None;
        }
        if request.path() != CONTINUE {
            return Some(Self::Page);
        }
        // Another site must not follow the links.
        let own = request.fields().get("sec-fetch-site").is_none_or(|site| site == b"same-origin");
        Some(if own { continued(request.query().unwrap_or_default()) } else { Self::Page })
    }
}

fn continued(query: &str) -> Asked {
    let (mut then, mut hide) = (String::new(), false);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "then" => then = value.into_owned(),
            "hide" => hide = value == "week",
            _ => {}
        }
    }
    Asked::Continue { then: own_path(&then), hide }
}

/// A path of this host; whatever could lead elsewhere becomes the host's first page.
fn own_path(target: &str) -> String {
    let own = target.starts_with('/')
        && !target.starts_with("//")
        && !target.contains('\\')
        && !target.starts_with(CONTINUE)
        && target.bytes().all(|octet| octet.is_ascii_graphic());
    if own { target.to_owned() } else { "/".to_owned() }
}

/// Where the notice leads whoever reads it in place of this page.
pub fn behind(request: &RequestHead) -> String {
    own_path(request.target())
}

/// A page in a tab or window of its own. A browser that sends no Fetch Metadata, as to origins without TLS, says so by
/// what it accepts.
fn is_navigation(request: &RequestHead) -> bool {
    let fields = request.fields();
    let is = |name: &str, wanted: &str| {
        fields.get(name).map(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    let fetched_ahead = ["sec-purpose", "purpose"].iter().any(|name| fields.get(name).is_some());
    let accepts_pages = || {
        let accept = fields.get("accept").unwrap_or_default();
        accept.windows(9).any(|range| range.eq_ignore_ascii_case(b"text/html"))
    };
    !fetched_ahead
        && match (is("sec-fetch-mode", "navigate"), is("sec-fetch-dest", "document")) {
            (None, None) => accepts_pages() && fields.get("x-requested-with").is_none(),
            (mode, dest) => mode == Some(true) && dest == Some(true),
        }
}

#[cfg(test)]
mod tests;
