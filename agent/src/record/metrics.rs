//! The numbers Prometheus reads. Names and labels are those of the interface contract; no label takes a value that a
//! client or an origin chose.
//!
//! Handles for an app or a policy are made when a snapshot is loaded, so that counting on the data path is one atomic
//! addition and takes no lock.

mod handles;
mod histogram;
mod text;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::policy::failure_mode::Failure;
use crate::record::Record;
pub use handles::{AppMetrics, Direction, Path, Side};
use handles::{Families, Labels, PolicyMetrics};
use histogram::Histogram;
pub use text::Format;

/// Apps, and policies, that get series of their own, counted over the life of the process. Later ones are `other`.
pub const MAX_NAMES: usize = 1024;
/// Kernel counters that get series of their own.
pub const MAX_KERNEL_EVENTS: usize = 256;
/// Label of what belongs to no app, or of a decision that no policy made.
pub const NONE: &str = "none";
const OTHER: &str = "other";
/// What becomes of connections from before they could be steered.
const EXISTING: [&str; 3] = ["closed", "reported", "failed"];

/// Upper bounds of `decision_seconds`: decisions take microseconds, look-aheads into content milliseconds.
const DECISION_SECONDS: [f64; 15] =
    [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 0.25, 1.0];

/// Names that have series, by what they name. Never shrinks: a counter that vanished would look like a reset.
#[derive(Default)]
struct Known {
    apps: HashSet<Arc<str>>,
    policies: HashSet<Arc<str>>,
    kernel_events: HashSet<Arc<str>>,
}

pub struct Metrics {
    registry: Registry,
    families: Families,
    apps: ArcSwap<HashMap<Arc<str>, Arc<AppMetrics>>>,
    policies: ArcSwap<HashMap<Arc<str>, Arc<PolicyMetrics>>>,
    known: Mutex<Known>,
    no_app: Arc<AppMetrics>,
    no_policy: PolicyMetrics,
    other_app: Arc<AppMetrics>,
    other_policy: PolicyMetrics,
    active_connections: Gauge,
    decision_seconds: Histogram,
    certificates_minted: Counter,
    log_lost: Counter,
    log_lost_source: OnceLock<Arc<AtomicU64>>,
    kernel_tls_ended: Counter,
    kernel_tls_ended_source: OnceLock<Arc<AtomicU64>>,
    device_compliant: Gauge,
    gap_seconds: Gauge<f64, AtomicU64>,
    policies_rolled_back: Gauge,
    memory: [Gauge; 3],
}

/// What a page shows of the metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    pub active_connections: u64,
    /// Records of this process that could not be stored.
    pub lost: u64,
    /// How many decisions took longer than the bound before and at most this one, in seconds.
    pub verdicts: Vec<(f64, u64)>,
}

