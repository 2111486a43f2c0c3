//! How short memory is: a level that one look a second sets, and that workers read.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

/// In percent of the bound. A level that was reached is left further down than it begins, so that what it saves does not
/// end it at once.
const SHED_FROM: u64 = 85;
const SHED_UNTIL: u64 = 80;
const REFUSE_FROM: u64 = 95;
const REFUSE_UNTIL: u64 = 90;
/// A connection that begins while memory is short is of use for so long at least.
const OF_USE: Duration = Duration::from_secs(10);

/// What is done without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Enough,
    /// Nothing is kept for later: connections between requests, buffers, bodies to be looked at.
    Shed,
    /// New connections to monitored apps are refused as well.
    Refuse,
}

impl Level {
    /// The level behind this one, with `used` octets of `bound`.
    #[must_use]
    pub fn next(self, used: u64, bound: u64) -> Self {
        let reached = |percent: u64| u128::from(used) * 100 >= u128::from(bound) * u128::from(percent);
        if reached(REFUSE_FROM) || self == Self::Refuse && reached(REFUSE_UNTIL) {
            Self::Refuse
        } else if reached(SHED_FROM) || self > Self::Enough && reached(SHED_UNTIL) {
            Self::Shed
        } else {
            Self::Enough
        }
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Enough as u8);
/// One for each thread that has connections which can be done without.
static BELLS: Mutex<Vec<Weak<Notify>>> = Mutex::new(Vec::new());

thread_local! {
    static BELL: Arc<Notify> = {
        let bell = Arc::new(Notify::new());
        let mut bells = BELLS.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(&bell));
        bell
    };
    /// In tests, the level of one thread in place of the process's.
    static INJECTED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// The process's level.
fn level() -> Level {
    if cfg!(test)
        && let Some(level) = INJECTED.get()
    {
        return level;
    }
    match LEVEL.load(Ordering::Relaxed) {
        0 => Level::Enough,
        1 => Level::Shed,
        _ => Level::Refuse,
    }
}

/// Whether nothing is to be kept that can be done without.
pub fn is_shedding() -> bool {
    level() >= Level::Shed
}

/// Whether there is no memory for another connection to a monitored app.
pub fn is_refusing() -> bool {
    level() == Level::Refuse
}

/// Sets the process's level; what waits for [`shed`] on any thread is told.
pub(super) fn publish(level: Level) {
    let before = LEVEL.swap(level as u8, Ordering::SeqCst);
    if before == Level::Enough as u8 && level > Level::Enough {
        let bells = BELLS.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify_waiters());
    }
}

/// Resolves when, or while, nothing is to be kept.
pub async fn shed() {
    let bell = BELL.with(Arc::clone);
    loop {
        // Before the level is looked at: it may change in between.
        let rung = bell.notified();
        if is_shedding() {
            return;
        }
        rung.await;
    }
}

/// The same for a connection that begins now: its client would only come again if it ended before it was of use.
pub async fn shed_later() {
    if is_shedding() {
        tokio::time::sleep(OF_USE).await;
    }
    shed().await;
}

#[cfg(test)]
pub fn inject(level: Level) {
    INJECTED.set(Some(level));
    if level > Level::Enough {
        BELL.with(|bell| bell.notify_waiters());
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Enough, Refuse, Shed};
    use super::*;

    #[test]
    fn a_level_is_left_further_down_than_it_begins() {
        // Up and down again, in parts of a thousand; and from level to level at once.
        for (before, used, then) in [
            (Enough, 849, Enough),
            (Enough, 850, Shed),
            (Enough, 949, Shed),
            (Enough, 950, Refuse),
            (Shed, 849, Shed),
            (Shed, 800, Shed),
            (Shed, 799, Enough),
            (Shed, 949, Shed),
            (Shed, 950, Refuse),
            (Refuse, 949, Refuse),
            (Refuse, 900, Refuse),
            (Refuse, 899, Shed),
            (Refuse, 800, Shed),
            (Refuse, 799, Enough),
            (Refuse, 2000, Refuse),
        ] {
            assert_eq!(before.next(used, 1000), then, "{before:?} {used}");
        }
        assert_eq!(Enough.next(u64::MAX, u64::MAX), Refuse);
        assert_eq!(Enough.next(0, 1), Enough);
    }

    /// Whether it is ready at once.
    async fn is_ready(what: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::ZERO, what).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_waits_is_told_and_a_new_connection_has_time_to_be_of_use() {
        inject(Enough);
        let mut waiting = [Box::pin(shed()), Box::pin(shed())];
        let mut later = Box::pin(shed_later());
        for waiting in &mut waiting {
            assert!(!is_ready(waiting).await);
        }
        assert!(!is_ready(&mut later).await);
        inject(Shed);
        for waiting in waiting {
            waiting.await;
        }
        assert!(is_ready(later).await, "it began while there was enough");
        assert!(is_ready(shed()).await);
        assert!(!is_ready(shed_later()).await);
    }
}
