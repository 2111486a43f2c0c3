//! The time without an agent, between the last heartbeat of one that did not stop in order, or whose successor took long,
//! and this one's start.

use std::time::Duration;

use agent_common::abi::{HANDED_OVER, Heartbeat};
use jiff::Timestamp;

use crate::config::Fail;
use crate::steering;

/// From when to when no agent lived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pid: u32,
    handed_over: bool,
}

/// The gap that began with this heartbeat and ends now; none where the earlier agent handed over and connections waited.
pub(super) fn since(last: Heartbeat) -> Option<Gap> {
    if steering::is_handed_over(&last) {
        return None;
    }
    let from = Timestamp::from_millisecond(i64::try_from(last.unix_ms).ok()?).ok()?;
    Some(Gap { from, to: Timestamp::now(), pid: last.pid, handed_over: last.state == HANDED_OVER })
}

impl Gap {
    /// Never negative, should the clock have been set back.
    pub(super) fn duration(&self) -> Duration {
        Duration::try_from(self.to.duration_since(self.from)).unwrap_or_default()
    }

    /// Tells of it in the log.
    pub(super) fn say(&self, fail: Fail) {
        let what = match fail {
            Fail::Closed => "refused",
            Fail::Open => "not inspected",
        };
        let why = if self.handed_over {
            "handed over and this one took long to come"
        } else {
            "did not stop in order"
        };
        tracing::warn!(
            from = %self.from, to = %self.to, seconds = self.duration().as_secs_f64(), pid = self.pid,
            "the earlier agent {why}: between its last sign of life and now, connections to monitored apps were {what}"
        );
    }
}
