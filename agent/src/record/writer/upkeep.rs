//! What the writer does beside writing, turn by turn: records into segments, the file looked after, old records deleted.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{IDLE, Writer, identity};
use crate::record::store::{Gap, Store};

/// How often old records are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// Segments made in one turn: they take some milliseconds each, in which records wait.
const SEGMENTS_MAX: usize = 4;

/// How long nothing is deleted for its age after the clock was set: a wrong date must not empty the log.
const CLOCK_GRACE: Duration = Duration::from_secs(3600);
/// A wall clock that went so much further than the steady one was set. NTP slews what is less.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(60);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) steady: Instant,
    pub(super) wall: Timestamp,
}

impl Clock {
    /// Whether the wall clock was set since, which moves this on to `now`. A suspended machine looks the same.
    fn stepped(&mut self, now: Self) -> bool {
        let steady = now.steady.saturating_duration_since(self.steady);
        let wall = now.wall.duration_since(self.wall);
        *self = now;
        (wall - SignedDuration::try_from(steady).unwrap_or(SignedDuration::MAX)).abs() > CLOCK_STEP
    }
}

impl Writer {
    /// Brings records into segments: at most one of a turn is of new records, the others of a log of before there were any.
    pub(super) fn make_segments(&mut self) {
        let Some(store) = self.store.as_mut() else { return };
        let size = self.options.segment;
        let made = (0..SEGMENTS_MAX).try_for_each(|_| match store.make_segment(size) {
            Ok(true) => Ok(()),
            Ok(false) => Err(None),
            Err(error) => Err(Some(error)),
        });
        self.is_behind = made.is_ok();
        match made {
            Ok(()) => {}
            Err(None) => self.has_caught_up = true,
            // What is in no segment is looked at record by record; the next turn tries again.
            Err(Some(error)) => tracing::debug!("no segment of the activity log could be made: {error}"),
        }
    }

    /// Once a second: is the file still there? Now and then: is there something to delete?
    pub(super) fn look_after_file(&mut self) {
        let now = Instant::now();
        if now < self.look_after {
            return;
        }
        self.look_after = now + IDLE;
        if self.store.is_some() && identity(&self.path) != self.file {
            self.store = None;
            self.note(Gap::unknown("the file of the activity log was removed or replaced".to_owned()));
            return;
        }
        let was_spent = self.reserve.is_spent();
        self.reserve.hold();
        if was_spent && !self.reserve.is_spent() {
            self.shared.set_trouble(None);
        }
        if self.clock.stepped(Clock { steady: now, wall: Timestamp::now() }) {
            tracing::warn!("the clock was set: no activities are deleted for their age within the next hour");
            self.delete_old = now + CLOCK_GRACE;
        }
        if self.has_caught_up
            && let Some(Err(error)) = self.store.as_ref().map(Store::drop_old_index)
        {
            tracing::debug!("an index of the activity log that nobody needs is still there: {error}");
        }
        self.delete_oldest(now);
        if now >= self.delete_old {
            self.delete_old(now);
        }
    }

    /// By size: in small steps, as by age.
    fn delete_oldest(&mut self, now: Instant) {
        let (Some(store), Some(max)) = (self.store.as_mut(), self.shared.max_size()) else { return };
        let deleted = store.size().and_then(|size| if size > max { store.delete_oldest() } else { Ok(0) });
        match deleted {
            Ok(deleted) => {
                self.shared.records.fetch_sub(deleted, Ordering::Relaxed);
                if deleted > 0 {
                    self.look_after = now;
                }
            }
            Err(error) => self.shared.set_trouble(Some(error.to_string())),
        }
    }

    fn delete_old(&mut self, now: Instant) {
        let secs = self.shared.retention_secs.load(Ordering::Relaxed);
        let (Some(store), Some(secs)) = (self.store.as_mut(), (secs > 0).then_some(secs)) else { return };
        let before = Timestamp::now().checked_sub(Duration::from_secs(secs)).unwrap_or(Timestamp::MIN);
        self.delete_old = now + RETENTION_EVERY;
        match store.delete_before(before) {
            Ok(deleted) => {
                self.shared.records.fetch_sub(deleted.records, Ordering::Relaxed);
                if deleted.more {
                    // In small steps, so that records do not wait long behind them.
                    (self.delete_old, self.look_after) = (now, now);
                }
            }
            Err(error) => self.shared.set_trouble(Some(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_clock_in_either_direction_is_noticed_once() {
        let start = Clock { steady: Instant::now(), wall: "2026-03-04T05:06:07Z".parse().unwrap() };
        let later = |steady: u64, wall: i64| Clock {
            steady: start.steady + Duration::from_secs(steady),
            wall: start.wall + SignedDuration::from_secs(wall),
        };
        let mut clock = start;
        assert!(!clock.stepped(later(1, 1)));
        assert!(!clock.stepped(later(100, 130)), "a slow clock that is slewed");
        assert!(clock.stepped(later(101, 86_531)), "a day on");
        assert!(!clock.stepped(later(102, 86_532)));
        assert!(clock.stepped(later(103, 132)), "and back");
    }
}
