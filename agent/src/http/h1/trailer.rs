//! Trailer sections (RFC 9110 section 6.5): read, freed of what must not come late, written.

use super::refusal::Refusal;
use super::serialise::write_fields;
use crate::http::head::Fields;

/// Fields that steer framing, routing, authentication or what the content is: a trailer must not change them after the
/// head was judged (RFC 9110 section 6.5.1).
pub(in crate::http) const NOT_IN_TRAILERS: [&str; 33] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "authorization",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
];

/// What followed the last chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trailers {
    /// Fields that may be passed on as trailers. They are never merged into the head.
    pub fields: Fields,
    /// How many lines were taken out because they have no business in a trailer section: worth an event.
    pub forbidden: usize,
}

impl Trailers {
    /// From the lines of a section.
    pub(super) fn of(mut fields: Fields) -> Self {
        let forbidden = NOT_IN_TRAILERS.iter().map(|name| fields.remove(name)).sum();
        Self { fields, forbidden }
    }
}

/// Writes the last chunk with a trailer section. On refusal `out` is as before.
pub fn write_last_chunk(trailers: &Fields, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let before = out.len();
    out.extend_from_slice(b"0\r\n");
    let written = write_fields(trailers, out);
    if written.is_err() {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\r\n");
    }
    written
}
