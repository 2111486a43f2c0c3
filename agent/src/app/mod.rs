//! The composition root: builds every part in order, runs the workers and the admin side, takes all of it down again.

mod ahead;
mod authority;
mod available;
mod build;
mod existing;
mod gap;
mod heartbeat;
mod kernel;
mod last_good;
mod live;
mod orders;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::health::{Condition, Health, Part};
use crate::admin::{console, control, http};
use crate::config::{Config, Mode};
use crate::diagnostic::Diagnostic;
use crate::proxy::stopped;
use crate::reload::{self, Sources};
use crate::steering::Steering;
use crate::{inherited, posture, tls};
use build::Built;
use live::Live;

/// How long running transfers may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(20);
/// How long stopping waits for the activity log's queue.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How often the kernel's counters, the certificates minted and the health of the parts are taken over.
const TICK: Duration = Duration::from_secs(1);

/// How often a port for metrics that was taken is tried again.
const METRICS_RETRY: Duration = Duration::from_secs(5);

/// Name of the control socket below `[paths] run`.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Name of the file below `[paths] run` that one agent at a time locks.
pub const LOCK: &str = "lock";
/// Name of the activity log below `[paths] state`.
pub const ACTIVITY_LOG: &str = "activity.db";
/// Commands of the control socket that may wait.
const QUESTIONS: usize = 16;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// For good: nothing stays in the kernel.
    Stop,
    /// For a restart: the next agent takes over what is in the kernel, and the listening sockets.
    HandOver,
}

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

/// What a start would refuse although every configuration file is valid: files that the settings name.
pub fn check_named_files(config: &Config) -> Result<()> {
    tls::install_provider();
    build::anchors(config)
}

/// Runs the daemon until SIGTERM or SIGINT; until SIGUSR1, when it is to be started again at once. `signer` is the socket
/// of one that runs already.
pub fn run(config: Option<PathBuf>, mode: Option<Mode>, signer: Option<PathBuf>) -> Result<(), Fault> {
    let sources = Sources::new(config);
    let fingerprint = sources.fingerprint();
    let texts = sources.read().map_err(Fault::Configuration)?;
    let snapshot = reload::compile(&texts, 1).map_err(Fault::Configuration)?;
    let mode = mode.unwrap_or(snapshot.config.steering.mode);
    available::check(&snapshot, mode)?;
    for note in sources.notes(&snapshot) {
        tracing::warn!("{note}");
    }
    if mode != Mode::Explicit {
        kernel::check()?;
    }
    tls::install_provider();
    let built = build::build(snapshot, mode, signer, &sources).map_err(Fault::Failed)?;
    serve(built, sources, fingerprint).map_err(Fault::Failed)
}

