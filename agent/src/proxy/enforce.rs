//! Carries out a decision: the response a client reads instead of the origin's.

use uuid::Uuid;

use super::{block_page, notice_page};
use crate::classify::Classification;
use crate::http::h1::{Emit, Framing, Refusal, write_response};
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::decision::{Action, Decision};

/// The field that names the record of a block.
const ACTIVITY: &str = "X-Portcullis-Activity";

/// Fields that speak of a response's content (RFC 9110 section 8, RFC 6266, RFC 9530).
const OF_CONTENT: [&str; 13] = [
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-digest",
    "repr-digest",
    "transfer-encoding",
    "trailer",
    "etag",
    "last-modified",
];

/// A complete response of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    head: ResponseHead,
    body: Vec<u8>,
}

/// In which form a client can show a refusal to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// HTML for a navigation, JSON where the client asked for it, else plain text.
    pub fn for_request(request: &RequestHead) -> Self {
        let fields = request.fields();
        let accepts = |media_type: &str| {
            fields.get_all("accept").any(|value| {
                value.split(|byte| *byte == b',').any(|range| {
                    let essence = range.split(|byte| *byte == b';').next().unwrap_or_default();
                    essence.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
                })
            })
        };
        match fields.get("sec-fetch-mode") {
            Some(mode) if mode.eq_ignore_ascii_case(b"navigate") => Form::Html,
            None if accepts("text/html") => Form::Html,
            _ if accepts("application/json") => Form::Json,
            _ => Form::Text,
        }
    }
}

impl Answer {
    /// The block answer, or `None` when the decision does not block.
    pub fn of_decision(
        decision: &Decision,
        request: &RequestHead,
        class: &Classification,
        activity: Uuid,
        app: &str,
    ) -> Option<Self> {
        if decision.action() != Action::Block {
            return None;
        }
        let filename = class.filename.as_deref();
        let text = match decision.message() {
            Some(message) => message.to_string(),
            None => block_page::standard_text(class.activity, filename),
        };
        let (kind, body) = match Form::for_request(request) {
            Form::Html => ("text/html; charset=utf-8", block_page::html(&text, app, activity)),
            Form::Json => ("application/json", block_page::json(class.activity, &text, filename, activity)),
            Form::Text => ("text/plain; charset=utf-8", format!("{text}\n")),
        };
        let head = own_head(403, kind).with(ACTIVITY, &activity.to_string());
        Some(Self { head, body: body.into_bytes() })
    }

    /// A failure of the exchange itself, told in one line.
    pub fn failure(status: u16, why: &str) -> Self {
        let body = format!("{status}: {why}\n").into_bytes();
        Self { head: own_head(status, "text/plain; charset=utf-8"), body }
    }

    /// The notice that an app is monitored, in place of the page that was asked for, to which it leads on.
    pub(super) fn notice(text: Option<&str>, app: &str, then: &str) -> Self {
        let body = notice_page::html(text, app, then).into_bytes();
        Self { head: own_head(200, "text/html; charset=utf-8"), body }
    }

    /// Leads a browser on to `path` of the same host.
    pub(super) fn see_other(path: &str) -> Self {
        let head = own_head(303, "text/plain; charset=utf-8").with("Location", path);
        Self { head, body: Vec::new() }
    }

    /// The redirect with which something blocked came, without that: a client that follows it is led on.
    pub(super) fn led_on(self, redirect: &ResponseHead) -> Self {
        let mut head = redirect.clone();
        for name in OF_CONTENT {
            head.fields_mut().remove(name);
        }
        if let Some(activity) = self.head.fields().get(ACTIVITY) {
            head.fields_mut().set(ACTIVITY, activity);
        }
        Self { head, body: Vec::new() }
    }

    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Head and body, for whoever frames them.
    pub fn parts(&self) -> (&ResponseHead, &[u8]) {
        (&self.head, &self.body)
    }

    /// Appends the response to `request` as HTTP/1.1 bytes.
    pub fn write(&self, request: &RequestHead, persistent: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut head = self.head.clone();
        head.set_version(request.version());
        let framing = Framing::Length(self.body.len() as u64);
        let emit = Emit { framing, persistent, upgrade: false };
        if request.method() == "HEAD" {
            head.fields_mut().set("content-length", self.body.len().to_string().as_bytes());
            return write_response(&head, "HEAD", Emit { framing: Framing::None, ..emit }, out);
        }
        write_response(&head, request.method(), emit, out)?;
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// A head no cache keeps and no page can turn into something else.
fn own_head(status: u16, content_type: &str) -> ResponseHead {
    ResponseHead::new(status, crate::http::head::Version::Http11)
        .with("Content-Type", content_type)
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
        .with("Content-Security-Policy", block_page::CONTENT_SECURITY_POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Version;

    #[track_caller]
    fn check(fields: &[(&str, &str)], expected: Form) {
        let mut request = RequestHead::new("GET", "/f", Version::Http11);
        for (name, value) in fields {
            request = request.with(name, value);
        }
        assert_eq!(Form::for_request(&request), expected, "{fields:?}");
    }

    #[test]
    fn the_form_follows_what_the_client_can_show() {
        let browser = ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        check(&[browser, ("Sec-Fetch-Mode", "navigate")], Form::Html);
        check(&[("Sec-Fetch-Mode", "navigate")], Form::Html);
        check(&[browser], Form::Html);
        check(&[("Accept", "*/*"), ("Sec-Fetch-Mode", "cors")], Form::Text);
        check(&[("Accept", "Application/JSON;odata=verbose, text/plain")], Form::Json);
        check(&[browser, ("Sec-Fetch-Mode", "cors")], Form::Text);
        check(&[("Accept", "*/*")], Form::Text);
        check(&[], Form::Text);
    }

    #[test]
    fn an_answer_to_head_has_the_length_and_no_body() {
        let answer = Answer::failure(421, "no");
        let mut out = Vec::new();
        answer.write(&RequestHead::new("HEAD", "/", Version::Http11), true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 421 "), "{text}");
        assert!(text.contains("ontent-Length: 8\r\n") || text.contains("content-length: 8\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}
