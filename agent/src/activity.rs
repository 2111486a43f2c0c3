//! The activity record: who did what with which app, what was decided and why. The JSON shape users and tests rely on.
//!
//! A record never holds a query string, a cookie, a token or matched content, and no text in it is longer than its
//! bound here, whatever a client or origin sent. What is not known is `null`; nothing is filled in by guess.

mod context;
mod evaluated;
mod names;
mod own;
mod parts;
mod related;
mod shape;
mod text;
mod transfer;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::classify::{ActivityType, Classification, Kind};
use crate::detect::Detector;
use crate::detect::scan::{Scan, Unscanned};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::policy::Networks;
use crate::policy::decision::{Action, Decision};
use crate::session::{ClientKind, Device, Session};

pub use context::Context;
pub use evaluated::{Evaluated, MAX_GROUPS, NotEvaluated};
pub use own::Own;
pub use parts::Row;
pub use related::{Via, related_hosts};
pub use shape::{Rest, Shape};
pub use text::{MAX_FILE_NAME, MAX_HOST, MAX_NAME, MAX_PATH, MAX_REASON, MAX_USER_AGENT};
pub use transfer::{TransferFacts, TransferState};

/// Most groups, tags or policies that one record lists.
pub const MAX_LISTED: usize = 64;

/// One record. Serialises to the object `activity --json` prints, and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// UUIDv7: ordered by time of creation, also the id a blocked user is shown.
    pub id: Uuid,
    /// When the activity was decided, in whole microseconds.
    pub time: Timestamp,
    #[serde(rename = "type", with = "names::activity_type")]
    pub kind: ActivityType,
    pub app: AppFacts,
    pub user: UserFacts,
    pub device: DeviceFacts,
    pub process: ProcessFacts,
    pub client: ClientFacts,
    pub server: ServerFacts,
    pub request: RequestFacts,
    /// Absent when the activity was decided before, or without, an answer of the origin.
    pub response: Option<ResponseFacts>,
    /// Absent when the activity is about no file.
    pub file: Option<FileFacts>,
    pub decision: DecisionFacts,
    /// Report-only policies that would have decided something stricter.
    pub report_only: Vec<Arc<str>>,
    /// Absent when no content was looked at; an empty list when it was and nothing was found.
    pub content: Option<ContentFacts>,
    /// What policies looked at and no other field says. Absent where none was asked: the connection or request was refused
    /// before.
    pub evaluated: Option<Evaluated>,
    /// Absent when no body of a download was let pass.
    #[serde(default)]
    pub transfer: Option<TransferFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppFacts {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub suite: Option<Arc<str>>,
    pub category: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserFacts {
    pub name: Option<Arc<str>>,
    pub uid: Option<u32>,
    pub groups: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceFacts {
    pub id: Arc<str>,
    pub compliant: bool,
    pub tags: Vec<Arc<str>>,
    pub os: Arc<str>,
    /// Why it counted as compliant or not. Absent in records of versions that did not keep it.
    pub reason: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessFacts {
    pub pid: Option<u32>,
    pub exe: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    pub cgroup: Option<Arc<str>>,
    /// Absent in records of versions that did not know them.
    pub unit: Option<Arc<str>>,
    pub container: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// The address by which locations are decided. A steered connection reaches the agent from a loopback address,
    /// which would say nothing about where the user is.
    pub address: IpAddr,
    pub port: u16,
    #[serde(with = "names::client_kind")]
    pub kind: ClientKind,
    pub user_agent: Option<Arc<str>>,
    /// Names of the `[networks]` that held the address then. Absent in records of versions that did not know them.
    #[serde(default)]
    pub locations: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerFacts {
    pub address: IpAddr,
    pub port: u16,
    pub name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    pub method: Cow<'static, str>,
    pub host: Option<Arc<str>>,
    /// Without query and fragment; what is known to carry a credential inside a path is replaced.
    pub path: Arc<str>,
    pub version: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResponseFacts {
    pub status: u16,
    /// Media type essence as the origin declared it, lower case.
    pub mime: Option<Arc<str>>,
    /// Disposition type of RFC 6266, lower case: `attachment`, `inline`. Its parameters are not kept.
    pub disposition: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    pub name: Option<Arc<str>>,
    /// What follows the last dot of the name, lower case, without the dot.
    pub extension: Option<Arc<str>>,
    /// In bytes. Absent when the exchange does not say, for example under a content coding.
    pub size: Option<u64>,
    /// Media type as classified, which content may have corrected against what the origin declared.
    pub mime: Option<Arc<str>>,
    /// What the first octets of the content say it is, as `files.types` of a rule names it; absent where they were not
    /// looked at.
    #[serde(rename = "type", default)]
    pub file_type: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DecisionFacts {
    #[serde(with = "names::action")]
    pub action: Action,
    /// Whether `action` was carried out. Only a block can fail to be.
    pub enforced: bool,
    pub policy: Option<Arc<str>>,
    pub rule: Option<Arc<str>>,
    pub reason: Cow<'static, str>,
    /// The policy set that was asked; absent when none was.
    pub policy_set: Option<Uuid>,
    /// How long classification and decision took, in microseconds.
    pub micros: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentFacts {
    pub matches: Vec<DetectorCount>,
    /// Why a part of the content was not looked at; absent when all of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscanned: Option<Arc<str>>,
}

impl ContentFacts {
    fn of(scan: &Scan) -> Self {
        let matches = scan
            .counts
            .found()
            .map(|(detector, count)| DetectorCount { detector: detector.name().into(), count: count.into() });
        Self { matches: matches.collect(), unscanned: scan.unscanned.map(|why| why.name().into()) }
    }

    /// The same as policies look at it. Detectors that this version does not know are left out.
    fn scan(&self) -> Scan {
        let known = |found: &DetectorCount| {
            Some((Detector::from_name(&found.detector)?, u32::try_from(found.count).unwrap_or(u32::MAX)))
        };
        Scan {
            counts: self.matches.iter().filter_map(known).collect(),
            unscanned: self.unscanned.as_deref().and_then(Unscanned::from_name),
        }
    }
}

/// How often a content detector matched. Never what it matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorCount {
    pub detector: Arc<str>,
    pub count: u64,
}

/// What the stages handed along about one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub session: &'a Session,
    pub device: &'a Device,
    pub request: &'a RequestHead,
    pub response: Option<&'a ResponseHead>,
    pub classification: &'a Classification,
    /// Size of the file in bytes as policies were told it.
    pub size: Option<u64>,
    pub decision: &'a Decision,
    pub outcome: Outcome<'a>,
    /// The named locations of the settings in force, of which a record says those that hold the client's address.
    pub networks: &'a Networks,
}

/// What only the pipeline knows.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    pub enforced: bool,
    /// Time that classification and decision took, in microseconds.
    pub micros: u64,
    /// Size in bytes when counted; otherwise the heads are asked.
    pub file_size: Option<u64>,
    /// Findings of the detectors; `None` when no content was looked at.
    pub content: Option<&'a Scan>,
}

impl Activity {
    /// The record of one exchange. `id` and `time` come from the shell: this half of the program reads no clock.
    pub fn new(id: Uuid, time: Timestamp, observed: &Observed<'_>) -> Self {
        Self::from_parts(observed.row(id, time), Context::of(observed), Own::of(observed))
    }
}

/// What is known of a connection or request that was refused before there was an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    pub session: &'a Session,
    pub device: &'a Device,
    pub decision: &'a Decision,
    /// Whether what was decided was done.
    pub enforced: bool,
    /// The request that was refused; `None` where the connection did not get that far.
    pub request: Option<&'a RequestHead>,
    /// The named locations of the settings in force.
    pub networks: &'a Networks,
}

impl Activity {
    /// The record of a refusal: type `access`. `id` and `time` as in [`Activity::new`].
    pub fn refused(id: Uuid, time: Timestamp, refused: &Refused<'_>) -> Self {
        let Refused { session, device, decision, enforced, request, networks } = *refused;
        let nothing = RequestHead::new("", "", Version::Http11);
        let classification = Classification {
            activity: ActivityType::Access,
            download: false,
            filename: None,
            other_filenames: Vec::new(),
            mime: None,
            file_type: None,
            kind: Kind::Error,
            reason: "refused".into(),
        };
        let observed = Observed {
            session,
            device,
            request: request.unwrap_or(&nothing),
            response: None,
            classification: &classification,
            size: None,
            decision,
            outcome: Outcome { enforced, micros: 0, file_size: None, content: None },
            networks,
        };
        let mut activity = Self::new(id, time, &observed);
        if request.is_none() {
            // There was none: neither a path nor a version is made up for it.
            activity.request.path = "".into();
            activity.request.version = "".into();
        }
        activity
    }
}

impl ResponseFacts {
    fn from_head(head: &ResponseHead) -> Self {
        Self {
            status: head.status(),
            mime: head.fields().get("content-type").and_then(text::essence),
            disposition: head.fields().get("content-disposition").and_then(text::disposition_type),
        }
    }
}

impl FileFacts {
    fn of(
        request: &RequestHead,
        response: Option<&ResponseHead>,
        classification: &Classification,
        counted: Option<u64>,
    ) -> Option<Self> {
        use ActivityType::{Download, Print, Share, Upload};
        let about_a_file = matches!(classification.activity, Download | Upload | Print | Share);
        if !about_a_file && classification.filename.is_none() {
            return None;
        }
        let name = classification.filename.as_deref().filter(|n| !n.is_empty());
        let declared = match classification.activity {
            Upload => text::uploaded_size(request),
            _ => response.and_then(text::sent_size),
        };
        Some(Self {
            // The extension is taken from the whole name, so that an over-long name does not hide it.
            extension: name.and_then(text::extension),
            name: name.map(|n| text::bounded(n, MAX_FILE_NAME).into()),
            size: counted.or(declared),
            mime: classification.mime.as_deref().map(|m| text::bounded(m, MAX_NAME).into()),
            file_type: classification.file_type.map(|known| known.name().into()),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
