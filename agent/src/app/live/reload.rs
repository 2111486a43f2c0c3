//! Reload: read, validate and publish everything, or keep what is in force.

use std::sync::Arc;

use agent_common::counter::Counter;
use jiff::Timestamp;

use super::super::build::origin_connector;
use super::super::orders;
use super::Live;
use crate::admin::health::{Condition, Part};
use crate::admin::status::ReloadStatus;
use crate::diagnostic::Style;
use crate::proxy::dial;
use crate::proxy::worker::Shared;
use crate::reload::{self, Snapshot};
use crate::tls::{ClientFailure, UpstreamFailure};

impl Live<'_> {
    /// Reads, validates and publishes everything, or keeps what is in force. Returns what was wrong.
    pub(in crate::app) fn reload(&self, why: &str) -> Option<String> {
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
        for note in self.sources.notes(&snapshot) {
            tracing::warn!("{note}");
        }
        if before.config.tls.upstream_roots != snapshot.config.tls.upstream_roots {
            let authority = self.shared.clients.authority();
            let connector = origin_connector(&snapshot.config.tls.upstream_roots, &authority)
                .map_err(|error| format!("{error:#}"))?;
            self.shared.origins.store(Arc::new(connector));
        }
        let orders = orders::of(&snapshot);
        let (log, activity) = (&self.shared.recorder.log, &snapshot.config.activity);
        log.set_retention(Some(activity.retention));
        log.set_max_size(activity.max_size);
        log.set_durability(activity.durability);
        let policies = &snapshot.policies;
        self.shared.recorder.log.keep_policy_set(policies.id(), policies.document().into());
        // Published before the kernel steers by it: a connection steered for a new policy finds that policy.
        self.shared.snapshot.store(Arc::new(snapshot));
        // What a session was made under may not hold any more.
        self.shared.clients.forget_sessions();
        self.shared.origins.load().forget_sessions();
        self.shared.kernel_sealing.look_again();
        load_metrics(&self.shared);
        self.check_authority();
        let applied = match &mut *self.steering.borrow_mut() {
            Some(steering) => steering.apply(&orders).map_err(|error| format!("{error:#}")),
            None => Ok(()),
        };
        match (&applied, &self.ahead) {
            (Err(_), _) => self.shared.snapshot.store(before),
            (Ok(()), Some(ahead)) => ahead.orders_changed(),
            (Ok(()), None) => {}
        }
        if applied.is_ok() {
            self.last_good.replaced(&self.shared.snapshot.load().policies);
            self.shared.recorder.metrics.set_policies_rolled_back(false);
        }
        applied
    }
}

/// Settings that are read once.
fn warn_of_restart(before: &Snapshot, after: &Snapshot) {
    let (old, new) = (&before.config, &after.config);
    let changed = [
        ("[steering] mode, guard, quic, fail, cgroup, interfaces, dial or listen", {
            let (a, b) = (&old.steering, &new.steering);
            (a.mode, a.guard, a.quic, a.fail, &a.cgroup, a.listen)
                != (b.mode, b.guard, b.quic, b.fail, &b.cgroup, b.listen)
                || (&a.interfaces, a.dial) != (&b.interfaces, b.dial)
        }),
        ("[metrics] listen", old.metrics != new.metrics),
        ("[tls] signer", old.tls.signer != new.tls.signer),
        ("[console] listen", old.console != new.console),
        ("[[export]]", old.exports != new.exports),
        ("[paths]", old.paths != new.paths),
    ];
    for (what, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        tracing::warn!("{what} changed: it takes effect when the daemon is restarted");
    }
}

/// The names under which a snapshot's series are kept.
pub(in crate::app) fn load_metrics(shared: &Shared) {
    let snapshot = shared.snapshot.load();
    let apps: Vec<&Arc<str>> = snapshot.catalog.apps().iter().map(|app| &app.id).collect();
    let policies: Vec<&Arc<str>> = snapshot.policies.policies().iter().map(|policy| &policy.name).collect();
    let metrics = &shared.recorder.metrics;
    metrics.load(apps, policies);
    let selected = snapshot.catalog.apps().iter().filter(|app| snapshot.policies.selects(app));
    metrics.appear(selected.map(|app| &app.id));
    let results = (&ClientFailure::NAMES[..], &UpstreamFailure::NAMES[..]);
    let reasons = dial::FAILURES.into_iter().chain(UpstreamFailure::NAMES);
    metrics.appear_failing(results, reasons, Counter::ALL.iter().map(|counter| counter.name()));
}
