//! Exchanges in an HTTP Archive (HAR 1.2): what browsers' developer tools save.

use serde::Deserialize;

use super::{Address, ReadError, Record, canonical_host, form, in_words, octets, version};
use crate::http::content_disposition::{Padding, base64_decode};
use crate::http::head::{RequestHead, ResponseHead};

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
#[serde(rename_all = "camelCase")]
struct HarRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<HarHeader>,
    post_data: Option<HarContent>,
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
        let recorded = |content: Option<HarContent>, name: &str| match content {
            Some(HarContent { text: Some(text), encoding: Some(encoding) }) if encoding == "base64" => {
                let octets = base64_decode(text.trim().as_bytes(), Padding::Optional);
                octets.map(Some).ok_or_else(|| error(format!("`{name}.text` is not base64")))
            }
            Some(HarContent { text: Some(text), .. }) => Ok(Some(text.into_bytes())),
            _ => Ok(None),
        };
        let sent = recorded(self.request.post_data, "request.postData")?;
        let body = recorded(self.response.content, "response.content")?;
        let mut response = ResponseHead::new(status, version);
        for header in self.response.headers.iter().filter(|header| !header.name.starts_with(':')) {
            // The recorded content is what the browser decoded.
            if body.is_none() || !header.name.eq_ignore_ascii_case("content-encoding") {
                response.fields_mut().push(header.name.trim().as_bytes(), &recorded_octets(&header.value));
            }
        }
        let host = host.or_else(|| request.host().map(canonical_host)).unwrap_or_default();
        let form = form(&request, sent.as_deref());
        Ok(Record { id: number.to_string(), request, response, host, sent, form, body })
    }
}

/// Octets of a value in a HAR file: some browsers write one character an octet, some the text they decoded.
fn recorded_octets(value: &str) -> Vec<u8> {
    octets(value).unwrap_or_else(|_| value.as_bytes().to_vec())
}
