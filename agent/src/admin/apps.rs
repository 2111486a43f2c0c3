//! What `portcullis apps` shows: the apps that a policy selects, with how they were used.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::{App, HostPattern};
use crate::record::query::{Discovered, QueryError, Reader, Usage};
use crate::reload::Snapshot;

/// Session controls that a policy can ask for, by the names the policy files use.
const CONTROLS: [&str; 3] = ["block-downloads", "monitor-only", "custom"];

/// One monitored app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRow {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub suite: Option<Arc<str>>,
    pub category: Option<Arc<str>>,
    pub status: AppStatus,
    /// Whether there ever was an inspected connection.
    pub connected: bool,
    /// None where no connection to the app is ever decrypted.
    pub available_controls: Vec<String>,
    /// Policies in force that select it.
    pub policies: Vec<Arc<str>>,
    pub first_seen: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    /// Inspected connections.
    pub sessions: u64,
    /// Users within the retention.
    pub users: u64,
    pub downloads_allowed: u64,
    pub downloads_blocked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppStatus {
    /// A policy selects it, nobody has used it yet.
    Waiting,
    /// Connections to it were inspected.
    Connected,
    /// `[tls] bypass` covers all its names: nothing of it is seen.
    Bypassed,
}

impl AppStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connected => "connected",
            Self::Bypassed => "bypassed",
        }
    }
}

/// A row for every app that a policy of the snapshot selects, by id. Without a log nothing was used yet.
pub fn rows(snapshot: &Snapshot, log: Option<&Reader>) -> Result<Vec<AppRow>, QueryError> {
    let usage = log.map_or(Ok(Vec::new()), Reader::usage)?;
    let usage: HashMap<&str, &Usage> = usage.iter().map(|usage| (&*usage.app, usage)).collect();
    let selected = snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app));
    let mut rows: Vec<AppRow> =
        selected.map(|app| row(snapshot, app, usage.get(&*app.id).copied())).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

/// Hosts seen beside apps that no app of the snapshot owns either.
pub fn discovered(snapshot: &Snapshot, log: &Reader) -> Result<Vec<Discovered>, QueryError> {
    let mut discovered = log.discovered()?;
    discovered.retain(|one| snapshot.catalog.lookup(&one.domain).is_none());
    Ok(discovered)
}

fn row(snapshot: &Snapshot, app: &App, usage: Option<&Usage>) -> AppRow {
    let bypassed = app.domains.iter().all(|domain| is_bypassed(snapshot, domain));
    let status = match usage {
        _ if bypassed => AppStatus::Bypassed,
        Some(_) => AppStatus::Connected,
        None => AppStatus::Waiting,
    };
    let policies = snapshot.policies.policies().iter().filter(|policy| policy.selects(app));
    AppRow {
        id: app.id.clone(),
        name: app.name.clone(),
        suite: app.suite.clone(),
        category: app.category.clone(),
        status,
        connected: usage.is_some(),
        available_controls: if bypassed { Vec::new() } else { CONTROLS.map(str::to_owned).to_vec() },
        policies: policies.map(|policy| policy.name.clone()).collect(),
        first_seen: usage.map(|usage| usage.first_seen),
        last_seen: usage.map(|usage| usage.last_seen),
        sessions: usage.map_or(0, |usage| usage.sessions),
        users: usage.map_or(0, |usage| usage.users),
        downloads_allowed: usage.map_or(0, |usage| usage.downloads_allowed),
        downloads_blocked: usage.map_or(0, |usage| usage.downloads_blocked),
    }
}

/// Whether `[tls] bypass` covers every name of the pattern.
fn is_bypassed(snapshot: &Snapshot, domain: &HostPattern) -> bool {
    let bypass = &snapshot.config.tls.bypass;
    match domain {
        HostPattern::Exact(name) => bypass.iter().any(|pattern| pattern.matches(name)),
        HostPattern::Below(name) => bypass.iter().any(|pattern| match pattern {
            HostPattern::Exact(_) => false,
            HostPattern::Below(above) => above == name || pattern.matches(name),
        }),
    }
}

#[cfg(test)]
mod tests;
