//! The running agent as its admin side sees it: what it is made of, and what is looked after as time goes by.

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
use super::gap::Gap;
use super::heartbeat::Heartbeat;
use super::last_good::LastGood;
use super::workers::Pool;
use crate::admin::console::{self, Sessions};
use crate::admin::control::Answer;
use crate::admin::health::{Condition, Health, Part};
use crate::admin::status::{ConsoleStatus, ReloadStatus};
use crate::config::{Config, Fail, Mode};
use crate::forward::Exports;
use crate::memory::bound::Gauge;
use crate::proxy::worker::Shared;
use crate::record::metrics::Metrics;
use crate::reload::{Fingerprint, Sources, Watch};
use crate::steering::{self, KernelCounters, Steering};

mod answers;
mod authority;
mod ending;
mod memory;
mod reload;

pub(in crate::app) use authority::authority_condition;
pub(in crate::app) use reload::load_metrics;

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
    memory: RefCell<Gauge>,
    since: Timestamp,
    pool: &'p Pool,
    last_good: LastGood,
    /// Absent in explicit mode, where there is no kernel to tell.
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
        let heart = steering.as_ref().map(Steering::heart).transpose()?;
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
            memory: RefCell::default(),
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
        self.look_after_memory();
        self.look_after_authority();
        self.report_authority();
        self.last_good.look(&self.shared.snapshot.load().policies);
        self.health.set(Part::Heartbeat, self.heartbeat_condition());
        let inventory = self.shared.inventory.load();
        self.health.set(
            Part::DevicePosture,
            match inventory.as_ref().and_then(|inventory| inventory.fault()) {
                None => Condition::Ok,
                Some(fault) => Condition::Degraded(format!(
                    "[identity] inventory: clients of other hosts count as unknown devices: {fault}"
                )),
            },
        );
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
}
