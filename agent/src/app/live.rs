//! The running agent as its admin side sees it: reload, look after the parts, answer the control socket.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;

use super::{orders, origin_connector, workers::Pool};
use crate::admin::control::{Answer, Command};
use crate::admin::health::{Condition, Health, Part};
use crate::admin::status::{
    AuthorityStatus, Constraints, DeviceStatus, PolicyStatus, ReloadStatus, Status, SteeringStatus,
};
use crate::catalog::HostPattern;
use crate::diagnostic::Style;
use crate::proxy::worker::Shared;
use crate::record::metrics::Metrics;
use crate::reload::{self, Fingerprint, Snapshot, Sources, Watch};
use crate::steering::{self, KernelCounters, Steering};

pub(super) struct Live<'p> {
    shared: Arc<Shared>,
    steering: RefCell<Option<Steering>>,
    cgroup: PathBuf,
    counters: Arc<KernelCounters>,
    health: Arc<Health>,
    sources: Sources,
    watch: RefCell<Watch>,
    last_reload: RefCell<Option<ReloadStatus>>,
    minted: Cell<u64>,
    since: Timestamp,
    pool: &'p Pool,
}

impl<'p> Live<'p> {
    pub(super) fn new(
        shared: Arc<Shared>,
        steering: Steering,
        health: Arc<Health>,
        sources: Sources,
        seen: Fingerprint,
        pool: &'p Pool,
    ) -> Result<Self> {
        let counters = Arc::new(steering.counters()?);
        Ok(Self {
            shared,
            cgroup: steering.cgroup().to_owned(),
            steering: RefCell::new(Some(steering)),
            counters,
            health,
            sources,
            watch: RefCell::new(Watch::new(seen)),
            last_reload: RefCell::new(None),
            minted: Cell::new(0),
            since: Timestamp::now(),
            pool,
        })
    }

    pub(super) fn cgroup(&self) -> &std::path::Path {
        &self.cgroup
    }

    /// Takes over the kernel's counters before a scrape.
    pub(super) fn before_scrape(&self) -> Arc<dyn Fn(&Metrics) + Send + Sync> {
        let counters = self.counters.clone();
        Arc::new(move |metrics| {
            for (event, total) in counters.read() {
                metrics.set_kernel_event(event, total);
            }
        })
    }

    /// Reloads when a file changed, once it no longer does.
    pub(super) fn look(&self) {
        let due = self.watch.borrow_mut().is_due(&self.sources.fingerprint());
        if due {
            self.reload("a changed file");
        }
    }

    /// Reads, validates and publishes everything, or keeps what is in force. Returns what was wrong.
    pub(super) fn reload(&self, why: &str) -> Option<String> {
        self.watch.borrow_mut().about_to_read(self.sources.fingerprint());
        let error = self.try_reload().err();
        self.shared.recorder.metrics.policies_reloaded(error.is_none());
        match &error {
            None => {
                let revision = self.shared.snapshot.load().revision;
                tracing::info!(revision, "reloaded after {why}");
                self.health.set(Part::Policies, Condition::Ok);
            }
            Some(error) => {
                tracing::error!(
                    "not reloaded after {why}, the last good configuration stays in force:\n{error}"
                );
                // Probes are open to every local user: what stands in the files is told by `status` and the log.
                let reason = "the last reload was refused; `portcullis check` says why";
                self.health.set(Part::Policies, Condition::Degraded(reason.into()));
            }
        }
        *self.last_reload.borrow_mut() = Some(ReloadStatus { time: Timestamp::now(), error: error.clone() });
        error
    }

    fn try_reload(&self) -> Result<(), String> {
        let before = self.shared.snapshot.load_full();
        let rendered = |faults: Vec<crate::diagnostic::Diagnostic>| {
            faults.iter().map(|fault| fault.render(Style::Plain)).collect::<Vec<_>>().join("\n")
        };
        let texts = self.sources.read().map_err(rendered)?;
        let snapshot = reload::compile(&texts, before.revision + 1).map_err(rendered)?;
        warn_of_restart(&before, &snapshot);
        if before.config.tls.upstream_roots != snapshot.config.tls.upstream_roots {
            let authority = self.shared.clients.authority();
            let connector = origin_connector(&snapshot.config.tls.upstream_roots, authority)
                .map_err(|error| format!("{error:#}"))?;
            self.shared.origins.store(Arc::new(connector));
        }
        let orders = orders::of(&snapshot);
        self.shared.recorder.log.set_retention(Some(snapshot.config.activity.retention));
        // Published before the kernel steers by it: a connection steered for a new policy finds that policy.
        self.shared.snapshot.store(Arc::new(snapshot));
        load_metrics(&self.shared);
        self.check_authority();
        let applied = match &mut *self.steering.borrow_mut() {
            Some(steering) => steering.apply(&orders).map_err(|error| format!("{error:#}")),
            None => Ok(()),
        };
        if applied.is_err() {
            self.shared.snapshot.store(before);
        }
        applied
    }

