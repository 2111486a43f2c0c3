//! One thread per core, each with its own runtime, listener sockets and map descriptors: nothing is shared per byte.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;

use super::heartbeat::Ticks;
use crate::listener::{self, Listeners};
use crate::proxy::dial::Dialer;
use crate::proxy::share::Shares;
use crate::proxy::worker::{Shared, Worker};
use crate::steering::Steering;

/// The part of a worker's connections that one user may hold: 1 in this many.
const SHARE: usize = 4;

/// The running workers.
pub(super) struct Pool {
    stop: watch::Sender<bool>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    listening: String,
    ticks: Ticks,
}

/// Starts one worker for each set of sockets.
pub(super) fn start(
    shared: &Arc<Shared>,
    steering: Option<&Steering>,
    listeners: Listeners,
    drain: Duration,
) -> Result<Pool> {
    let (stop, stopped) = watch::channel(false);
    let listening = match listeners.v6 {
        Some(v6) => format!("{}, {v6}", listeners.v4),
        None => listeners.v4.to_string(),
    };
    let mut threads = Vec::new();
    let sockets = listeners.into_sockets();
    let most = listener::connections_each(descriptors()?, sockets.len());
    let ticks = Ticks::new(sockets.len());
    tracing::info!(most, "connections that each worker serves at a time");
    for (index, sockets) in sockets.into_iter().enumerate() {
        let arrivals = steering.map(Steering::arrivals).transpose()?;
        let own = steering.map(Steering::own_sockets).transpose()?;
        let learned = steering.map(Steering::learned).transpose()?;
        let peeked = steering.map(Steering::peeked).transpose()?;
        let shared = shared.clone();
        let dial = shared.snapshot.load().config.steering.dial;
        let stopped = stopped.clone();
        let (tick, ended) = (ticks.clone().tick(index), ticks.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let dialer = Dialer::new(own, shared.snapshot.clone(), dial);
            let shares = Shares::new(most.div_ceil(SHARE));
            let (arrivals, peeked) = (arrivals.map(RefCell::new), peeked.map(RefCell::new));
            let worker = Rc::new(Worker { shared, arrivals, learned, peeked, dialer, shares, stop: stopped });
            let stop = worker.stopping();
            let told = worker.stop.clone();
            let local = tokio::task::LocalSet::new();
            local.spawn_local(tick);
            let served = runtime.block_on(local.run_until(listener::run(worker, sockets, most, stop, drain)));
            match served {
                Ok(()) if *told.borrow() => ended.ended(index),
                Ok(()) => {}
                Err(error) => tracing::error!("worker {index}: {error}"),
            }
        });
        threads.push(thread.context("starting a worker thread")?);
    }
    Ok(Pool { stop, threads: RefCell::new(threads), listening, ticks })
}

/// Descriptors this process may have, after taking as many as it is allowed: the usual soft limit of 1024 is for
/// programs that use select(2).
fn descriptors() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of descriptors")?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return Ok(soft);
    }
    Ok(hard)
}

impl Pool {
    /// The listener's addresses, for people.
    pub(super) fn listening(&self) -> &str {
        &self.listening
    }

    /// When each worker last had its turn.
    pub(super) fn ticks(&self) -> Ticks {
        self.ticks.clone()
    }

    /// Whether every worker still runs.
    pub(super) fn is_whole(&self) -> bool {
        !self.threads.borrow().iter().any(JoinHandle::is_finished)
    }

    /// Stops accepting, lets what runs go on until the drain deadline, and waits for the threads.
    pub(super) async fn stop(&self) {
        let _ = self.stop.send(true);
        let threads = std::mem::take(&mut *self.threads.borrow_mut());
        for thread in threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a worker thread ended with a panic");
            }
        }
    }
}