impl Metrics {
    pub fn new(version: &str) -> Self {
        let families = Families::default();
        let mut registry = Registry::with_prefix("portcullis");
        let active_connections = Gauge::default();
        let decision_seconds = Histogram::new(&DECISION_SECONDS);
        let (certificates_minted, log_lost) = (Counter::default(), Counter::default());
        let kernel_tls_ended = Counter::default();
        let device_compliant = Gauge::default();
        let gap_seconds = Gauge::<f64, AtomicU64>::default();
        let policies_rolled_back = Gauge::default();
        let memory: [Gauge; 3] = Default::default();
        let build_info = Family::<Labels<1>, Gauge>::default();
        build_info.get_or_create(&[("version", Arc::from(version))]).set(1);

        // A counter's name gets its `_total` when it is written out.
        let r = &mut registry;
        r.register(
            "connections",
            "Connections that ended, by how they went through",
            families.connections.clone(),
        );
        r.register("active_connections", "Connections open now", active_connections.clone());
        r.register("requests", "Requests read from clients", families.requests.clone());
        r.register("activities", "Activities recorded, by what was decided", families.activities.clone());
        r.register("decisions", "Activities by the policy that decided", families.decisions.clone());
        r.register("decision_seconds", "Time from a head to its decision", decision_seconds.clone());
        r.register("bytes", "Bytes relayed", families.bytes.clone());
        r.register("tls_handshakes", "TLS handshakes, by side and result", families.handshakes.clone());
        r.register(
            "kernel_tls_connections",
            "Connections offered to the kernel's TLS, by side and by who seals what they send",
            families.kernel_tls.clone(),
        );
        r.register(
            "kernel_tls_ended",
            "Connections that ended because the kernel takes no second key",
            kernel_tls_ended.clone(),
        );
        r.register("certificates_minted", "Leaf certificates made", certificates_minted.clone());
        r.register("upstream_failures", "Origins not reached, by reason", families.upstream_failures.clone());
        r.register("refusals", "Connections and requests refused, by failure", families.refusals.clone());
        r.register("kernel_events", "What the kernel programs did, by event", families.kernel_events.clone());
        r.register("activity_log_lost", "Activity records that could not be stored", log_lost.clone());
        r.register("policy_reloads", "Attempts to load policies and apps", families.reloads.clone());
        r.register(
            "existing_connections",
            "Connections to selected apps from before they could be steered, by what became of them",
            families.existing.clone(),
        );
        r.register("device_compliant", "1 while the device is compliant", device_compliant.clone());
        r.register(
            "gap_seconds",
            "Time without an agent before this one took over from one that did not stop in order",
            gap_seconds.clone(),
        );
        r.register(
            "policies_rolled_back",
            "1 while the last good policies stand in for those of the files, with which the agent kept dying",
            policies_rolled_back.clone(),
        );
        let [used, bound, level] = memory.clone();
        r.register("memory_bytes", "Memory that the agent uses, without pages of files", used);
        r.register("memory_limit_bytes", "Memory that the agent may use", bound);
        r.register(
            "memory_level",
            "1 while nothing is kept because memory is short, 2 while connections are refused",
            level,
        );
        r.register("build_info", "The version that runs", build_info);

        for result in ["ok", "failed"] {
            families.reloads.get_or_create_owned(&[("result", Arc::from(result))]);
        }
        for side in [Side::Client, Side::Origin] {
            for by_kernel in [true, false] {
                families.kernel_tls.get_or_create_owned(&sealed(side, by_kernel));
            }
        }
        for failure in Failure::ALL {
            families.refusals.get_or_create_owned(&[("failure", Arc::from(failure.name()))]);
        }
        let (none, other) = (Arc::from(NONE), Arc::from(OTHER));
        let (no_app, no_policy) = (AppMetrics::new(&families, &none), PolicyMetrics::new(&families, &none));
        no_app.appear();
        no_policy.appear();
        Self {
            no_app: Arc::new(no_app),
            no_policy,
            other_app: Arc::new(AppMetrics::new(&families, &other)),
            other_policy: PolicyMetrics::new(&families, &other),
            registry,
            families,
            apps: ArcSwap::default(),
            policies: ArcSwap::default(),
            known: Mutex::default(),
            active_connections,
            decision_seconds,
            certificates_minted,
            log_lost,
            log_lost_source: OnceLock::new(),
            kernel_tls_ended,
            kernel_tls_ended_source: OnceLock::new(),
            device_compliant,
            gap_seconds,
            policies_rolled_back,
            memory,
        }
    }

