//! One report on the device, from a file or a command: JSON with a verdict, a reason, tags and an end.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::regular_file;

/// A report larger than this is not one.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    pub compliant: bool,
    pub reason: String,
    #[serde(default)]
    pub tags: Vec<String>,
    /// After this the report counts for nothing.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl Report {
    /// Not compliant, because nobody can tell.
    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self { compliant: false, reason: reason.into(), tags: Vec::new(), expires: None }
    }

    /// Reads a report; whatever cannot be read is unknown, with the reason.
    pub(super) fn parse(source: &str, bytes: &[u8]) -> Self {
        if bytes.len() > MAX_BYTES {
            return Self::unknown(format!("{source} is larger than {MAX_BYTES} bytes"));
        }
        serde_json::from_slice(bytes)
            .unwrap_or_else(|error| Self::unknown(format!("{source} is not a posture report: {error}")))
    }

    /// The report as it counts at `now`.
    pub(super) fn at(self, now: Timestamp) -> Self {
        match self.expires {
            Some(expires) if expires <= now => Self {
                compliant: false,
                reason: format!("the report expired at {expires} (it said: {})", self.reason),
                ..self
            },
            _ => self,
        }
    }
}

pub(super) fn from_file(path: &Path) -> Report {
    let name = path.display().to_string();
    match regular_file::read(path, MAX_BYTES as u64) {
        Ok(bytes) => Report::parse(&name, &bytes),
        Err(why) if why.is_absence() => Report::unknown(format!("{name} is not there")),
        Err(why) => Report::unknown(format!("{name} cannot be read: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[track_caller]
    fn check(text: &str, compliant: bool, reason: &str) {
        let report = Report::parse("file", text.as_bytes()).at(now());
        assert_eq!(report.compliant, compliant, "{report:?}");
        assert!(report.reason.contains(reason), "{report:?}");
    }

    #[test]
    fn a_report_counts_until_it_expires_and_never_when_it_is_unclear() {
        check(r#"{"compliant":true,"reason":"ok"}"#, true, "ok");
        check(r#"{"compliant":true,"reason":"ok","expires":"2026-01-01T12:00:01Z"}"#, true, "ok");
        check(r#"{"compliant":true,"reason":"ok","expires":"2026-01-01T12:00:00Z"}"#, false, "expired");
        check(r#"{"compliant":false,"reason":"disk not encrypted"}"#, false, "disk");
        check(r#"{"reason":"ok"}"#, false, "missing field `compliant`");
        check(r#"{"compliant":"true","reason":"ok"}"#, false, "invalid type");
        check(r#"{"compliant":true,"reason":"ok","extra":1}"#, false, "unknown field");
        check("", false, "EOF");
        check("\u{0}", false, "not a posture report");
    }

    #[test]
    fn a_missing_file_is_named() {
        let report = from_file(Path::new("/nonexistent/compliance.json"));
        assert!(!report.compliant);
        assert!(report.reason.contains("/nonexistent/compliance.json is not there"));
    }
}
