//! The sign of life: worker threads tick, and a thread of its own tells the kernel the time of the oldest tick.
//!
//! Not the admin loop: a reload of a large catalog takes it seconds, in which the data path serves as ever. And not the
//! time of writing: one worker that is stuck shows, because its share of the connections would wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use agent_common::limits::HEARTBEAT_LIMIT_NS;
use anyhow::{Context, Result};

use crate::steering::{Heart, now_ns};

/// Between two ticks of a worker, and between two heartbeats: a tenth of what the kernel waits for.
const EVERY: Duration = Duration::from_nanos(HEARTBEAT_LIMIT_NS / 10);

/// When each worker last had its turn; [`ENDED`] for one that has served its last connection.
#[derive(Clone)]
pub(super) struct Ticks(Arc<[AtomicU64]>);

/// Of a worker that ended because it was told to: nobody waits for it.
const ENDED: u64 = u64::MAX;

impl Ticks {
    /// The start counts as a tick.
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicU64::new(now_ns())).collect())
    }

    /// Runs on a worker for as long as it serves.
    pub(super) async fn tick(self, worker: usize) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            if let Some(tick) = self.0.get(worker) {
                tick.store(now_ns(), Ordering::Relaxed);
            }
        }
    }

    /// The worker was told to stop and has nothing left to serve. One that fails says nothing and shows.
    pub(super) fn ended(&self, worker: usize) {
        if let Some(tick) = self.0.get(worker) {
            tick.store(ENDED, Ordering::Relaxed);
        }
    }

    /// Now, once every worker has ended.
    fn oldest(&self) -> u64 {
        match self.0.iter().map(|tick| tick.load(Ordering::Relaxed)).min() {
            None => 0,
            Some(ENDED) => now_ns(),
            Some(oldest) => oldest,
        }
    }
}

/// The running thread. Dropping it ends the heartbeat, with a last word if there is a next agent.
pub(super) struct Heartbeat {
    stop: Arc<AtomicBool>,
    hand_over: Arc<AtomicBool>,
    last: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub(super) fn start(mut heart: Heart, ticks: Ticks) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let hand_over = Arc::new(AtomicBool::new(false));
        let last = Arc::new(AtomicU64::new(now_ns()));
        let (told, shown, next) = (stop.clone(), last.clone(), hand_over.clone());
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
            let mut late = Lateness::default();
            while !told.load(Ordering::Relaxed) {
                let oldest = ticks.oldest();
                match heart.beat(oldest) {
                    Ok(()) => shown.store(oldest, Ordering::Relaxed),
                    Err(error) => tracing::error!("{error:#}"),
                }
                late.note(now_ns().saturating_sub(oldest));
                std::thread::sleep(EVERY);
            }
            if next.load(Ordering::Relaxed)
                && let Err(error) = heart.hand_over()
            {
                tracing::error!("{error:#}");
            }
        });
        Ok(Self { stop, hand_over, last, thread: Some(thread.context("starting the heartbeat's thread")?) })
    }

    /// The next agent takes over what is in the kernel: until it comes, and not longer than it may take, connections wait.
    pub(super) fn hand_over_at_the_end(&self) {
        self.hand_over.store(true, Ordering::Relaxed);
    }

    /// Time of the last heartbeat, on the clock of [`now_ns`].
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the heartbeat's thread ended with a panic");
        }
    }
}

/// Says once that workers are late, and once that they no longer are.
#[derive(Default)]
struct Lateness {
    late: bool,
}

impl Lateness {
    fn note(&mut self, age_ns: u64) {
        let late = age_ns > HEARTBEAT_LIMIT_NS / 2;
        if late != self.late {
            let ms = age_ns / 1_000_000;
            if late {
                tracing::warn!(
                    "a worker has not had its turn for {ms} ms: the machine is overloaded, or it is stuck"
                );
            } else {
                tracing::info!("all workers have their turn again");
            }
            self.late = late;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_that_is_behind_counts() {
        let ticks = Ticks::new(3);
        for (worker, time) in [5, 3, 9].into_iter().enumerate() {
            ticks.0[worker].store(time, Ordering::Relaxed);
        }
        assert_eq!(ticks.oldest(), 3);
        ticks.ended(1);
        assert_eq!(ticks.oldest(), 5);
        for worker in [0, 2] {
            ticks.ended(worker);
        }
        assert!(ticks.oldest() > 9 && ticks.oldest() != ENDED, "nobody is late who has nothing left to do");
        assert_eq!(Ticks::new(0).oldest(), 0);
    }

    #[tokio::test]
    async fn a_worker_ticks_while_its_runtime_turns() {
        let ticks = Ticks::new(1);
        ticks.0[0].store(0, Ordering::Relaxed);
        tokio::select! {
            () = ticks.clone().tick(0) => unreachable!(),
            () = tokio::time::sleep(EVERY) => {}
        }
        assert!(ticks.oldest() > 0);
    }
}
