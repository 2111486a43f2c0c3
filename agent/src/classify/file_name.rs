//! Under which names a response may be saved: as its heads say, else after its address.

use serde::Deserialize;

use super::file_type::FileType;
use crate::http::content_disposition::{ContentDisposition, display_name, percent_decode};
use crate::http::head::{RequestHead, ResponseHead};

/// Longest field value read as JSON.
const MAX_RESULT: usize = 8 << 10;

/// Every name that a client derives from the head, the preferred one first, made safe to show. No duplicates.
pub(super) fn of_heads(response: &ResponseHead, disposition: &ContentDisposition) -> Vec<String> {
    let others = disposition.other_filenames().iter().map(String::as_str);
    let mut names: Vec<String> = Vec::new();
    for name in disposition.filename().into_iter().chain(others).filter_map(display_name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.extend(of_api_result(response).as_deref().and_then(display_name));
    }
    names
}

/// Whether a head names the file, so that its name is not the client's to choose.
pub fn is_named(response: &ResponseHead) -> bool {
    let values = response.fields().get_all("content-disposition");
    ContentDisposition::parse(values).filename().is_some() || of_api_result(response).is_some()
}

/// Dropbox names the file of a download by POST in a field of its own, as JSON.
fn of_api_result(response: &ResponseHead) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ApiResult {
        /// Of a document that was turned into another type. First: its own name is of that type.
        Exported {
            export_metadata: Metadata,
        },
        Stored(Metadata),
    }
    let value = response.fields().get("dropbox-api-result").filter(|value| value.len() <= MAX_RESULT)?;
    let (ApiResult::Exported { export_metadata: file } | ApiResult::Stored(file)) =
        serde_json::from_slice(value).ok()?;
    Some(file.name)
}

/// The names of [`of_path`], and those that Chromium makes of them: where they have no extension, or the address has a query,
/// which is how programs that make files are called, the extension is that of the type.
pub(super) fn of_address(request: &RequestHead, types: impl IntoIterator<Item = FileType>) -> Vec<String> {
    let mut names = of_path(request.path());
    let called = request.path_and_query().contains('?');
    let Some(first) = names.first().cloned() else { return names };
    let (stem, extension) = match first.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => (stem, Some(extension)),
        _ => (first.as_str(), None),
    };
    for known in types {
        let fits = |given: &str| known.extensions().iter().any(|usual| usual.eq_ignore_ascii_case(given));
        if extension.is_none_or(|given| called && !fits(given)) {
            let name = format!("{stem}.{}", known.name());
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The last segment of a path, percent-decoded when that gives text. Chromium leaves out what a semicolon begins, other clients
/// keep it: its name goes first.
pub(super) fn of_path(path: &str) -> Vec<String> {
    let segment = path.rsplit('/').next().unwrap_or_default();
    let short = segment.split(';').next().unwrap_or_default();
    let decoded = |name: &str| {
        display_name(&String::from_utf8(percent_decode(name.as_bytes())).unwrap_or_else(|_| name.to_owned()))
    };
    let mut names: Vec<String> = decoded(short).into_iter().collect();
    if short.len() < segment.len() {
        names.extend(decoded(segment));
        names.dedup();
    }
    names
}