    /// Makes the handles for a snapshot of catalog and policies. Series of earlier snapshots stay.
    pub fn load<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a Arc<str>>,
        policies: impl IntoIterator<Item = &'a Arc<str>>,
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.apps.load();
        let mut handles = HashMap::new();
        for id in apps {
            if admit(&mut known.apps, id, MAX_NAMES) {
                let made = || Arc::new(AppMetrics::new(&self.families, id));
                handles.insert(Arc::clone(id), before.get(id).cloned().unwrap_or_else(made));
            }
        }
        self.apps.store(Arc::new(handles));
        let before = self.policies.load();
        let mut handles = HashMap::new();
        for name in policies {
            if admit(&mut known.policies, name, MAX_NAMES) {
                let made = || Arc::new(PolicyMetrics::new(&self.families, name));
                let policy = before.get(name).cloned().unwrap_or_else(made);
                policy.appear();
                handles.insert(Arc::clone(name), policy);
            }
        }
        self.policies.store(Arc::new(handles));
    }

    /// From now on these apps, which are loaded and selected, have their series, at zero where nothing has been counted.
    pub fn appear<'a>(&self, apps: impl IntoIterator<Item = &'a Arc<str>>) {
        let loaded = self.apps.load();
        for id in apps {
            if let Some(app) = loaded.get(id) {
                app.appear();
                for result in EXISTING {
                    self.families
                        .existing
                        .get_or_create_owned(&[("app", id.clone()), ("result", result.into())]);
                }
            }
        }
    }

    /// The same for what can go wrong: names of results by side, of reasons, of kernel events.
    pub fn appear_failing(
        &self,
        (client, origin): (&[&'static str], &[&'static str]),
        reasons: impl IntoIterator<Item = &'static str>,
        kernel_events: impl IntoIterator<Item = &'static str>,
    ) {
        for (side, results) in [("client", client), ("origin", origin)] {
            for result in ["ok"].iter().chain(results) {
                self.families
                    .handshakes
                    .get_or_create_owned(&[("side", side.into()), ("result", (*result).into())]);
            }
        }
        for reason in reasons {
            self.families.upstream_failures.get_or_create_owned(&[("reason", reason.into())]);
        }
        for event in kernel_events {
            self.families.kernel_events.get_or_create_owned(&[("event", event.into())]);
        }
    }

    /// The handles of an app, to be held as long as the connection. An app of no loaded snapshot counts as `other`.
    pub fn app(&self, id: &str) -> Arc<AppMetrics> {
        self.apps.load().get(id).unwrap_or(&self.other_app).clone()
    }

    /// The handles for a connection that belongs to no app, or whose app is not known yet.
    pub fn no_app(&self) -> Arc<AppMetrics> {
        Arc::clone(&self.no_app)
    }

    /// Counts one activity: its type and action, its policy, and the time the decision took.
    pub fn activity(&self, app: &AppMetrics, record: &Record) {
        let decision = &record.shared.value.decision;
        app.activity(record.row.kind, decision.action);
        self.decision_seconds.observe_micros(record.row.micros);
        let policies = self.policies.load();
        let policy = match &decision.policy {
            None => &self.no_policy,
            Some(name) => policies.get(name).map_or(&self.other_policy, |p| p),
        };
        policy.decision(decision.action);
    }

    pub(super) fn connection_opened(&self) {
        self.active_connections.inc();
    }

    pub(super) fn connection_closed(&self) {
        self.active_connections.dec();
    }

    /// `result` names an outcome in the program's own words: `ok`, `unknown-ca`, …
    pub fn tls_handshake(&self, side: Side, result: &'static str) {
        let labels = [("side", side.name().into()), ("result", result.into())];
        self.families.handshakes.get_or_create(&labels).inc();
    }

    /// A connection whose sending was offered to the kernel, and whether it took it.
    pub fn kernel_tls(&self, side: Side, by_kernel: bool) {
        self.families.kernel_tls.get_or_create(&sealed(side, by_kernel)).inc();
    }

    pub fn certificate_minted(&self) {
        self.certificates_minted.inc();
    }

    /// `reason` names a cause in the program's own words: `connect`, `certificate`, …
    pub fn upstream_failure(&self, reason: &'static str) {
        self.families.upstream_failures.get_or_create(&[("reason", reason.into())]).inc();
    }

    /// A connection from before it could be steered; `result` is `closed`, `reported` or `failed`.
    pub fn existing_connection(&self, app: &Arc<str>, result: &'static str) {
        self.families.existing.get_or_create(&[("app", app.clone()), ("result", result.into())]).inc();
    }

    /// `failure` is a name of the failure table.
    pub fn refused(&self, failure: &'static str) {
        self.families.refusals.get_or_create(&[("failure", failure.into())]).inc();
    }

    pub fn policies_reloaded(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.families.reloads.get_or_create(&[("result", result.into())]).inc();
    }

    pub fn set_gap(&self, gap: std::time::Duration) {
        self.gap_seconds.set(gap.as_secs_f64());
    }

    pub fn set_device_compliant(&self, compliant: bool) {
        self.device_compliant.set(compliant.into());
    }

    pub fn set_policies_rolled_back(&self, rolled_back: bool) {
        self.policies_rolled_back.set(rolled_back.into());
    }

    /// `level`: 0 while there is enough.
    pub fn set_memory(&self, used: u64, bound: u64, level: u8) {
        for (gauge, number) in self.memory.iter().zip([used, bound, level.into()]) {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// Takes over a counter that the kernel keeps. `false` when there are too many names.
    pub fn set_kernel_event(&self, event: &str, total: u64) -> bool {
        let event = Arc::from(event);
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if !admit(&mut known.kernel_events, &event, MAX_KERNEL_EVENTS) {
                return false;
            }
        }
        let counter = self.families.kernel_events.get_or_create_owned(&[("event", event)]);
        counter.inner().store(total, Ordering::Relaxed);
        true
    }

    /// Where the activity log counts what it lost; read at each scrape.
    pub fn watch_lost(&self, lost: Arc<AtomicU64>) {
        // A process has one activity log.
        let _ = self.log_lost_source.set(lost);
    }

    /// Where connections are counted whose kernel takes no second key; read at each scrape.
    pub fn watch_kernel_tls_ended(&self, ended: Arc<AtomicU64>) {
        // A process has one.
        let _ = self.kernel_tls_ended_source.set(ended);
    }

    /// The few numbers that are shown beside the log.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            active_connections: u64::try_from(self.active_connections.get()).unwrap_or(0),
            lost: self.log_lost_source.get().map_or(0, |lost| lost.load(Ordering::Relaxed)),
            verdicts: self.decision_seconds.counts(),
        }
    }

    /// Everything, as text for a scrape.
    pub fn encode(&self, format: Format) -> String {
        if let Some(lost) = self.log_lost_source.get() {
            self.log_lost.inner().store(lost.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if let Some(ended) = self.kernel_tls_ended_source.get() {
            self.kernel_tls_ended.inner().store(ended.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        text::encode(&self.registry, format)
    }
}

fn sealed(side: Side, by_kernel: bool) -> Labels<2> {
    let sealed_by = if by_kernel { "kernel" } else { "agent" };
    [("side", side.name().into()), ("sealed_by", sealed_by.into())]
}

fn admit(known: &mut HashSet<Arc<str>>, name: &Arc<str>, max: usize) -> bool {
    known.contains(name) || (known.len() < max && known.insert(Arc::clone(name)))
}

#[cfg(test)]
mod tests;
