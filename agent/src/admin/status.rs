//! What `portcullis status` shows: one value, made by the daemon, sent over the control socket as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin::health::PartHealth;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// When this process began to serve.
    pub since: Timestamp,
    /// `host`, `gateway` or `explicit`.
    pub mode: String,
    /// Where the agent accepts connections.
    pub listener: String,
    pub steering: SteeringStatus,
    pub policies: PolicyStatus,
    pub device: DeviceStatus,
    pub certificate_authority: AuthorityStatus,
    pub activity_log: LogStatus,
    /// Absent where `[console] listen` is off.
    #[serde(default)]
    pub console: Option<ConsoleStatus>,
    pub exports: Vec<ExportStatus>,
    pub health: Vec<PartHealth>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringStatus {
    /// Hooks by the names the kernel lists them under, with where they are attached.
    pub hooks: Vec<String>,
    /// Kernel counters by name.
    pub counters: BTreeMap<String, u64>,
    /// What becomes of connections to selected apps while the agent is down: `closed` or `open`.
    pub fail: String,
    /// Where programs and maps are kept for the next agent.
    pub pins: Option<PathBuf>,
    /// Whether an earlier agent's programs and maps were taken over.
    pub adopted: bool,
    /// When no agent lived between the last one and this one.
    pub gap: Option<GapStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapStatus {
    /// The earlier agent's last heartbeat.
    pub from: Timestamp,
    /// This agent's first.
    pub to: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    pub revision: u64,
    /// Policies in force, report-only ones included.
    pub count: usize,
    pub apps: usize,
    pub last_reload: Option<ReloadStatus>,
    /// The agent kept dying with the policies of the files, and others are in force.
    pub rolled_back: Option<RollbackStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackStatus {
    /// Id of the policy set in the files.
    pub refused: Uuid,
    /// Id of the last good one.
    pub in_force: Uuid,
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    pub time: Timestamp,
    /// Why the last good policies were kept; absent when the reload took effect.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    pub id: String,
    pub compliant: bool,
    pub reason: String,
    pub tags: Vec<String>,
    /// The built-in checks, where they decide.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// As in `[device] checks`.
    pub name: String,
    /// `passed`, `failed` or `unknown`.
    pub outcome: String,
    pub reason: String,
}

impl From<&crate::posture::Checked> for CheckStatus {
    fn from(checked: &crate::posture::Checked) -> Self {
        Self {
            name: checked.check.name().to_owned(),
            outcome: checked.outcome.name().to_owned(),
            reason: checked.reason.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityStatus {
    pub subject: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    pub not_after: Option<Timestamp>,
    pub constraints: Constraints,
    /// The one that is to follow, to be trusted as well.
    #[serde(default)]
    pub next: Option<NextAuthority>,
}

/// A root that takes the other's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAuthority {
    pub subject: String,
    pub fingerprint: String,
    /// From when on leaves are its own, unless `ca rotate --finish` is sooner.
    pub follows_at: Option<Timestamp>,
}

/// Whether the name constraints of the CA certificate cover what it has to sign for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constraints {
    /// The certificate can sign for any name.
    Unconstrained,
    CoverCatalog,
    /// The catalog has names the certificate must not sign for: a new one has to be made and trusted.
    Outgrown {
        names: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    pub path: PathBuf,
    pub records: u64,
    pub lost: u64,
    /// Why the log cannot be written at the moment.
    pub trouble: Option<String>,
    /// Where a damaged log was put.
    pub set_aside: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleStatus {
    pub listen: String,
    /// Why it cannot be reached.
    pub trouble: Option<String>,
}

/// How far one `[[export]]` has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStatus {
    pub name: String,
    pub to: String,
    /// Records and gaps handed over by this process, repetitions included.
    pub sent: u64,
    pub last: Option<Timestamp>,
    /// Why nothing can be handed over at the moment.
    pub trouble: Option<String>,
}

impl From<crate::record::activity_log::LogState> for LogStatus {
    fn from(state: crate::record::activity_log::LogState) -> Self {
        let crate::record::activity_log::LogState { path, records, stored: _, lost, trouble, set_aside } =
            state;
        Self { path, records, lost, trouble, set_aside }
    }
}
