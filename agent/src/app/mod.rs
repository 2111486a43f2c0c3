//! The composition root: builds every part in order, runs the workers and the admin side, takes all of it down again.

mod ahead;
mod existing;
mod gap;
mod heartbeat;
mod kernel;
mod live;
mod orders;
mod workers;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::health::{Condition, Health, Part};
use crate::admin::{control, http};
use crate::catalog::HostPattern;
use crate::config::{Config, Dial, Fail, Guard, Mode, Quic, UpstreamRoots};
use crate::diagnostic::Diagnostic;
use crate::http::h1::Limits;
use crate::identity::Identity;
use crate::inherited;
use crate::listener::Listeners;
use crate::lock::Lock;
use crate::posture;
use crate::proxy::deadline::Deadlines;
use crate::proxy::stopped;
use crate::proxy::worker::Shared;
use crate::record::Recorder;
use crate::record::activity_log::{ActivityLog, Opened};
use crate::record::metrics::Metrics;
use crate::reload::{self, Snapshot, Sources};
use crate::steering::{self, GatewayOptions, Steering};
use crate::tls::{self, Authority, AuthorityEvent, ClientSide, OriginConnector, RootsSource};
use gap::Gap;
use live::Live;

/// How long running transfers may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(20);
/// How long stopping waits for the activity log's queue.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How often the kernel's counters, the certificates minted and the health of the parts are taken over.
const TICK: Duration = Duration::from_secs(1);

/// Name of the control socket below `[paths] run`.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Name of the file below `[paths] run` that one agent at a time locks.
pub const LOCK: &str = "lock";
/// Name of the activity log below `[paths] state`.
pub const ACTIVITY_LOG: &str = "activity.db";
/// Commands of the control socket that may wait.
const QUESTIONS: usize = 16;

