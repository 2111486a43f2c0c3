//! Who asks, and what for: a navigation, a link to save, a script's fetch, a part of a page, or no browser at all.
//!
//! Browsers say it in Fetch Metadata (`Sec-Fetch-Mode`, `Sec-Fetch-Dest`), which page scripts cannot set.

use crate::http::head::RequestHead;
use crate::session::ClientKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Requester {
    /// A document, top-level or in a frame: the browser shows the response or saves it.
    Navigation,
    /// A navigation that the site's service worker answers: it may hand the response on or keep it.
    Intercepted,
    /// `<a download>`, "save link as": the browser saves whatever comes.
    DownloadLink,
    /// fetch() or XMLHttpRequest: the page gets the bytes and may save them.
    Fetch,
    /// An image, script, style, font, media: used in place, Content-Disposition ignored.
    Subresource,
    /// No browser: whatever comes can go to disk.
    Native,
}

/// Destinations of the Fetch Standard that load a document.
const DOCUMENTS: &[&str] = &["document", "iframe", "frame", "embed", "object", "fencedframe"];

/// Destinations that load a part of a page.
const PARTS: &[&str] = &[
    "image",
    "script",
    "style",
    "font",
    "audio",
    "video",
    "track",
    "manifest",
    "worker",
    "sharedworker",
    "serviceworker",
    "audioworklet",
    "paintworklet",
    "xslt",
    "json",
    "report",
    "speculationrules",
];

/// Decides by what the process is, where that is known, and by Fetch Metadata else. A native program's metadata counts
/// for nothing: it can write what it likes.
/// Whether what comes is shown as a page or in a frame of one, also by way of a service worker.
pub fn opens_page(request: &RequestHead, client: ClientKind) -> bool {
    matches!(requester(request, Some(client)), Requester::Navigation | Requester::Intercepted)
}

pub(super) fn requester(request: &RequestHead, client: Option<ClientKind>) -> Requester {
    if client == Some(ClientKind::Native) {
        return Requester::Native;
    }
    let word = |name| request.fields().get(name).map(|value| value.trim_ascii().to_ascii_lowercase());
    let (mode, dest) = (word("sec-fetch-mode"), word("sec-fetch-dest"));
    let is = |word: &Option<Vec<u8>>, wanted: &str| word.as_deref() == Some(wanted.as_bytes());
    if mode.is_none() && dest.is_none() {
        return if client == Some(ClientKind::Browser) { by_accept(request) } else { Requester::Native };
    }
    let purpose = |name| word(name).is_some_and(|value| value.starts_with(b"prefetch"));
    let prefetched = || ["sec-purpose", "purpose", "x-moz"].into_iter().any(purpose);
    let navigates = is(&mode, "navigate");
    if is(&dest, "empty") && (navigates || is(&mode, "same-origin")) {
        // What a service worker makes of a navigation: Chromium keeps the mode, Firefox does not.
        if accepts_pages(request) {
            return Requester::Intercepted;
        }
        // Chromium's downloads navigate to nowhere and accept nothing by name. (Older ones say `no-cors`: below.)
        if navigates && request.method() == "GET" && !prefetched() {
            return Requester::DownloadLink;
        }
    }
    if navigates || DOCUMENTS.iter().any(|wanted| is(&dest, wanted)) {
        return Requester::Navigation;
    }
    if PARTS.iter().any(|wanted| is(&dest, wanted)) {
        return Requester::Subresource;
    }
    // A destination that is none of these is a thing of the browser's own, as for signing in: never a link.
    if !is(&mode, "no-cors") || dest.is_some() && !is(&dest, "empty") {
        return Requester::Fetch;
    }
    // Prefetches, beacons and pings look like a download link but for their method or purpose. What is prefetched is
    // navigated to later, from the cache.
    match request.method() {
        "GET" if prefetched() => Requester::Navigation,
        "GET" => Requester::DownloadLink,
        _ => Requester::Fetch,
    }
}

fn accepts_pages(request: &RequestHead) -> bool {
    let accept = request.fields().get("accept").unwrap_or_default();
    accept.windows(9).any(|range| range.eq_ignore_ascii_case(b"text/html"))
}

/// A browser sends no Fetch Metadata to plain-text origins; what it accepts still tells a page from its parts, and
/// Chromium's downloads from both: they say nothing at all.
fn by_accept(request: &RequestHead) -> Requester {
    let Some(accept) = request.fields().get("accept") else {
        return if request.method() == "GET" { Requester::DownloadLink } else { Requester::Fetch };
    };
    let accept = accept.trim_ascii().to_ascii_lowercase();
    let begins = |prefix: &str| accept.starts_with(prefix.as_bytes());
    if accepts_pages(request) {
        Requester::Navigation
    } else if ["image/", "text/css", "audio/", "video/", "font/"].iter().any(|prefix| begins(prefix)) {
        Requester::Subresource
    } else {
        Requester::Fetch
    }
}

/// What the client says it is. Browsers say it twice, and recordings often keep only one of the two: in User-Agent, and
/// with Fetch Metadata, which no other kind of program sends by itself.
pub fn claimed_kind(request: &RequestHead) -> ClientKind {
    let fields = request.fields();
    let named = fields.get("user-agent").is_some_and(|agent| agent.starts_with(b"Mozilla/"));
    let metadata = ["sec-fetch-mode", "sec-fetch-dest"].iter().any(|name| fields.get(name).is_some());
    if named || metadata { ClientKind::Browser } else { ClientKind::Native }
}
