//! Activity records in the forms that a SIEM reads: the record itself as JSON, CEF, OCSF; and the syslog frame around
//! them.

mod cef;
mod ocsf;
mod syslog;

use jiff::Timestamp;
use serde_json::json;

use crate::activity::Activity;
pub use syslog::{Severity, frame};

/// The form of an exported record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The object that `portcullis activity --json` prints.
    Activity,
    /// ArcSight Common Event Format, version 0.
    Cef,
    /// OCSF: File Hosting Activity (6006) for what is about a file, HTTP Activity (4002) for other exchanges, Network
    /// Activity (4001) for connections that ended before one.
    Ocsf,
}

impl Form {
    /// As the settings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Cef => "cef",
            Self::Ocsf => "ocsf",
        }
    }
}

/// Records that are missing.
#[derive(Debug, Clone, Copy)]
pub struct Missing<'a> {
    pub since: Timestamp,
    pub until: Timestamp,
    /// 0 when the number is not known.
    pub count: u64,
    pub reason: &'a str,
}

/// One record as one line, without its end.
pub fn activity(form: Form, activity: &Activity, host: &str) -> String {
    match form {
        // A struct of plain values always serialises.
        Form::Activity => serde_json::to_string(activity).unwrap_or_default(),
        Form::Cef => cef::activity(activity, host),
        Form::Ocsf => ocsf::activity(activity, host).to_string(),
    }
}

/// A gap as one line, without its end.
pub fn missing(form: Form, missing: &Missing<'_>, host: &str) -> String {
    match form {
        Form::Activity => json!({
            "type": "gap", "time": missing.until, "since": missing.since, "count": missing.count,
            "reason": missing.reason,
        })
        .to_string(),
        Form::Cef => cef::missing(missing, host),
        Form::Ocsf => ocsf::missing(missing, host).to_string(),
    }
}

#[cfg(test)]
mod tests;
