//! What the control socket and the console are answered.

use jiff::Timestamp;

use super::{Console, Live};
use crate::admin::apps;
use crate::admin::control::{Answer, Command};
use crate::admin::status::{
    AuthorityStatus, Constraints, DeviceStatus, ExportStatus, GapStatus, NextAuthority, PolicyStatus, Status,
    SteeringStatus,
};
use crate::catalog::HostPattern;
use crate::forward::ExportState;
use crate::record::metrics::Format;
use crate::record::query::{QueryError, Reader};
use crate::reload::Snapshot;
use crate::steering::Steering;

impl Live<'_> {
    pub(in crate::app) fn answer(&self, command: &Command) -> Answer {
        match command {
            Command::Status => as_answer(Ok(self.status())),
            Command::Apps => {
                let snapshot = self.shared.snapshot.load();
                as_answer(self.read_log().and_then(|log| apps::rows(&snapshot, Some(&log))))
            }
            Command::Metrics => {
                let metrics = &self.shared.recorder.metrics;
                (self.before_scrape())(metrics);
                Answer::Ok(metrics.encode(Format::Prometheus).into())
            }
            Command::Discovered => {
                let snapshot = self.shared.snapshot.load();
                as_answer(self.read_log().and_then(|log| apps::discovered(&snapshot, &log)))
            }
            Command::Console => match &self.console {
                None => Answer::Error("there is no console: [console] listen is off".into()),
                Some(console) => console.answer(),
            },
            Command::Policies => {
                let policies = &self.shared.snapshot.load().policies;
                Answer::Ok(policies.document().into())
            }
            Command::Reload => match self.reload("a command") {
                None => Answer::Ok(serde_json::Value::Null),
                Some(error) => Answer::Error(error),
            },
        }
    }

    fn read_log(&self) -> Result<Reader, QueryError> {
        Reader::open(&self.shared.recorder.log.state().path)
    }

    pub(in crate::app) fn status(&self) -> Status {
        let snapshot = self.shared.snapshot.load();
        let device = self.shared.device.load();
        let counters = self.counters.iter().flat_map(|counters| counters.read());
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            since: self.since,
            mode: self.mode.name().into(),
            listener: self.pool.listening().into(),
            steering: SteeringStatus {
                hooks: self.steering.borrow().as_ref().map(Steering::hooks).unwrap_or_default(),
                counters: counters.map(|(name, n)| (name.to_owned(), n)).collect(),
                fail: self.kernel.fail.into(),
                pins: self.kernel.pins.clone(),
                adopted: self.kernel.adopted,
                gap: self.kernel.gap.map(|gap| GapStatus { from: gap.from, to: gap.to }),
            },
            policies: PolicyStatus {
                revision: snapshot.revision,
                count: snapshot.policies.policies().iter().filter(|policy| policy.in_force()).count(),
                apps: snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app)).count(),
                last_reload: self.last_reload.borrow().clone(),
                rolled_back: self.last_good.rolled_back(),
            },
            device: DeviceStatus {
                id: device.id.to_string(),
                compliant: device.compliant,
                reason: device.reason.to_string(),
                tags: device.tags.iter().map(ToString::to_string).collect(),
                checks: self.shared.checked.load().iter().map(Into::into).collect(),
            },
            certificate_authority: self.authority_status(&snapshot),
            activity_log: self.shared.recorder.log.state().into(),
            console: self.console.as_ref().map(Console::status),
            exports: self.exports.states().into_iter().map(export_status).collect(),
            health: self.health.report(),
        }
    }

    fn authority_status(&self, snapshot: &Snapshot) -> AuthorityStatus {
        let authority = self.shared.clients.authority();
        let certificates = authority.certificates();
        let patterns: Vec<HostPattern> =
            snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
        let names = authority.outgrown(&patterns);
        AuthorityStatus {
            subject: certificates.root_facts.subject.clone(),
            fingerprint: certificates.root_facts.fingerprint_text(),
            not_after: Timestamp::try_from(certificates.not_after()).ok(),
            constraints: if names.is_empty() {
                Constraints::CoverCatalog
            } else {
                Constraints::Outgrown { names }
            },
            next: certificates.next.as_ref().map(|next| NextAuthority {
                subject: next.root_facts.subject.clone(),
                fingerprint: next.root_facts.fingerprint_text(),
                follows_at: Timestamp::try_from(next.follows_at()).ok(),
            }),
        }
    }
}

fn export_status(state: ExportState) -> ExportStatus {
    let ExportState { name, target, sent, last, trouble } = state;
    ExportStatus { name: name.to_string(), to: target, sent, last, trouble }
}

fn as_answer<T: serde::Serialize>(value: Result<T, QueryError>) -> Answer {
    let value = value.map_err(|error| error.to_string());
    match value.and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string())) {
        Ok(value) => Answer::Ok(value),
        Err(error) => Answer::Error(error),
    }
}
