//! The running agent as its admin side sees it: reload, look after the parts, answer the control socket.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;

use super::ahead::Ahead;
use super::authority::Custody;
use super::build::origin_connector;
use super::gap::Gap;
use super::heartbeat::Heartbeat;
use super::last_good::LastGood;
use super::{End, orders, workers::Pool};
use crate::admin::apps;
use crate::admin::console::{self, Sessions};
use crate::admin::control::{Answer, Command};
use crate::admin::health::{Condition, Health, Part};
use crate::admin::status::{
    AuthorityStatus, ConsoleStatus, Constraints, DeviceStatus, ExportStatus, GapStatus, PolicyStatus,
    ReloadStatus, Status, SteeringStatus,
};
use crate::catalog::HostPattern;
use crate::config::{self, Config, Fail, Mode};
use crate::diagnostic::Style;
use crate::forward::{ExportState, Exports};
use crate::proxy::worker::Shared;
use crate::record::metrics::{Format, Metrics};
use crate::record::query::{QueryError, Reader};
use crate::reload::{self, Fingerprint, Snapshot, Sources, Watch};
use crate::steering::{self, KernelCounters, Steering};

pub(super) struct Live<'p> {
    shared: Arc<Shared>,
    steering: RefCell<Option<Steering>>,
    mode: Mode,
    /// Where the kernel steers.
    ahead: Option<Ahead>,
    counters: Option<Arc<KernelCounters>>,
    health: Arc<Health>,
    sources: Sources,
    watch: RefCell<Watch>,
    last_reload: RefCell<Option<ReloadStatus>>,
    /// Of the authority itself, whoever holds its key.
    authority_condition: RefCell<Condition>,
    minted: Cell<u64>,
    since: Timestamp,
    pool: &'p Pool,
    last_good: LastGood,
    /// Only in host mode.
    heartbeat: Option<Heartbeat>,
    kernel: Kernel,
    exports: Exports,
    custody: Rc<Custody>,
    /// Absent where the settings want none.
    console: Option<Console>,
    /// Settings that take a restart are in force as they were then.
    started_with: Arc<Config>,
}

/// Where the console listens, or why it does not.
pub(super) struct Console {
    pub(super) listen: Result<SocketAddr, (SocketAddr, String)>,
    pub(super) sessions: Arc<Sessions>,
}

impl Console {
    fn status(&self) -> ConsoleStatus {
        match &self.listen {
            Ok(listen) => ConsoleStatus { listen: listen.to_string(), trouble: None },
            Err((listen, why)) => ConsoleStatus { listen: listen.to_string(), trouble: Some(why.clone()) },
        }
    }

    /// The address of a session that begins now.
    fn answer(&self) -> Answer {
        match (&self.listen, self.sessions.ticket(Instant::now())) {
            (Err((listen, why)), _) => Answer::Error(format!("the console cannot listen at {listen}: {why}")),
            (Ok(_), None) => Answer::Error("the system gives no random numbers".into()),
            (Ok(listen), Some(ticket)) => Answer::Ok(console::address(*listen, &ticket).into()),
        }
    }
}

/// What does not change about the kernel side while the agent runs.
struct Kernel {
    fail: &'static str,
    pins: Option<PathBuf>,
    adopted: bool,
    gap: Option<Gap>,
}

impl<'p> Live<'p> {
    pub(super) fn new(
        shared: Arc<Shared>,
        (steering, mode): (Option<Steering>, Mode),
        health: Arc<Health>,
        sources: Sources,
        seen: Fingerprint,
        (gap, last_good, exports, custody, console): (
            Option<Gap>,
            LastGood,
            Exports,
            Custody,
            Option<Console>,
        ),
        pool: &'p Pool,
    ) -> Result<Self> {
        let counters = steering.as_ref().map(Steering::counters).transpose()?.map(Arc::new);
        let heart = steering.as_ref().map(Steering::heart).transpose()?.flatten();
        let heartbeat = heart.map(|heart| Heartbeat::start(heart, pool.ticks())).transpose()?;
        let kernel = Kernel {
            fail: match shared.snapshot.load().config.steering.fail {
                Fail::Closed => "closed",
                Fail::Open => "open",
            },
            pins: steering.as_ref().and_then(Steering::pin_directory).map(PathBuf::from),
            adopted: steering.as_ref().is_some_and(Steering::adopted),
            gap,
        };
        Ok(Self {
            ahead: match &steering {
                Some(steering) => Some(Ahead::new(shared.clone(), steering.learned()?, mode)),
                None => None,
            },
            started_with: shared.snapshot.load().config.clone(),
            shared,
            mode,
            steering: RefCell::new(steering),
            counters,
            health,
            sources,
            watch: RefCell::new(Watch::new(seen)),
            last_reload: RefCell::new(None),
            authority_condition: RefCell::new(Condition::Ok),
            minted: Cell::new(0),
            since: Timestamp::now(),
            pool,
            last_good,
            heartbeat,
            kernel,
            exports,
            custody: Rc::new(custody),
            console,
        })
    }

