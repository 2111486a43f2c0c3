//! What of a client's or origin's text may enter a record: bounds, and what is cut out because it can be a credential.

use std::borrow::Cow;
use std::sync::Arc;

use crate::http::head::{RequestHead, ResponseHead};
use crate::http::{is_token, lower_case};

/// Bounds in bytes. The sum keeps a record below some ten KiB.
pub const MAX_PATH: usize = 1024;
pub const MAX_USER_AGENT: usize = 512;
pub const MAX_FILE_NAME: usize = 512;
pub const MAX_REASON: usize = 512;
/// A host name has at most 253 bytes; a Host field may hold anything.
pub const MAX_HOST: usize = 255;
/// Names of users, groups, apps, policies, tags, methods, media types.
pub const MAX_NAME: usize = 256;
/// A longer "extension" is the tail of a sentence, not a type.
const MAX_EXTENSION: usize = 16;
/// Stands where a credential stood.
const REDACTED: &str = "[redacted]";

/// The longest prefix of at most `max` bytes that ends on a character border.
pub(super) fn bounded(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// The same text when it fits, without copying.
pub(super) fn shared(text: &Arc<str>, max: usize) -> Arc<str> {
    if text.len() <= max { Arc::clone(text) } else { bounded(text, max).into() }
}

pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
    items.into_iter().take(super::MAX_LISTED).map(|item| shared(item, MAX_NAME)).collect()
}

/// Why something is so, in words that are mostly the program's own.
pub(super) fn words(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_REASON { text } else { bounded(&text, MAX_REASON).to_owned().into() }
}

/// The method of a request. Those that nearly all have are not copied.
pub(super) fn method(text: &str) -> Cow<'static, str> {
    const USUAL: [&str; 8] = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "CONNECT"];
    match USUAL.into_iter().find(|usual| *usual == text) {
        Some(usual) => Cow::Borrowed(usual),
        None => bounded(text, MAX_NAME).to_owned().into(),
    }
}

/// Field bytes as text: what is no UTF-8 becomes U+FFFD.
pub(super) fn lossy(value: &[u8], max: usize) -> Arc<str> {
    // Decoding triples the size at most; there is no use in decoding more than can be kept.
    let head = value.get(..max).unwrap_or(value);
    bounded(&String::from_utf8_lossy(head), max).into()
}

/// A request path fit for the record: no query, no fragment, and without the places where credentials travel in
/// paths: path parameters (`;jsessionid=…`, RFC 3986 section 3.3), signed tokens (RFC 7519), webhook secrets.
pub(super) fn path(path: &str) -> Arc<str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    // A credential must not survive in part because the bound fell inside it; twice the bound is plenty to cut from.
    let path = bounded(path, 2 * MAX_PATH);
    let suspicious = path.contains(';') || path.contains("eyJ") || path.contains("/services/");
    if !suspicious {
        return bounded(path, MAX_PATH).into();
    }
    let mut kept = String::with_capacity(path.len().min(MAX_PATH));
    let webhook = is_webhook(path);
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            kept.push('/');
        }
        match segment.split_once(';') {
            _ if webhook && at == WEBHOOK_SECRET => kept.push_str(REDACTED),
            Some((name, parameters)) if parameters.contains('=') => kept.push_str(unless_token(name)),
            _ => kept.push_str(unless_token(segment)),
        }
    }
    bounded(&kept, MAX_PATH).into()
}

/// Segment of `/services/T…/B…/secret` that lets anyone post to the channel.
const WEBHOOK_SECRET: usize = 4;

fn is_webhook(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    segments.next() == Some("services")
        && segments.next().is_some_and(|team| team.starts_with('T'))
        && segments.next().is_some_and(|hook| hook.starts_with('B'))
}

/// A JSON web token is three base64url parts; the first is an object and so begins with `eyJ`. One that was cut short,
/// or has a name before it, counts as well.
fn unless_token(segment: &str) -> &str {
    let token = segment
        .find("eyJ")
        .is_some_and(|at| segment.len() - at > MAX_EXTENSION && (at == 0 || segment.split('.').count() >= 3));
    if token { REDACTED } else { segment }
}

/// `Text/HTML; charset=utf-8` -> `text/html`. `None` for what is no media type.
pub(super) fn essence(value: &[u8]) -> Option<Arc<str>> {
    let essence = std::str::from_utf8(first_part(value)).ok()?;
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind.as_bytes()) && is_token(subtype.as_bytes()))
        .then(|| lower_case(bounded(essence, MAX_NAME)).into())
}

/// `Attachment; filename=x` -> `attachment`. `None` for what does not begin with a token (RFC 6266 section 4.1).
pub(super) fn disposition_type(value: &[u8]) -> Option<Arc<str>> {
    let kind = std::str::from_utf8(first_part(value)).ok()?;
    is_token(kind.as_bytes()).then(|| lower_case(bounded(kind, MAX_NAME)).into())
}

fn first_part(value: &[u8]) -> &[u8] {
    value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii()
}

/// `Report.DOCX` -> `docx`. `None` without a dot, for a leading or trailing one, and for what no extension looks like.
pub(super) fn extension(name: &str) -> Option<Arc<str>> {
    let (stem, extension) = name.trim_end().rsplit_once('.')?;
    let plausible = !stem.is_empty()
        && !extension.is_empty()
        && extension.len() <= MAX_EXTENSION
        && !extension.contains(|c: char| c.is_whitespace() || c.is_control());
    plausible.then(|| extension.to_lowercase().into())
}

/// Size of the whole representation that a response carries, or a part of it (RFC 9110 sections 8.6 and 14.4).
pub(super) fn sent_size(head: &ResponseHead) -> Option<u64> {
    let fields = head.fields();
    if fields
        .get("content-encoding")
        .is_some_and(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    {
        return None;
    }
    if head.status() == 206 {
        let range = std::str::from_utf8(fields.get("content-range")?).ok()?;
        return decimal(range.rsplit_once('/')?.1.as_bytes());
    }
    (200..300).contains(&head.status()).then(|| decimal(fields.get("content-length")?)).flatten()
}

/// Size of an uploaded file when the body is the file itself: not wrapped in a form, not one part of several.
pub(super) fn uploaded_size(head: &RequestHead) -> Option<u64> {
    let fields = head.fields();
    let wrapped = fields.get("content-type").and_then(essence).is_some_and(|mime| {
        mime.starts_with("multipart/")
            || &*mime == "application/x-www-form-urlencoded"
            || &*mime == "application/json"
    });
    if wrapped || fields.get("content-encoding").is_some() {
        return None;
    }
    if let Some(range) = fields.get("content-range") {
        return decimal(std::str::from_utf8(range).ok()?.rsplit_once('/')?.1.as_bytes());
    }
    decimal(fields.get("content-length")?)
}

/// Digits only: `+5` and `5, 5` are no size.
fn decimal(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}
