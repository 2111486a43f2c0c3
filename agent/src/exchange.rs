//! Recorded HTTP exchanges for `classify`: reading them from JSON lines or a HAR file, writing the answers.
//!
//! A header value is text in which each character up to U+00FF is one octet of the wire. No I/O here: text in, records
//! out, and what is wrong said in words with the line it is on.

mod answer;
mod har;
mod lines;
#[cfg(test)]
mod tests;
mod trial;

use std::fmt;

use crate::catalog::Catalog;
use crate::classify::{Exchange, FirstBytes, Form};
use crate::http::content_disposition::{Padding, base64_decode};
use crate::http::head::{RequestHead, ResponseHead, Version};

pub use answer::{Answer, Decided};
pub use har::read_har;
pub use lines::read_line;
pub use trial::Trial;

/// One recorded exchange.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: String,
    pub request: RequestHead,
    pub response: ResponseHead,
    /// Lower case, without port and trailing dot; empty when the address names none.
    pub host: String,
    /// The body of the request as recorded, if it was.
    pub sent: Option<Vec<u8>>,
    /// What it shows, where it is a form.
    pub form: Option<Form>,
    /// The body of the response.
    pub body: Option<Vec<u8>>,
}

/// What was recorded of the request's body, where it is a form.
fn form(request: &RequestHead, sent: Option<&[u8]>) -> Option<Form> {
    sent.and_then(|octets| Form::of(request, FirstBytes::whole(octets)))
}

impl Record {
    /// With the rules of the app that the host belongs to.
    pub fn exchange_with<'a>(&'a self, catalog: &'a Catalog) -> Exchange<'a> {
        Exchange { app: catalog.lookup(&self.host).map(|app| &**app), ..self.exchange() }
    }

    pub fn exchange(&self) -> Exchange<'_> {
        Exchange {
            form: self.form.as_ref(),
            first_bytes: self.body.as_deref().map(FirstBytes::whole),
            ..Exchange::new(&self.request, &self.response, &self.host)
        }
    }
}

/// Why a line, or an entry of a HAR file, is no exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Counted from 1. For a HAR file with a bad entry: zero, the entry is named in the text.
    pub line: usize,
    pub what: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for ReadError {}

/// How a text holds its exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    /// HTTP Archive 1.2, one JSON document.
    Har,
}

impl Format {
    /// Tells by the first line that is not blank: a HAR document begins with the member `log`.
    pub fn of_first_line(line: &str) -> Self {
        let inner = line.trim_start_matches('\u{FEFF}').trim().strip_prefix('{').map(str::trim_start);
        match inner {
            Some(inner) if inner.is_empty() || inner.starts_with("\"log\"") => Format::Har,
            _ => Format::JsonLines,
        }
    }
}

/// Octets of a value whose characters stand for one octet each.
fn octets(value: &str) -> Result<Vec<u8>, String> {
    value
        .chars()
        .map(|c| u8::try_from(c).map_err(|_| format!("{c:?} is above U+00FF, so it is no octet of the wire")))
        .collect()
}

/// A body as lines have it; many programs break its digits into lines.
fn body(base64: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = base64.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    base64_decode(&digits, Padding::Optional)
}

fn version(protocol: &str) -> Version {
    let protocol = protocol.trim().to_ascii_lowercase();
    let number = protocol.strip_prefix("http/").or(protocol.strip_prefix('h')).unwrap_or(&protocol);
    match number {
        "1.0" => Version::Http10,
        // The heads of HTTP/2 and HTTP/3 are the same here.
        n if n.starts_with(['2', '3']) => Version::Http2,
        _ => Version::Http11,
    }
}

struct Address {
    /// Path and query as a request line has them.
    target: String,
    host: Option<String>,
}

impl Address {
    /// `scheme://authority/path?query`, or path and query alone.
    fn of(url: &str) -> Option<Self> {
        let url = url.split('#').next().unwrap_or_default();
        if url.starts_with('/') {
            return Some(Self { target: url.to_owned(), host: None });
        }
        let (_scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let host = match authority.rfind(':').filter(|_| !authority.ends_with(']')) {
            Some(colon) => authority.get(..colon)?,
            None => authority,
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        (!host.is_empty())
            .then(|| Self { target: [slash, target].concat(), host: Some(canonical_host(host)) })
    }
}

fn canonical_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The parser's complaint with the column, without the line: it saw only this one.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(&text);
    format!("{what} (column {})", error.column())
}