    /// How connections come here, in words.
    pub(super) fn how(&self) -> String {
        match &*self.steering.borrow() {
            Some(steering) => format!("programs on {}", steering.place()),
            None => "none: clients are told to use the proxy".to_owned(),
        }
    }

    /// What becomes of connections once this agent stops, in words.
    pub(super) fn afterwards(&self, end: End) -> &'static str {
        match self.mode {
            Mode::Host if end == End::HandOver => "new connections wait for the next agent",
            Mode::Gateway if end == End::HandOver => {
                "new connections to monitored apps are refused until the next agent serves"
            }
            Mode::Host | Mode::Gateway => "new connections go direct",
            Mode::Explicit => "the proxy takes no new connections",
        }
    }

    pub(super) fn ahead(&self) -> Option<&Ahead> {
        self.ahead.as_ref()
    }

    /// Takes over the kernel's counters before a scrape.
    pub(super) fn before_scrape(&self) -> Arc<dyn Fn(&Metrics) + Send + Sync> {
        let counters = self.counters.clone();
        Arc::new(move |metrics| {
            for (event, total) in counters.iter().flat_map(|counters| counters.read()) {
                metrics.set_kernel_event(event, total);
            }
        })
    }

    /// Reloads when a file changed, once it no longer does; follows a gateway's interfaces.
    pub(super) fn look(&self) {
        self.look_after_interfaces();
        let due = self.watch.borrow_mut().is_due(&self.sources.fingerprint());
        if due {
            self.reload("a changed file");
        }
    }

    fn look_after_interfaces(&self) {
        if self.mode != Mode::Gateway {
            return;
        }
        if let Some(steering) = &mut *self.steering.borrow_mut() {
            let missing = steering.look_after();
            self.health.set(
                Part::Steering,
                if missing.is_empty() {
                    Condition::Ok
                } else {
                    Condition::Degraded(format!("inside interfaces: {}", missing.join("; ")))
                },
            );
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

    fn check_authority(&self) {
        let snapshot = self.shared.snapshot.load();
        let patterns: Vec<HostPattern> =
            snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
        let authority = self.shared.clients.authority();
        *self.authority_condition.borrow_mut() =
            authority_condition(authority.expires_soon(), &authority.outgrown(&patterns));
        self.report_authority();
    }

    fn report_authority(&self) {
        let condition = match self.custody.silence() {
            Some(why) => Condition::Failed(why),
            None => self.authority_condition.borrow().clone(),
        };
        self.health.set(Part::CertificateAuthority, condition);
    }

    /// The authority, and who holds its key.
    pub(super) fn custody(&self) -> Rc<Custody> {
        self.custody.clone()
    }

    /// Takes over an authority that was put in the place of the one in use. Its root is no anchor for origins from here on,
    /// wherever it was trusted meanwhile.
    fn look_after_authority(&self) {
        let Some(replaced) = self.custody.replaced() else { return };
        let snapshot = self.shared.snapshot.load_full();
        let taken = replaced.map_err(anyhow::Error::from).and_then(|authority| {
            let origins = origin_connector(&snapshot.config.tls.upstream_roots, &authority)?;
            Ok((authority, origins))
        });
        match taken {
            Ok((authority, origins)) => {
                let before = self.shared.clients.authority();
                let same = before.certificates().root == authority.certificates().root;
                self.shared.origins.store(Arc::new(origins));
                self.shared.clients.replace_authority(Arc::new(authority));
                self.minted.set(0);
                self.check_authority();
                if same {
                    tracing::info!("the certificate authority that is to follow is known");
                } else {
                    tracing::info!("another certificate authority is in use: clients must trust it");
                }
            }
            Err(error) => tracing::error!("the new certificate authority is not taken up: {error:#}"),
        }
    }

    /// Once a second: takes over numbers, looks after the parts.
    pub(super) fn tick(&self) {
        self.shared.led.forget_ended(&self.shared.snapshot.load());
        let metrics = &self.shared.recorder.metrics;
        let minted = self.shared.clients.authority().minted();
        for _ in self.minted.replace(minted)..minted {
            metrics.certificate_minted();
        }
        let device = self.shared.device.load();
        metrics.set_device_compliant(device.compliant);
        self.look_after_authority();
        self.report_authority();
        self.last_good.look(&self.shared.snapshot.load().policies);
        self.health.set(Part::Heartbeat, self.heartbeat_condition());
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

    fn heartbeat_condition(&self) -> Condition {
        if self.heartbeat.as_ref().is_none_or(|heartbeat| steering::is_fresh(heartbeat.last())) {
            return Condition::Ok;
        }
        let what = if self.kernel.fail == "closed" { "refused" } else { "let pass" };
        Condition::Failed(format!("a worker is stuck: new connections to monitored apps are {what}"))
    }

    pub(super) fn answer(&self, command: &Command) -> Answer {
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

    /// What is pinned outlives this process from here on, unless it is detached.
    pub(super) fn settle(&self) {
        if let Some(steering) = &mut *self.steering.borrow_mut() {
            steering.settle();
        }
    }

    /// How a restart is to end this run: handed over, unless the next agent would take nothing over.
    pub(super) fn end_of_restart(&self) -> End {
        if !self.steering.borrow().as_ref().is_some_and(Steering::can_be_left) {
            return End::Stop;
        }
        // Settings that are broken now make the next start fail, which is a failure like any other: `fail` holds.
        let next = match self.sources.read_settings() {
            Ok(Some(settings)) => config::parse(&settings).ok(),
            Ok(None) => Some(Config::default()),
            Err(_) => None,
        };
        match next {
            Some(next) if place(&next) != place(&self.started_with) => End::Stop,
            _ => End::HandOver,
        }
    }

    /// The state in the kernel stays as it is, and counts as served until the next agent comes, for a while.
    pub(super) fn hand_over(&self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.hand_over_at_the_end();
        }
    }

    /// Nothing is taken away.
    pub(super) fn leave(&self) {
        if let Some(steering) = self.steering.borrow_mut().take() {
            steering.leave();
        }
    }

    /// New connections go direct from here on; running ones keep what they need.
    pub(super) fn wind_down(&self) {
        let Some(steering) = self.steering.borrow_mut().take() else { return };
        match steering.wind_down() {
            Ok(rest) => *self.steering.borrow_mut() = rest,
            Err(error) => tracing::error!("not everything was detached: {error:#}"),
        }
    }

    /// Takes away what is left: nothing stays in the kernel.
    pub(super) fn detach(&self) {
        if let Some(steering) = self.steering.borrow_mut().take()
            && let Err(error) = steering.detach()
        {
            tracing::error!("not everything was detached: {error:#}");
        }
    }

    pub(super) fn status(&self) -> Status {
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
            "the certificate authority expires soon: `portcullis ca rotate` makes one to follow it"
        );
        return Condition::Degraded("it expires soon".into());
    }
    Condition::Ok
}

/// Where the state in the kernel is: an agent takes over only what it finds there.
fn place(config: &Config) -> impl PartialEq + use<'_> {
    let steering = &config.steering;
    (steering.mode, &steering.cgroup, &steering.interfaces, &config.paths.pins)
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
pub(super) fn load_metrics(shared: &Shared) {
    let snapshot = shared.snapshot.load();
    let apps: Vec<&Arc<str>> = snapshot.catalog.apps().iter().map(|app| &app.id).collect();
    let policies: Vec<&Arc<str>> = snapshot.policies.policies().iter().map(|policy| &policy.name).collect();
    shared.recorder.metrics.load(apps, policies);
}
