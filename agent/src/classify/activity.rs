//! Which activity an exchange is. Where rules of single apps (sign-in, message, share, by method, host and path) go.

use super::content_type::essence;
use super::media_type::{self, Content, Handling};
use super::requester::Requester;
use super::{ActivityType, Exchange};

/// Names the activity of an exchange whose download question is answered.
///
/// Rules of the app come first once the catalog has them: a sign-in stays one even if it is answered with a page. A
/// download goes before everything, because that is what controls are about.
pub(super) fn activity(
    exchange: &Exchange<'_>,
    requester: Requester,
    download: bool,
    mime: Option<&str>,
) -> ActivityType {
    if download {
        ActivityType::Download
    } else if carries_files(exchange) {
        ActivityType::Upload
    } else if shows_document(exchange, requester, mime) {
        ActivityType::View
    } else {
        ActivityType::None
    }
}

/// Whether the request's body is a file or a form with files, as far as its head tells.
fn carries_files(exchange: &Exchange<'_>) -> bool {
    let request = exchange.request;
    if !matches!(request.method(), "POST" | "PUT" | "PATCH") {
        return false;
    }
    let empty = request.fields().get("content-length").is_some_and(|length| length.trim_ascii() == b"0");
    let Some(essence) = request.fields().get("content-type").and_then(essence) else {
        return false;
    };
    if empty {
        return false;
    }
    if essence == "multipart/form-data" {
        return request.method() == "POST";
    }
    let traits = media_type::traits(&essence);
    match traits.content {
        Content::File | Content::Pdf | Content::Image | Content::Media => true,
        Content::Unknown => traits.gecko == Handling::Save && request.method() == "PUT",
        Content::Page | Content::Data | Content::Text => false,
    }
}

/// Whether a person gets to see a page or a document: successful navigations to something a browser shows.
fn shows_document(exchange: &Exchange<'_>, requester: Requester, mime: Option<&str>) -> bool {
    if requester != Requester::Navigation || !(200..300).contains(&exchange.response.status()) {
        return false;
    }
    let framed =
        exchange.request.fields().get("sec-fetch-dest").is_some_and(|dest| dest.trim_ascii() != b"document");
    mime.is_some_and(|mime| match media_type::traits(mime).content {
        Content::Page => !framed,
        Content::Pdf | Content::Text | Content::Image | Content::Media => true,
        Content::Data | Content::File | Content::Unknown => false,
    })
}