    fn check_authority(&self) {
        let snapshot = self.shared.snapshot.load();
        let patterns: Vec<HostPattern> =
            snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
        let authority = self.shared.clients.authority();
        let condition = authority_condition(authority.expires_soon(), &authority.outgrown(&patterns));
        self.health.set(Part::CertificateAuthority, condition);
    }

    /// Once a second: takes over numbers, looks after the parts.
    pub(super) fn tick(&self) {
        let metrics = &self.shared.recorder.metrics;
        let minted = self.shared.clients.authority().minted();
        for _ in self.minted.replace(minted)..minted {
            metrics.certificate_minted();
        }
        let device = self.shared.device.load();
        metrics.set_device_compliant(device.compliant);
        self.health.set(Part::DevicePosture, Condition::Ok);
        let log = self.shared.recorder.log.state();
        self.health.set(
            Part::ActivityLog,
            match log.trouble {
                None => Condition::Ok,
                Some(trouble) => Condition::Degraded(trouble),
            },
        );
        if !self.pool.is_whole() {
            self.health.set(Part::Listener, Condition::Failed("a worker thread has ended".into()));
        }
        if sd_notify::watchdog_enabled().is_some() && self.pool.is_whole() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    pub(super) fn answer(&self, command: &Command) -> Answer {
        match command {
            Command::Status => match serde_json::to_value(self.status()) {
                Ok(status) => Answer::Ok(status),
                Err(error) => Answer::Error(error.to_string()),
            },
            Command::Reload => match self.reload("a command") {
                None => Answer::Ok(serde_json::Value::Null),
                Some(error) => Answer::Error(error),
            },
        }
    }

    /// New connections go direct from here on.
    pub(super) fn detach(&self) {
        drop(self.steering.borrow_mut().take());
    }

    pub(super) fn status(&self) -> Status {
        let snapshot = self.shared.snapshot.load();
        let device = self.shared.device.load();
        let attached = self.steering.borrow().is_some();
        let hooks =
            steering::program_names().map(|program| format!("{program} on {}", self.cgroup.display()));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            since: self.since,
            mode: "host".into(),
            listener: self.pool.listening().into(),
            steering: SteeringStatus {
                hooks: if attached { hooks.collect() } else { Vec::new() },
                counters: self.counters.read().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            },
            policies: PolicyStatus {
                revision: snapshot.revision,
                count: snapshot.policies.policies().iter().filter(|policy| policy.in_force()).count(),
                apps: snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app)).count(),
                last_reload: self.last_reload.borrow().clone(),
            },
            device: DeviceStatus {
                id: device.id.to_string(),
                compliant: device.compliant,
                reason: device.reason.to_string(),
                tags: device.tags.iter().map(ToString::to_string).collect(),
            },
            certificate_authority: self.authority_status(&snapshot),
            activity_log: self.shared.recorder.log.state().into(),
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
        }
    }
}

/// What the authority's state means for the agent, said in the log as well.
pub(super) fn authority_condition(expires_soon: bool, outgrown: &[String]) -> Condition {
    if !outgrown.is_empty() {
        let names = outgrown.join(", ");
        tracing::warn!(
            "the catalog has outgrown the certificate authority: connections to {names} are refused until \
             `portcullis ca init --force` makes a new one and clients trust it"
        );
        return Condition::Degraded(format!("the catalog has outgrown its name constraints: {names}"));
    }
    if expires_soon {
        tracing::warn!(
            "the certificate authority expires soon: `portcullis ca init --force` makes a new one"
        );
        return Condition::Degraded("it expires soon".into());
    }
    Condition::Ok
}

/// Settings that are read once.
fn warn_of_restart(before: &Snapshot, after: &Snapshot) {
    let (old, new) = (&before.config, &after.config);
    let changed = [
        ("[steering] mode, guard, quic, cgroup or listen", {
            let (a, b) = (&old.steering, &new.steering);
            (a.mode, a.guard, a.quic, &a.cgroup, a.listen) != (b.mode, b.guard, b.quic, &b.cgroup, b.listen)
        }),
        ("[metrics] listen", old.metrics != new.metrics),
        ("[paths]", old.paths != new.paths),
    ];
    for (what, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        tracing::warn!("{what} changed: it takes effect when the daemon is restarted");
    }
}

/// The names under which a snapshot's series are kept.
pub(super) fn load_metrics(shared: &Shared) {
    let snapshot = shared.snapshot.load();
    let apps: Vec<&Arc<str>> = snapshot.catalog.apps().iter().map(|app| &app.id).collect();
    let policies: Vec<&Arc<str>> = snapshot.policies.policies().iter().map(|policy| &policy.name).collect();
    shared.recorder.metrics.load(apps, policies);
}