/// Why the daemon did not run.
#[derive(Debug)]
pub enum Fault {
    /// The configuration is wrong: starting again would not help.
    Configuration(Vec<Diagnostic>),
    /// The settings ask for what this version does not have.
    Unavailable(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Fault::Failed(error)
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(config: Option<PathBuf>, mode: Option<Mode>) -> Result<(), Fault> {
    let sources = Sources::new(config);
    let fingerprint = sources.fingerprint();
    let texts = sources.read().map_err(Fault::Configuration)?;
    let snapshot = reload::compile(&texts, 1).map_err(Fault::Configuration)?;
    let mode = mode.unwrap_or(snapshot.config.steering.mode);
    check_available(&snapshot, mode)?;
    if mode != Mode::Explicit {
        kernel::check()?;
    }
    tls::install_provider();
    let built = build(snapshot, mode).map_err(Fault::Failed)?;
    serve(built, sources, fingerprint).map_err(Fault::Failed)
}

/// Refuses modes that this version does not have, and says which settings have no effect yet.
fn check_available(snapshot: &Snapshot, mode: Mode) -> Result<(), Fault> {
    let steering = &snapshot.config.steering;
    if let Some(missing) = steering.missing_for(mode) {
        return Err(Fault::Unavailable(format!(
            "{missing}: name the inside interfaces of this gateway there"
        )));
    }
    if mode == Mode::Gateway {
        if steering.dial == Dial::Client {
            return Err(Fault::Unavailable(
                "[steering] dial = \"client\" is not in this version: set it to \"gateway\"".into(),
            ));
        }
        if steering.guard == Guard::Sni {
            tracing::warn!(
                "[steering] guard = \"sni\" is \"off\" on a gateway, which does not read first words in the kernel"
            );
        }
        // What pins it takes it makes itself.
        return Ok(());
    }
    if mode == Mode::Explicit {
        // Nothing of what the further settings are about happens in the kernel.
        if !steering.listen.ip().is_loopback() {
            tracing::warn!(
                listen = %steering.listen,
                "the proxy asks for no password: whoever [steering] clients names may use it"
            );
        }
        return Ok(());
    }
    // Without pins nothing refuses when the agent is gone: that would be another setting than the one that was made.
    match steering::check_base(&snapshot.config.paths.pins) {
        Err(fault) if steering.fail == Fail::Closed => {
            Err(Fault::Unavailable(format!("[steering] fail = \"closed\" takes a BPF file system: {fault}")))
        }
        _ => Ok(()),
    }
}

/// Everything that exists before the first connection is accepted.
struct Built {
    shared: Arc<Shared>,
    /// Absent in explicit mode.
    steering: Option<Steering>,
    listeners: Listeners,
    health: Arc<Health>,
    host: posture::Host,
    workers: usize,
    mode: Mode,
    gap: Option<Gap>,
    _lock: Lock,
}

fn build(snapshot: Snapshot, mode: Mode) -> Result<Built> {
    let config = snapshot.config.clone();
    let health = Arc::new(Health::default());
    private_directory(&config.paths.run, 0o755)?;
    // Before anything is touched that another agent may be using.
    let lock = Lock::file(&config.paths.run.join(LOCK))?;
    let earlier = inherited::listening_sockets().context("taking over the service manager's descriptors")?;
    private_directory(&config.paths.state, 0o700)?;

    let patterns: Vec<HostPattern> = snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
    let ech_names: Vec<HostPattern> = config.tls.ech_patterns().collect();
    let authority = open_authority(&config.paths.state.join("ca"), &patterns, &ech_names, &health)?;
    let origins = origin_connector(&config.tls.upstream_roots, &authority)?;

    let log_path = config.paths.state.join(ACTIVITY_LOG);
    let (log, opened) = ActivityLog::open(&log_path, Some(config.activity.retention))
        .with_context(|| format!("starting the activity log {}", log_path.display()))?;
    say_opened(&opened);
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let host = posture::Host::read();
    let device = host.unknown(&config.device, "the device state has not been read yet");

    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let listeners = listeners(&config, mode, workers, earlier)?;
    health.set(Part::Listener, Condition::Ok);

    let steering = start_steering(&snapshot, mode, &listeners)?;
    let gap = steering.as_ref().and_then(Steering::earlier).and_then(gap::since);
    health.set(Part::Steering, Condition::Ok);
    health.set(Part::Policies, Condition::Ok);

    let shared = Arc::new(Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        device: Arc::new(ArcSwap::from_pointee(device)),
        identity: Identity::default(),
        clients: ClientSide::new(authority),
        origins: ArcSwap::from_pointee(origins),
        recorder: Recorder::new(log, metrics),
        limits: Limits::default(),
        deadlines: Deadlines::default(),
        peek: tls::PeekDeadlines::default(),
    });
    live::load_metrics(&shared);
    if let Some(gap) = &gap {
        gap.say(config.steering.fail);
        shared.recorder.metrics.set_gap(gap.duration());
    }
    Ok(Built { shared, steering, listeners, health, host, workers, mode, gap, _lock: lock })
}

/// Loads the programs of the mode and tells them what to steer. Explicit mode has none and needs no privileges.
fn start_steering(snapshot: &Snapshot, mode: Mode, listeners: &Listeners) -> Result<Option<Steering>> {
    let config = &snapshot.config;
    let refuse_quic = config.steering.quic == Quic::Refuse;
    let guard = match config.steering.guard {
        Guard::Off => steering::Guard::Off,
        Guard::Sni => steering::Guard::Watch,
        Guard::Peek => steering::Guard::Unexplained,
        Guard::All => steering::Guard::All,
    };
    let fail_closed = config.steering.fail == Fail::Closed;
    let started = match mode {
        Mode::Explicit => return Ok(None),
        Mode::Gateway => {
            for fault in steering::gateway::forwarding_faults() {
                tracing::warn!("{fault}");
            }
            let interfaces = config.steering.interfaces.clone();
            let pins = fail_closed.then(|| config.paths.pins.clone());
            let options = GatewayOptions { interfaces, refuse_quic, guard, pins };
            Steering::start_gateway(&options, listeners.pairs())
        }
        Mode::Host => Steering::start(&steering::Options {
            cgroup: config.steering.cgroup.clone(),
            listener_v4: listeners.v4,
            listener_v6: listeners.v6,
            refuse_quic,
            guard,
            fail_closed,
            pins: pin_directory(config),
        }),
    };
    let mut steering =
        started.context("starting steering (`portcullis doctor` says what this kernel lacks)")?;
    if mode == Mode::Host {
        let mut marks = steering.own_sockets()?;
        for socket in listeners.sockets() {
            marks.mark_listener(socket).context("marking the listening sockets")?;
        }
    }
    steering.apply(&orders::of(snapshot)).context("telling the kernel what to steer")?;
    Ok(Some(steering))
}

/// The listening sockets of the mode: in host mode those that the service manager kept, where they fit.
fn listeners(
    config: &Config,
    mode: Mode,
    workers: usize,
    earlier: Vec<std::net::TcpListener>,
) -> Result<Listeners> {
    let listen = config.steering.listen;
    let kept = earlier.len();
    if mode != Mode::Host {
        // Of an earlier run in host mode: nothing comes there any more.
        if kept > 0 {
            let _ = inherited::give_up();
        }
        drop(earlier);
        return if mode == Mode::Gateway {
            Listeners::bind_transparent(workers)
                .context("binding transparent listeners (needs CAP_NET_ADMIN)")
        } else {
            Listeners::bind_proxy(listen, workers).with_context(|| format!("binding the proxy {listen}"))
        };
    }
    let (listeners, taken_over) = Listeners::take_over(earlier, listen, workers)
        .with_context(|| format!("binding the listener {listen}"))?;
    if taken_over {
        tracing::info!(sockets = kept, "took over the listening sockets, with what waits in them");
    } else if kept > 0 {
        tracing::warn!(
            "the listening sockets of the earlier run do not fit the settings any more: new ones are bound"
        );
        let _ = inherited::give_up();
    }
    Ok(listeners)
}

/// The admin side runs on the calling thread, apart from the workers, so that a scrape cannot slow traffic.
fn serve(built: Built, sources: Sources, fingerprint: reload::Fingerprint) -> Result<()> {
    let Built { shared, steering, listeners, health, host, workers, mode, gap, _lock } = built;
    // Only those of a host: while anybody has a gateway's, the kernel takes it for served; a proxy's are bound anew.
    let kept = listeners.sockets().filter(|_| mode == Mode::Host);
    let keep: Vec<_> = kept.map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
    let pool = workers::start(&shared, steering.as_ref(), listeners, DRAIN)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = shared.snapshot.load().config.clone();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
        let metrics_listener = tokio::net::TcpListener::bind(config.metrics.listen)
            .await
            .with_context(|| format!("binding [metrics] listen = \"{}\"", config.metrics.listen))?;
        let told = steering.as_ref().filter(|_| mode == Mode::Host);
        let events = told.map(Steering::events).transpose().context("opening the ring of events")?;
        let steering = (steering, mode);
        let live = Live::new(shared.clone(), steering, health.clone(), sources, fingerprint, gap, &pool)?;
        let shown = http::Shown {
            metrics: shared.recorder.metrics.clone(),
            health: health.clone(),
            before_scrape: live.before_scrape(),
        };
        let scrapes = tokio::task::spawn_local(http::serve(metrics_listener, shown, std::future::pending()));
        let (questions, mut asked) = mpsc::channel::<Question>(QUESTIONS);
        let socket = control::ControlSocket::bind(&config.paths.run.join(CONTROL_SOCKET))?;
        let handler = move |command| ask(questions.clone(), command);
        let control_task = tokio::task::spawn_local(socket.serve(handler, std::future::pending()));
        let settings = shared.snapshot.clone();
        let posture_task = tokio::task::spawn_local(posture::watch(host, shared.device.clone(), move || {
            settings.load().config.clone()
        }));

        let watching = shared.clone();
        let stopped_task = tokio::task::spawn_local(async move {
            if let Some(events) = events {
                stopped::watch(watching, events).await;
            }
        });

        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut look = tokio::time::interval(reload::LOOK_EVERY);
        let mut tick = tokio::time::interval(TICK);
        live.settle();
        // Our copies go; the manager's stay.
        inherited::keep(keep.iter()).context("leaving the listening sockets with the service manager")?;
        drop(keep);
        sd_notify::notify(&[NotifyState::Ready]).context("telling the service manager")?;
        let ahead = async {
            if let Some(ahead) = live.ahead() {
                ahead.run().await;
            }
            std::future::pending().await
        };
        tokio::pin!(ahead);
        let (listening, steering) = (pool.listening(), live.how());
        tracing::info!(workers, mode = mode.name(), listening, steering, "ready");
        loop {
            tokio::select! {
                () = &mut ahead => {}
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => drop(live.reload("SIGHUP")),
                _ = look.tick() => live.look(),
                _ = tick.tick() => live.tick(),
                Some((command, reply)) = asked.recv() => {
                    // A client that went away needs no answer.
                    let _ = reply.send(live.answer(&command));
                }
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::info!("stopping: new connections go direct");
        // Detached first: a connection made from here on never meets a listener that is about to close.
        live.wind_down();
        let _ = inherited::give_up();
        pool.stop().await;
        live.detach();
        scrapes.abort();
        for task in [control_task, posture_task, stopped_task] {
            task.abort();
        }
        if shared.recorder.log.flush(LAST_RECORDS).is_err() {
            tracing::warn!("the activity log did not store everything in time");
        }
        tracing::info!("stopped");
        Ok(())
    }))
}

