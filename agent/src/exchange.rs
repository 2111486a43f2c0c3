//! Recorded HTTP exchanges for `classify`: reading them from JSON lines or a HAR file, writing the answers.
//!
//! A header value is text in which each character up to U+00FF is one octet of the wire. No I/O here: text in, records
//! out, and what is wrong said in words with the line it is on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classify::{Classification, Exchange};
use crate::http::content_disposition::{
    ContentDisposition, Padding, base64_decode, display_name, display_text,
};
use crate::http::head::{RequestHead, ResponseHead, Version};

/// One recorded exchange.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: String,
    pub request: RequestHead,
    pub response: ResponseHead,
    /// Lower case, without port and trailing dot; empty when the address names none.
    pub host: String,
    /// The body as recorded, if it was.
    pub body: Option<Vec<u8>>,
}

impl Record {
    pub fn exchange(&self) -> Exchange<'_> {
        Exchange {
            body_prefix: self.body.as_deref(),
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

#[derive(Deserialize)]
struct LineExchange {
    id: Option<serde_json::Value>,
    request: LineRequest,
    response: LineResponse,
}

#[derive(Deserialize)]
struct LineRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct LineResponse {
    protocol: Option<String>,
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body_base64: Option<String>,
}

/// Reads line number `number` (from 1). `None` for a blank line.
pub fn read_line(line: &str, number: usize) -> Result<Option<Record>, ReadError> {
    let line = line.trim_start_matches('\u{FEFF}').trim();
    if line.is_empty() {
        return Ok(None);
    }
    let error = |what: String| ReadError { line: number, what };
    let parsed: LineExchange = serde_json::from_str(line).map_err(|e| error(in_words(&e)))?;
    let id = match parsed.id {
        None | Some(serde_json::Value::Null) => number.to_string(),
        Some(serde_json::Value::String(id)) => id,
        Some(serde_json::Value::Number(id)) => id.to_string(),
        Some(_) => return Err(error("`id` is neither text nor a number".to_owned())),
    };
    let LineRequest { method, url, headers } = parsed.request;
    let response = parsed.response;
    if !(100..1000).contains(&response.status) {
        return Err(error(format!("`response.status` is {}, not a status code", response.status)));
    }
    let version = version(response.protocol.as_deref().unwrap_or_default());
    let address =
        Address::of(&url).ok_or_else(|| error(format!("`request.url` is no absolute URL: {url:?}")))?;
    let mut request_head = RequestHead::new(&method, &address.target, version);
    for (name, value) in &headers {
        let value = octets(value).map_err(|what| error(format!("request header {name:?}: {what}")))?;
        request_head.fields_mut().push(name.trim().as_bytes(), &value);
    }
    let mut response_head = ResponseHead::new(response.status, version);
    for (name, value) in &response.headers {
        let value = octets(value).map_err(|what| error(format!("response header {name:?}: {what}")))?;
        response_head.fields_mut().push(name.trim().as_bytes(), &value);
    }
    let body = match response.body_base64 {
        None => None,
        Some(text) => Some(
            base64_decode(text.trim().as_bytes(), Padding::Optional)
                .ok_or_else(|| error("`response.body_base64` is not base64".to_owned()))?,
        ),
    };
    let host = address.host.or_else(|| request_head.host().map(canonical_host)).unwrap_or_default();
    Ok(Some(Record { id, request: request_head, response: response_head, host, body }))
}

#[derive(Deserialize)]
struct Har {
    log: HarLog,
}

#[derive(Deserialize)]
struct HarLog {
    entries: Vec<HarEntry>,
}

#[derive(Deserialize)]
struct HarEntry {
    request: HarRequest,
    response: HarResponse,
}

#[derive(Deserialize)]
struct HarRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<HarHeader>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarResponse {
    /// Zero, or below, when no response came.
    status: i32,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    headers: Vec<HarHeader>,
    content: Option<HarContent>,
}

#[derive(Deserialize)]
struct HarContent {
    text: Option<String>,
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct HarHeader {
    name: String,
    value: String,
}

/// Reads a HAR document. Records are numbered from 1 in the order of the entries.
pub fn read_har(text: &str) -> Result<Vec<Record>, ReadError> {
    let har: Har = serde_json::from_str(text.trim_start_matches('\u{FEFF}'))
        .map_err(|e| ReadError { line: e.line(), what: format!("no HAR document: {}", in_words(&e)) })?;
    har.log.entries.into_iter().zip(1usize..).map(|(entry, number)| entry.record(number)).collect()
}

impl HarEntry {
    fn record(self, number: usize) -> Result<Record, ReadError> {
        let error = |what: String| ReadError { line: 0, what: format!("entry {number}: {what}") };
        let version = version(&self.response.http_version);
        // Browsers record data: and blob: addresses too; those have no host.
        let Address { target, host } = Address::of(&self.request.url)
            .unwrap_or_else(|| Address { target: self.request.url.clone(), host: None });
        let mut request = RequestHead::new(&self.request.method, &target, version);
        for header in self.request.headers.iter().filter(|header| !header.name.starts_with(':')) {
            request.fields_mut().push(header.name.trim().as_bytes(), &recorded_octets(&header.value));
        }
        let status = u16::try_from(self.response.status.max(0)).map_err(|_| {
            error(format!("`response.status` is {}, not a status code", self.response.status))
        })?;
        let body = match self.response.content {
            Some(HarContent { text: Some(text), encoding: Some(encoding) }) if encoding == "base64" => Some(
                base64_decode(text.trim().as_bytes(), Padding::Optional)
                    .ok_or_else(|| error("`response.content.text` is not base64".to_owned()))?,
            ),
            Some(HarContent { text: Some(text), .. }) => Some(text.into_bytes()),
            _ => None,
        };
        let mut response = ResponseHead::new(status, version);
        for header in self.response.headers.iter().filter(|header| !header.name.starts_with(':')) {
            // The recorded content is what the browser decoded.
            if body.is_none() || !header.name.eq_ignore_ascii_case("content-encoding") {
                response.fields_mut().push(header.name.trim().as_bytes(), &recorded_octets(&header.value));
            }
        }
        let host = host.or_else(|| request.host().map(canonical_host)).unwrap_or_default();
        Ok(Record { id: number.to_string(), request, response, host, body })
    }
}

/// Octets of a value whose characters stand for one octet each.
fn octets(value: &str) -> Result<Vec<u8>, String> {
    value
        .chars()
        .map(|c| u8::try_from(c).map_err(|_| format!("{c:?} is above U+00FF, so it is no octet of the wire")))
        .collect()
}

/// Octets of a value in a HAR file: some browsers write one character an octet, some the text they decoded.
fn recorded_octets(value: &str) -> Vec<u8> {
    octets(value).unwrap_or_else(|_| value.as_bytes().to_vec())
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

/// What `classify` says about one exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer<'a> {
    pub id: &'a str,
    pub activity: &'static str,
    pub download: bool,
    /// The name as the header means it, where a header gives it: this is for comparing, not for showing.
    pub filename: Option<String>,
    pub mime: Option<&'a str>,
    pub kind: &'static str,
    pub reason: &'a str,
}

impl<'a> Answer<'a> {
    pub fn new(record: &'a Record, found: &'a Classification) -> Self {
        let disposition = ContentDisposition::parse(record.response.fields().get_all("content-disposition"));
        let meant = disposition.filename().filter(|name| display_name(name) == found.filename);
        Self {
            id: &record.id,
            activity: found.activity.name(),
            download: found.download,
            filename: meant.map(str::to_owned).or_else(|| found.filename.clone()),
            mime: found.mime.as_deref(),
            kind: found.kind.name(),
            reason: &found.reason,
        }
    }

    /// One JSON object without line breaks, in which every character that could steer a terminal is escaped.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut out = String::with_capacity(json.len());
        for c in json.chars() {
            // Outside of strings JSON has none of these, and inside an escape means the same character.
            if display_text(c.encode_utf8(&mut [0; 4])) == "_" && c != '_' {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                out.push(c);
            }
        }
        out
    }

    /// One line for a person, in columns.
    pub fn to_text(&self) -> String {
        let name = self.filename.as_deref().and_then(display_name);
        let line = format!(
            "{:<20}  {:<8}  {:<14}  {:<28}  {:<28}  {}",
            display_text(self.id),
            self.activity,
            self.kind,
            self.mime.unwrap_or("-"),
            name.as_deref().unwrap_or("-"),
            self.reason
        );
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests;
