//! What one side may do in a second, and in the life of a connection, before it counts as an attack.

use std::time::Duration;

/// Most that can be earned ahead: seconds of traffic at full speed, and no more.
const MOST_EARNED: u32 = 100_000;

/// So many a second, and as many more as other traffic has earned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    second: u64,
    used: u32,
    earned: u32,
}

impl Rate {
    /// Takes one; `false` when there is none left.
    pub(super) fn take(&mut self, now: Duration, per_second: u32) -> bool {
        if self.second != now.as_secs() {
            (self.second, self.used) = (now.as_secs(), 0);
        }
        if self.used < per_second {
            self.used += 1;
            true
        } else if self.earned > 0 {
            self.earned -= 1;
            true
        } else {
            false
        }
    }

    pub(super) fn earn(&mut self, count: u32) {
        self.earned = (self.earned + count).min(MOST_EARNED);
    }
}

/// The budgets of one side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budgets {
    pub(super) resets: Rate,
    pub(super) pings: Rate,
    pub(super) settings: Rate,
    pub(super) empty: Rate,
    pub(super) windows: Rate,
    pub(super) priorities: Rate,
    pub(super) glitches: Rate,
    pub(super) turned_away: Rate,
    /// Over the life of the connection.
    pub(super) all_resets: u32,
    pub(super) early_resets: u32,
    pub(super) made_resets: u32,
    /// Streams that ended with a whole response and were not reset afterwards; at most `Limits::remembered_resets`.
    pub(super) over: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_begins_anew_every_second_and_grows_by_what_is_earned() {
        let mut rate = Rate::default();
        for second in [0, 1, 7] {
            let now = Duration::from_millis(second * 1000 + 400);
            assert!((0..3).all(|_| rate.take(now, 3)));
            assert!(!rate.take(now + Duration::from_millis(500), 3));
        }
        rate.earn(2);
        assert!(rate.take(Duration::from_secs(7), 3) && rate.take(Duration::from_secs(7), 3));
        assert!(!rate.take(Duration::from_secs(7), 3));
    }
}
