//! The answer to one exchange, as a JSON line for programs and a line of columns for people.

use std::sync::Arc;

use serde::Serialize;

use super::Record;
use crate::classify::{Classification, Kind, is_named};
use crate::http::content_disposition::{ContentDisposition, display_name, display_text};
use crate::policy::decision::Decision;

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
    /// Left out where nobody gave policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decided>,
}

/// What policies would have decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Decided {
    /// The host belongs to no app, so no policy is asked: `null`.
    NoApp,
    By {
        action: &'static str,
        /// The deciding policy, if one applied.
        policy: Option<Arc<str>>,
        reason: String,
    },
}

impl<'a> Answer<'a> {
    pub fn new(record: &'a Record, found: &'a Classification) -> Self {
        let disposition = ContentDisposition::parse(record.response.fields().get_all("content-disposition"));
        let meant = disposition.filename().filter(|name| display_name(name) == found.filename);
        // Without a header the address gives the name, but not where the client has one of its own: that of the file it
        // fetches a part of, the one in a link's `download` attribute, or whatever a script chooses.
        let own_name = matches!(found.kind, Kind::Range | Kind::RequestSignal | Kind::Fetch);
        let from_address = found.filename.clone().filter(|_| !own_name || is_named(&record.response));
        Self {
            id: &record.id,
            activity: found.activity.name(),
            download: found.download,
            filename: meant.map(str::to_owned).or(from_address),
            mime: found.mime.as_deref(),
            kind: found.kind.name(),
            reason: &found.reason,
            decision: None,
        }
    }

    /// Adds what was decided; `None` where the host belongs to no app.
    #[must_use]
    pub fn with_decision(mut self, decision: Option<&Decision>) -> Self {
        self.decision = Some(match decision {
            None => Decided::NoApp,
            Some(decision) => Decided::By {
                action: decision.action().name(),
                policy: decision.policy().cloned(),
                reason: decision.reason().to_string(),
            },
        });
        self
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
        let (column, why) = match &self.decision {
            None => Default::default(),
            Some(decision) => decision.to_text(),
        };
        format!(
            "{:<20}  {:<8}  {:<14}  {column}{:<32}  {}{mime}{why}",
            display_text(self.id),
            self.activity,
            self.kind,
            name.as_deref().unwrap_or("-"),
            self.reason,
        )
    }
}

impl Decided {
    /// A column with the action, and what goes to the end of the line.
    fn to_text(&self) -> (String, String) {
        let (action, why) = match self {
            Self::NoApp => ("-", "; the host belongs to no app".to_owned()),
            Self::By { action, policy: None, reason } => (*action, format!("; {}", display_text(reason))),
            Self::By { action, policy: Some(policy), reason } => {
                (*action, format!("; \"{}\": {}", display_text(policy), display_text(reason)))
            }
        };
        (format!("{action:<7}  "), why)
    }
}
