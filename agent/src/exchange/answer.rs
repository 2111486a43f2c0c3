//! The answer to one exchange, as a JSON line for programs and a line of columns for people.

use serde::Serialize;

use super::Record;
use crate::classify::Classification;
use crate::http::content_disposition::{ContentDisposition, display_name, display_text};

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
        let mime = self.mime.map(|mime| format!(" ({mime})")).unwrap_or_default();
        format!(
            "{:<20}  {:<8}  {:<14}  {:<32}  {}{mime}",
            display_text(self.id),
            self.activity,
            self.kind,
            name.as_deref().unwrap_or("-"),
            self.reason,
        )
    }
}
