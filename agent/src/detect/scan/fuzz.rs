//! The entry for fuzzing.

use super::{Held, Unscanned, scan};
use crate::http::head::Fields;

/// Fuzz entry: any body under any type is read, and what it costs is bounded.
pub fn fuzz_scan(data: &[u8]) {
    const TYPES: [&str; 8] = [
        "text/plain",
        "application/json",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/octet-stream",
        "text/csv; charset=utf-16le",
        "multipart/mixed; boundary=\"b\"",
    ];
    const CODINGS: [&str; 6] = ["", "gzip", "deflate", "br", "zstd", "gzip, br"];
    let [kind, octets @ ..] = data else { return };
    let mut fields = Fields::new();
    let content_type = TYPES.get(usize::from(kind % 8)).copied().unwrap_or_default();
    fields.push(b"content-type", content_type.as_bytes());
    if let Some(coding) = CODINGS.get(usize::from(kind / 8 % 8)).filter(|coding| !coding.is_empty()) {
        fields.push(b"content-encoding", coding.as_bytes());
    }
    let whole = scan(&fields, Held { octets, complete: true });
    assert_eq!(scan(&fields, Held { octets, complete: true }), whole);
    assert_eq!(scan(&fields, Held { octets, complete: false }).unscanned, Some(Unscanned::TooLarge));
}
