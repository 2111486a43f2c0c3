//! Who asks, and what for: a navigation, a link to save, a script's fetch, a part of a page, or no browser at all.
//!
//! Browsers say it in Fetch Metadata (`Sec-Fetch-Mode`, `Sec-Fetch-Dest`), which page scripts cannot set.

use crate::http::head::RequestHead;
use crate::session::ClientKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Requester {
    /// A document, top-level or in a frame: the browser shows the response or saves it.
    Navigation,
    /// `<a download>`: the browser saves whatever comes.
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
    if is(&mode, "navigate") || DOCUMENTS.iter().any(|wanted| is(&dest, wanted)) {
        return Requester::Navigation;
    }
    if PARTS.iter().any(|wanted| is(&dest, wanted)) {
        return Requester::Subresource;
    }
    if !is(&mode, "no-cors") {
        return Requester::Fetch;
    }
    // Prefetches, beacons and pings look like a download link but for their method or purpose. What is prefetched is
    // navigated to later, from the cache.
    let purpose = |name| word(name).is_some_and(|value| value.starts_with(b"prefetch"));
    match request.method() {
        "GET" if purpose("sec-purpose") || purpose("purpose") => Requester::Navigation,
        "GET" => Requester::DownloadLink,
        _ => Requester::Fetch,
    }
}

/// A browser sends no Fetch Metadata to plain-text origins; what it accepts still tells a page from its parts.
fn by_accept(request: &RequestHead) -> Requester {
    let accept = request.fields().get("accept").unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let begins = |prefix: &str| accept.starts_with(prefix.as_bytes());
    if memchr::memmem::find(&accept, b"text/html").is_some() {
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
