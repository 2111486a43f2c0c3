//! Exchanges as JSON, one object a line.

use serde::Deserialize;

use super::{Address, ReadError, Record, body, canonical_host, form, in_words, octets, version};
use crate::http::head::{RequestHead, ResponseHead};

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
    body_base64: Option<String>,
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
    let LineRequest { method, url, headers, body_base64 } = parsed.request;
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
    let recorded = |base64: Option<String>, name: &str| match base64.as_deref().map(body) {
        Some(None) => Err(error(format!("`{name}.body_base64` is not base64"))),
        recorded => Ok(recorded.flatten()),
    };
    let sent = recorded(body_base64, "request")?;
    let body = recorded(response.body_base64, "response")?;
    let host = address.host.or_else(|| request_head.host().map(canonical_host)).unwrap_or_default();
    let form = form(&request_head, sent.as_deref());
    Ok(Some(Record { id, request: request_head, response: response_head, host, sent, form, body }))
}
