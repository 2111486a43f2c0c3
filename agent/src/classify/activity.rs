//! Which activity an exchange is: by the app's own rules over requests, else by what the heads say.

use super::content_type::essence;
use super::form::{Form, is_form};
use super::media_type::{self, Content, Handling};
use super::requester::Requester;
use super::{ActivityType, Exchange};
use crate::catalog::{App, Asked};
use crate::http::head::{RequestHead, ResponseHead, Version};

/// What the app's rules call a request to `host`; with the status of its response where there is one.
pub(super) fn by_rules(
    app: Option<&App>,
    request: &RequestHead,
    host: &str,
    status: Option<u16>,
) -> Option<ActivityType> {
    let (method, path, query) = (request.method(), request.path(), request.query());
    app?.activity(&Asked { method, host, path, query, status }).map(|rule| rule.activity)
}

/// Names the activity of an exchange whose download question is answered.
///
/// A download goes before everything, because that is what controls are about. Then the app's rules: a sign-in stays one
/// even if it is answered with a page. A rule on downloads says nothing more here: the response was none.
pub(super) fn activity(
    exchange: &Exchange<'_>,
    requester: Requester,
    download: bool,
    mime: Option<&str>,
    rule: Option<ActivityType>,
) -> ActivityType {
    let status = exchange.response.status();
    match rule {
        _ if download => ActivityType::Download,
        Some(ActivityType::SignIn) if is_turned_away(exchange.response) => ActivityType::SignInFailed,
        Some(
            known @ (ActivityType::SignIn
            | ActivityType::SignInFailed
            | ActivityType::Message
            | ActivityType::Share
            | ActivityType::Upload),
        ) => known,
        // The app says that nothing is done by such a request, whatever its head looks like.
        Some(ActivityType::None) => ActivityType::None,
        Some(ActivityType::Print) if status < 400 => ActivityType::Print,
        Some(ActivityType::View) if (200..300).contains(&status) => ActivityType::View,
        _ if carries_files(exchange.request, exchange.form) => ActivityType::Upload,
        _ if shows_document(exchange, requester, mime) => ActivityType::View,
        _ => ActivityType::None,
    }
}

/// A sign-in that failed: an error status, or a redirect back with an error (RFC 6749 sections 4.1.2.1 and 4.2.2.1).
fn is_turned_away(response: &ResponseHead) -> bool {
    let error = |address: &[u8]| {
        let parameters =
            address.iter().position(|b| matches!(b, b'?' | b'#')).and_then(|at| address.get(at + 1..));
        parameters.is_some_and(|text| {
            text.split(|b| matches!(b, b'&' | b'#' | b'?')).any(|pair| pair.starts_with(b"error="))
        })
    };
    response.status() >= 400
        || (300..400).contains(&response.status()) && response.fields().get_all("location").any(error)
}

/// Whether the request's body is a file, as far as its head tells, or a form that was not seen to be without files.
fn carries_files(request: &RequestHead, form: Option<&Form>) -> bool {
    if !matches!(request.method(), "POST" | "PUT" | "PATCH") {
        return false;
    }
    let put = request.method() == "PUT";
    let length = request.fields().get("content-length");
    if length.is_some_and(|length| length.trim_ascii() == b"0") {
        return false;
    }
    let Some(essence) = request.fields().get("content-type").and_then(essence) else {
        // PUT stores what it carries at an address (RFC 9110 section 9.3.4), and upload sessions name no type.
        let chunked = request.fields().get("transfer-encoding").is_some();
        return put && (length.is_some() || chunked || request.version() == Version::Http2);
    };
    if is_form(request) {
        return form.is_none_or(|form| !form.is_without_files());
    }
    let traits = media_type::traits(&essence);
    match traits.content {
        Content::File | Content::Pdf | Content::Image | Content::Media => true,
        // Resumable uploads of the tus protocol.
        Content::Unknown if essence == "application/offset+octet-stream" => true,
        Content::Unknown => traits.gecko == Handling::Save && put,
        Content::Page | Content::Text => put,
        Content::Data => false,
    }
}

/// Whether a person gets to see a page or a document: successful navigations to something a browser shows.
fn shows_document(exchange: &Exchange<'_>, requester: Requester, mime: Option<&str>) -> bool {
    if !matches!(requester, Requester::Navigation | Requester::Intercepted)
        || !(200..300).contains(&exchange.response.status())
    {
        return false;
    }
    // Behind a service worker the destination is lost.
    let framed = requester == Requester::Navigation
        && exchange
            .request
            .fields()
            .get("sec-fetch-dest")
            .is_some_and(|dest| dest.trim_ascii() != b"document");
    mime.is_some_and(|mime| match media_type::traits(mime).content {
        Content::Page => !framed,
        Content::Pdf | Content::Text | Content::Image | Content::Media => true,
        Content::Data | Content::File | Content::Unknown => false,
    })
}
