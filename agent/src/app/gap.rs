//! The time without an agent: between the last heartbeat of one that did not stop in order, or whose successor took long,
//! and this one's start; or since one was stopped. The activity log says of it why there are no records.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use agent_common::abi::{HANDED_OVER, Heartbeat};
use jiff::Timestamp;

use crate::config::Fail;
use crate::record::activity_log::ActivityLog;
use crate::state_file::replace;
use crate::steering;

/// Below `[paths] state`, while no agent runs after one was stopped: since when.
const STOPPED: &str = "stopped";

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

    /// Tells of it in both logs.
    pub(super) fn say(&self, fail: Fail, log: &ActivityLog) {
        let (what, name) = match fail {
            Fail::Closed => ("refused", "closed"),
            Fail::Open => ("not inspected", "open"),
        };
        log.note_absence(
            self.from,
            self.to,
            format!("no agent was there: with fail = \"{name}\" connections to monitored apps were {what}"),
        );
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

/// An agent that takes everything out of the kernel stops now. What a disk does not take, nobody is told of.
pub(super) fn stopped(state: &Path) {
    if let Err(error) = replace(&state.join(STOPPED), &Timestamp::now().to_string()) {
        tracing::warn!("the next start will not know since when there was no agent: {error}");
    }
}

/// Tells of the time since an agent was stopped in order, once. While the machine was off there was nothing to inspect.
pub(super) fn say_since_stop(state: &Path, log: &ActivityLog) {
    let path = state.join(STOPPED);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!("{}: {error}", path.display()),
    };
    let now = Timestamp::now();
    if let Some(from) = text.trim().parse().ok().and_then(|at| absence(at, now, booted())) {
        let reason =
            "no agent was there, it had been stopped: connections to monitored apps were not inspected";
        log.note_absence(from, now, reason.to_owned());
        tracing::info!(%from, "no agent ran since: connections to monitored apps were not inspected");
    }
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!("{}: {error}", path.display());
    }
}

/// From when on the time is told of; not at all where the machine has been started since.
fn absence(stopped: Timestamp, now: Timestamp, booted: Option<Timestamp>) -> Option<Timestamp> {
    (stopped <= now && booted.is_none_or(|booted| booted <= stopped)).then_some(stopped)
}

/// When this machine was started, by its clock of now.
fn booted() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::record::query::{Entry, Filter, Reader};

    fn gaps(path: &Path) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let each = |entry| {
            if let Entry::Gap(gap) = entry {
                assert!(gap.since <= gap.until);
                found.push((gap.count, gap.reason));
            }
            ControlFlow::Continue(())
        };
        Reader::open(path).unwrap().newest_first(&Filter::default(), each).unwrap();
        found
    }

    #[test]
    fn the_log_says_of_the_time_without_an_agent_why_it_has_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        say_since_stop(dir.path(), &log);
        stopped(dir.path());
        say_since_stop(dir.path(), &log);
        say_since_stop(dir.path(), &log);
        let (to, pid) = (Timestamp::now(), 7);
        let from = to - Duration::from_secs(3);
        Gap { from, to, pid, handed_over: false }.say(Fail::Open, &log);
        log.flush(Duration::from_secs(20)).unwrap();
        let told = gaps(&path);
        assert_eq!(told.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [0, 0]);
        assert!(told.iter().any(|(_, why)| why.contains("had been stopped")), "{told:?}");
        let open = "fail = \"open\" connections to monitored apps were not inspected";
        assert!(told.iter().any(|(_, why)| why.contains(open)), "{told:?}");
    }

    #[test]
    fn a_machine_that_was_off_missed_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(absence(at(100), at(200), Some(at(50))), Some(at(100)));
        assert_eq!(absence(at(100), at(200), Some(at(150))), None);
        assert_eq!(absence(at(300), at(200), Some(at(50))), None, "a clock that was set back");
    }
}
