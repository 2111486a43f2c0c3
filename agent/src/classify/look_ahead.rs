//! When the beginning of a response body is worth waiting for, and how much of it.

use super::content_type::Declared;
use super::media_type::{self, Content};
use super::requester::{Requester, requester};
use super::{Exchange, MAX_LOOK_AHEAD, first_bytes, sniff, verdict};
use crate::http::content_disposition::ContentDisposition;
use crate::http::head::ResponseHead;

/// Types that come when something happens, not when they are asked for: nothing is held back to look at them.
const STREAMS: &[&str] = &[
    "text/event-stream",
    "multipart/x-mixed-replace",
    "application/x-ndjson",
    "application/jsonl",
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web-text",
];

/// See [`Exchange::look_ahead`].
pub(super) fn octets_wanted(exchange: &Exchange<'_>, true_type: bool) -> usize {
    let response = exchange.response;
    let declared = Declared::of(response.fields());
    let streams = declared.all().any(|essence| STREAMS.contains(&essence));
    if verdict::has_no_body(exchange.request.method(), response.status())
        || verdict::is_empty(exchange)
        || streams
    {
        return 0;
    }
    if verdict::is_followed(exchange) {
        let as_it_is = Exchange { as_it_is: true, ..*exchange };
        let carries = || super::classify(&as_it_is).download;
        // A file by its head may have no body at all, as with many redirects to files: one octet tells.
        return match octets_wanted(&as_it_is, true_type) {
            0 => usize::from(carries()),
            wanted => wanted,
        };
    }
    if !is_from_start(response) {
        return if may_be_no_text(exchange, &declared) { sniff::SNIFF_LENGTH } else { 0 };
    }
    if true_type || may_be_disguised(exchange, &declared) || may_be_part(exchange, &declared) {
        return MAX_LOOK_AHEAD;
    }
    match (verdict::is_sniffed(exchange, &declared), first_bytes::is_encoded(response.fields())) {
        (false, _) => 0,
        (true, false) => sniff::SNIFF_LENGTH,
        (true, true) => MAX_LOOK_AHEAD,
    }
}

/// Whether the body begins with the beginning of the file: not in the middle, and not with a boundary between ranges.
pub(super) fn is_from_start(response: &ResponseHead) -> bool {
    response.status() != 206
        || response.fields().get("content-range").is_some_and(|range| {
            let range = range.trim_ascii();
            range.get(..5).is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes"))
                && range.get(5..).unwrap_or_default().trim_ascii_start().starts_with(b"0-")
        })
}

/// Whether what comes from within a file is declared to be text, to a requester for whom that counts: other octets show that
/// it is none.
fn may_be_no_text(exchange: &Exchange<'_>, declared: &Declared<'_>) -> bool {
    !first_bytes::is_encoded(exchange.response.fields())
        && declared.all().any(media_type::is_textual)
        && (keeps(exchange) || verdict::is_sniffed(exchange, declared))
}

/// Whether the requester gets what is declared and can keep it as what it is.
fn keeps(exchange: &Exchange<'_>) -> bool {
    matches!(
        requester(exchange.request, exchange.client),
        Requester::Fetch | Requester::Intercepted | Requester::Native
    )
}

/// Whether content decides that the response is a part of a page, which its head alone does not say.
fn may_be_part(exchange: &Exchange<'_>, declared: &Declared<'_>) -> bool {
    let disposition = || ContentDisposition::parse(exchange.response.fields().get_all("content-disposition"));
    requester(exchange.request, exchange.client) == Requester::Subresource
        && verdict::may_show_part(declared)
        && !verdict::may_be_part(&disposition(), declared)
}

/// Whether a script or a program may get a file under a type that is none, or one of its own. Answers that grow while they are sent have
/// no length; waiting for those would stop the page.
fn may_be_disguised(exchange: &Exchange<'_>, declared: &Declared<'_>) -> bool {
    let fields = exchange.response.fields();
    // By a type that nobody knows scripts may exchange anything; to a program it is a file, whatever it holds.
    let native = requester(exchange.request, exchange.client) == Requester::Native;
    let plain = declared.all().all(|essence| match media_type::traits(essence).content {
        Content::File => false,
        Content::Unknown => !native,
        _ => true,
    });
    keeps(exchange)
        && plain
        && exchange.response.status() < 400
        && (fields.get("content-length").is_some() || first_bytes::is_encoded(fields))
}
