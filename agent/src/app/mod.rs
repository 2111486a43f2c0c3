//! The composition root: builds every part in order, runs the workers and the admin side, takes all of it down again.

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
use crate::config::{Guard, Mode, Quic, UpstreamRoots};
use crate::diagnostic::Diagnostic;
use crate::http::h1::Limits;
use crate::identity::Identity;
use crate::listener::Listeners;
use crate::posture;
use crate::proxy::deadline::Deadlines;
use crate::proxy::worker::Shared;
use crate::record::Recorder;
use crate::record::activity_log::{ActivityLog, Opened};
use crate::record::metrics::Metrics;
use crate::reload::{self, Snapshot, Sources};
use crate::steering::{self, Steering};
use crate::tls::{self, Authority, AuthorityEvent, ClientSide, OriginConnector, RootsSource};
use live::Live;

/// How long running transfers may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(20);
/// How long stopping waits for the activity log's queue.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How often the kernel's counters, the certificates minted and the health of the parts are taken over.
const TICK: Duration = Duration::from_secs(1);

/// Name of the control socket below `[paths] run`.
pub const CONTROL_SOCKET: &str = "control.sock";
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
    check_available(&snapshot, mode)?;
    kernel::check()?;
    tls::install_provider();
    let built = build(snapshot).map_err(Fault::Failed)?;
    serve(built, sources, fingerprint).map_err(Fault::Failed)
}

/// Refuses modes that this version does not have, and says which settings have no effect yet.
fn check_available(snapshot: &Snapshot, mode: Option<Mode>) -> Result<(), Fault> {
    let steering = &snapshot.config.steering;
    let mode = mode.unwrap_or(steering.mode);
    if mode != Mode::Host {
        return Err(Fault::Unavailable(format!(
            "[steering] mode = \"{}\" is not in this version: set it to \"host\"",
            format!("{mode:?}").to_lowercase()
        )));
    }
    if steering.guard == Guard::Sni {
        return Err(Fault::Unavailable(
            "[steering] guard = \"sni\" is not in this version: set it to \"peek\", \"all\" or \"off\""
                .into(),
        ));
    }
    if steering.fail == crate::config::Fail::Closed {
        tracing::warn!(
            "[steering] fail = \"closed\" has no effect in this version: while the agent is down, connections go direct"
        );
    }
    Ok(())
}

/// Everything that exists before the first connection is accepted.
struct Built {
    shared: Arc<Shared>,
    steering: Steering,
    listeners: Listeners,
    health: Arc<Health>,
    host: posture::Host,
    workers: usize,
}

fn build(snapshot: Snapshot) -> Result<Built> {
    let config = snapshot.config.clone();
    let health = Arc::new(Health::default());
    private_directory(&config.paths.state, 0o700)?;
    private_directory(&config.paths.run, 0o755)?;

    let patterns: Vec<HostPattern> = snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
    let authority = open_authority(&config.paths.state.join("ca"), &patterns, &health)?;
    let origins = origin_connector(&config.tls.upstream_roots, &authority)?;

    let log_path = config.paths.state.join(ACTIVITY_LOG);
    let (log, opened) = ActivityLog::open(&log_path, Some(config.activity.retention))
        .with_context(|| format!("starting the activity log {}", log_path.display()))?;
    say_opened(&opened);
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let host = posture::Host::read();
    let device = host.unknown(&config.device, "the device state has not been read yet");

    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let listeners = Listeners::bind(config.steering.listen, workers)
        .with_context(|| format!("binding the listener {}", config.steering.listen))?;
    health.set(Part::Listener, Condition::Ok);

    let mut steering = Steering::start(&steering::Options {
        cgroup: config.steering.cgroup.clone(),
        listener_v4: listeners.v4,
        listener_v6: listeners.v6,
        refuse_quic: config.steering.quic == Quic::Refuse,
        guard: match config.steering.guard {
            Guard::Off | Guard::Sni => steering::Guard::Off,
            Guard::Peek => steering::Guard::Unexplained,
            Guard::All => steering::Guard::All,
        },
    })
    .context("starting steering (`portcullis doctor` says what this kernel lacks)")?;
    steering.apply(&orders::of(&snapshot)).context("telling the kernel what to steer")?;
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
    Ok(Built { shared, steering, listeners, health, host, workers })
}

/// The admin side runs on the calling thread, apart from the workers, so that a scrape cannot slow traffic.
fn serve(built: Built, sources: Sources, fingerprint: reload::Fingerprint) -> Result<()> {
    let Built { shared, steering, listeners, health, host, workers } = built;
    let pool = workers::start(&shared, &steering, listeners, DRAIN)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = shared.snapshot.load().config.clone();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
        let metrics_listener = tokio::net::TcpListener::bind(config.metrics.listen)
            .await
            .with_context(|| format!("binding [metrics] listen = \"{}\"", config.metrics.listen))?;
        let live = Live::new(shared.clone(), steering, health.clone(), sources, fingerprint, &pool)?;
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

        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut look = tokio::time::interval(reload::LOOK_EVERY);
        let mut tick = tokio::time::interval(TICK);
        sd_notify::notify(&[NotifyState::Ready]).context("telling the service manager")?;
        tracing::info!(workers, cgroup = %live.cgroup().display(), "ready");
        loop {
            tokio::select! {
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
        live.detach();
        pool.stop().await;
        scrapes.abort();
        for task in [control_task, posture_task] {
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

fn private_directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("making the directory {}", path.display()))
}

fn open_authority(directory: &Path, patterns: &[HostPattern], health: &Health) -> Result<Arc<Authority>> {
    let (authority, event) = Authority::open_or_create(directory, patterns)
        .with_context(|| format!("the certificate authority in {}", directory.display()))?;
    let condition = match event {
        AuthorityEvent::Created => {
            tracing::info!(
                "made a certificate authority: clients must trust {}",
                directory.join("ca.pem").display()
            );
            Condition::Ok
        }
        AuthorityEvent::Opened { expires_soon, outgrown } => {
            live::authority_condition(expires_soon, &outgrown)
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