/// The admin side runs on the calling thread, apart from the workers, so that a scrape cannot slow traffic.
fn serve(built: Built, sources: Sources, fingerprint: reload::Fingerprint) -> Result<()> {
    let Built {
        shared,
        custody,
        steering,
        listeners,
        health,
        host,
        workers,
        mode,
        gap,
        exports,
        last_good,
        _lock,
    } = built;
    // Those that programs outlive this process for; a proxy's are bound anew.
    let outlived = steering.as_ref().is_some_and(|steering| mode == Mode::Host || steering.can_be_left());
    let kept = listeners.sockets().filter(|_| outlived);
    let keep: Vec<_> = kept.map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
    let pool = workers::start(&shared, steering.as_ref(), listeners, DRAIN)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = shared.snapshot.load().config.clone();
    let served = runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
        let metrics_listener = metrics_listener(config.metrics.listen, &health).await;
        let sessions = Arc::new(console::Sessions::default());
        let (console_listener, console) = console_listener(&config, &sessions).await;
        let told = steering.as_ref();
        let events = told.map(Steering::events).transpose().context("opening the ring of events")?;
        let events = events.zip(told.map(Steering::learned).transpose()?);
        let steering = (steering, mode);
        let live = Live::new(
            shared.clone(),
            steering,
            health.clone(),
            sources,
            fingerprint,
            (gap, last_good, exports, custody, console),
            &pool,
        )?;
        let shown = http::Shown {
            metrics: shared.recorder.metrics.clone(),
            health: health.clone(),
            before_scrape: live.before_scrape(),
        };
        let (wanted, reported) = (config.metrics.listen, health.clone());
        let scrapes = tokio::task::spawn_local(async move {
            let listener = match metrics_listener {
                Some(listener) => listener,
                None => until_metrics_listen(wanted, METRICS_RETRY, &reported).await,
            };
            if let Err(error) = http::serve(listener, shown, std::future::pending()).await {
                tracing::error!("metrics and probes are no longer served: {error}");
            }
        });
        let (questions, mut asked) = mpsc::channel::<Question>(QUESTIONS);
        let socket = control::ControlSocket::bind(&config.paths.run.join(CONTROL_SOCKET))?;
        let console_task = console_listener.map(|listener| {
            let questions = questions.clone();
            let shown = console::Shown {
                log: config.paths.state.join(ACTIVITY_LOG),
                snapshot: shared.snapshot.clone(),
                metrics: shared.recorder.metrics.clone(),
                status: Arc::new(move || Box::pin(ask(questions.clone(), control::Command::Status))),
                sessions,
            };
            tokio::task::spawn_local(console::serve(listener, shown, std::future::pending()))
        });
        let handler = move |command| ask(questions.clone(), command);
        let control_task = tokio::task::spawn_local(socket.serve(handler, std::future::pending()));
        let settings = shared.snapshot.clone();
        let (device, checked) = (shared.device.clone(), shared.checked.clone());
        let current = move || settings.load().config.clone();
        let inventory_task =
            tokio::task::spawn_local(posture::inventory::watch(shared.inventory.clone(), current.clone()));
        let posture_task = tokio::task::spawn_local(posture::watch(host, device, checked, current));

        let watching = shared.clone();
        let stopped_task = tokio::task::spawn_local(async move {
            if let Some((events, learned)) = events {
                stopped::watch(watching, events, learned).await;
            }
        });

        let holder = shared.clone();
        let asking = live.custody();
        let signer_task = tokio::task::spawn_local(async move {
            authority::watch(|| holder.clients.authority(), &asking).await;
        });

        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut restart = signal(SignalKind::user_defined1())?;
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
        let end = loop {
            tokio::select! {
                () = &mut ahead => {}
                _ = terminate.recv() => break End::Stop,
                _ = interrupt.recv() => break End::Stop,
                _ = restart.recv() => break live.end_of_restart(),
                _ = hangup.recv() => drop(live.reload("SIGHUP")),
                _ = look.tick() => live.look(),
                _ = tick.tick() => live.tick(),
                Some((command, reply)) = asked.recv() => {
                    // A client that went away needs no answer.
                    let _ = reply.send(live.answer(&command));
                }
            }
        };
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::info!("stopping: {}", live.afterwards(end));
        match end {
            End::Stop => {
                // Detached first: a connection made from here on never meets a listener that is about to close.
                live.wind_down();
                let _ = inherited::give_up();
                pool.stop().await;
                live.detach();
            }
            End::HandOver => {
                live.hand_over();
                pool.stop().await;
                live.leave();
            }
        }
        scrapes.abort();
        console_task.inspect(tokio::task::JoinHandle::abort);
        for task in [control_task, posture_task, inventory_task, stopped_task, signer_task] {
            task.abort();
        }
        if shared.recorder.log.flush(LAST_RECORDS).is_err() {
            tracing::warn!("the activity log did not store everything in time");
        }
        tracing::info!("stopped");
        Ok(())
    }));
    // Whoever still reads the log for somebody is not waited for.
    runtime.shutdown_background();
    served
}

/// Listens for scrapes and probes. A port that is taken keeps nobody from being protected: it is tried again.
async fn metrics_listener(wanted: SocketAddr, health: &Health) -> Option<tokio::net::TcpListener> {
    match tokio::net::TcpListener::bind(wanted).await {
        Ok(listener) => {
            health.set(Part::Metrics, Condition::Ok);
            Some(listener)
        }
        Err(error) => {
            let why = format!("there are no metrics and no probes: [metrics] listen = \"{wanted}\": {error}");
            tracing::warn!("{why}");
            health.set(Part::Metrics, Condition::Degraded(why));
            None
        }
    }
}

async fn until_metrics_listen(
    wanted: SocketAddr,
    every: Duration,
    health: &Health,
) -> tokio::net::TcpListener {
    loop {
        tokio::time::sleep(every).await;
        if let Ok(listener) = tokio::net::TcpListener::bind(wanted).await {
            tracing::info!("metrics and probes are at {wanted} now");
            health.set(Part::Metrics, Condition::Ok);
            return listener;
        }
    }
}

/// Listens for browsers, where the settings want it. A port that is taken keeps nobody from being protected.
async fn console_listener(
    config: &Config,
    sessions: &Arc<console::Sessions>,
) -> (Option<tokio::net::TcpListener>, Option<live::Console>) {
    let Some(wanted) = config.console.listen else { return (None, None) };
    let bound = tokio::net::TcpListener::bind(wanted).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (listen, listener) = match bound {
        Ok((at, listener)) => (Ok(at), Some(listener)),
        Err(error) => {
            tracing::warn!("there is no console: [console] listen = \"{wanted}\": {error}");
            (Err((wanted, error.to_string())), None)
        }
    };
    (listener, Some(live::Console { listen, sessions: sessions.clone() }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_for_metrics_that_is_taken_is_said_and_taken_once_it_is_free() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = held.local_addr().unwrap();
        let health = Health::default();
        let condition = || {
            let report = health.report().into_iter();
            report.filter(|part| part.part == Part::Metrics).map(|part| part.condition).next().unwrap()
        };
        assert!(metrics_listener(wanted, &health).await.is_none());
        let told = condition();
        assert!(matches!(&told, Condition::Degraded(why) if why.contains(&wanted.to_string())), "{told:?}");
        drop(held);
        let listener = until_metrics_listen(wanted, Duration::from_millis(10), &health).await;
        assert_eq!((listener.local_addr().unwrap(), condition()), (wanted, Condition::Ok));
    }
}