/// A command from the control socket, and where its answer goes.
type Question = (control::Command, oneshot::Sender<control::Answer>);

/// Hands a command to the loop that owns the parts.
async fn ask(questions: mpsc::Sender<Question>, command: control::Command) -> control::Answer {
    let (reply, answer) = oneshot::channel();
    let asked = questions.send((command, reply)).await.is_ok();
    match answer.await {
        Ok(answer) if asked => answer,
        _ => control::Answer::Error("the agent is stopping".into()),
    }
}

/// Where programs and maps are kept. Only `fail = "open"` does without, and loses what was learned with each process.
fn pin_directory(config: &Config) -> Option<PathBuf> {
    match steering::check_base(&config.paths.pins) {
        Ok(()) => Some(config.paths.pins.clone()),
        Err(fault) => {
            tracing::warn!("what the kernel learns goes with this process: {fault}");
            None
        }
    }
}

fn private_directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("making the directory {}", path.display()))
}

fn open_authority(
    directory: &Path,
    patterns: &[HostPattern],
    ech_names: &[HostPattern],
    health: &Health,
) -> Result<Arc<Authority>> {
    let (authority, event) = Authority::open_or_create(directory, &[patterns, ech_names].concat())
        .with_context(|| format!("the certificate authority in {}", directory.display()))?;
    let condition = match event {
        AuthorityEvent::Created => {
            tracing::info!(
                "made a certificate authority: clients must trust {}",
                directory.join("ca.pem").display()
            );
            Condition::Ok
        }
        AuthorityEvent::Opened { expires_soon, .. } => {
            let uncovered = authority.outgrown(ech_names);
            if !uncovered.is_empty() {
                tracing::info!(
                    ?uncovered,
                    "encrypted ClientHellos are refused, not switched off: the certificate authority is older than \
                     these public names"
                );
            }
            live::authority_condition(expires_soon, &authority.outgrown(patterns))
        }
    };
    health.set(Part::CertificateAuthority, condition);
    Ok(Arc::new(authority))
}

fn origin_connector(roots: &UpstreamRoots, authority: &Authority) -> Result<OriginConnector> {
    let source = match roots {
        UpstreamRoots::System => RootsSource::System,
        UpstreamRoots::File(path) => RootsSource::File(path.clone()),
    };
    let own = authority.certificates().own();
    let (connector, report) = OriginConnector::new(&source, &own).context("[tls] upstream_roots")?;
    for fault in &report.faults {
        tracing::warn!("trust anchors: {fault}");
    }
    if report.own_excluded > 0 {
        tracing::info!(excluded = report.own_excluded, "this host's own CA is no trust anchor for origins");
    }
    tracing::info!(anchors = report.anchors, "trust anchors for origins");
    Ok(connector)
}

fn say_opened(opened: &Opened) {
    match opened {
        Opened::Ready { lost: 0 } => {}
        Opened::Ready { lost } => {
            tracing::warn!(lost, "an earlier run ended with records that were not stored")
        }
        other => tracing::warn!("the activity log: {other:?}"),
    }
}
