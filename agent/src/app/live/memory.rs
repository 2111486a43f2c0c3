//! The memory of the agent while it runs: looked at once a second, and what follows from it made known.

use super::Live;
use crate::admin::health::{Condition, Part};
use crate::memory::bound::Reading;
use crate::memory::pressure::Level;
use crate::record::metrics::Metrics;

impl Live<'_> {
    pub(super) fn look_after_memory(&self) {
        let set = self.shared.snapshot.load().config.limits.memory;
        let condition = match self.memory.borrow_mut().look(set) {
            Ok(reading) => {
                tell(&reading, &self.shared.recorder.metrics);
                condition(&reading)
            }
            Err(error) => Condition::Degraded(format!("what is in use cannot be read from /proc: {error}")),
        };
        self.health.set(Part::Memory, condition);
    }
}

fn tell(reading: &Reading, metrics: &Metrics) {
    metrics.set_memory(reading.used, reading.bound, reading.level as u8);
    if reading.level != reading.before {
        match consequence(reading.level) {
            None => tracing::info!("memory is no longer short: {reading}"),
            Some(what) if reading.level == Level::Refuse => {
                tracing::error!("memory is short, {reading}: {what}")
            }
            Some(what) => tracing::warn!("memory is short, {reading}: {what}"),
        }
    }
}

fn consequence(level: Level) -> Option<&'static str> {
    match level {
        Level::Enough => None,
        Level::Shed => Some("idle connections are closed, and bodies are not held for content detection"),
        Level::Refuse => Some("new connections to monitored apps are refused"),
    }
}

fn condition(reading: &Reading) -> Condition {
    let reason = consequence(reading.level).map(|what| format!("{reading}: {what}"));
    match (reason, reading.level) {
        (None, _) => Condition::Ok,
        (Some(reason), Level::Refuse) => Condition::Failed(reason),
        (Some(reason), _) => Condition::Degraded(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::bound::Whence;

    #[test]
    fn the_state_of_memory_says_how_much_of_what_and_what_follows() {
        let reading = |level| Reading {
            used: 61 << 20,
            bound: 64 << 20,
            whence: Whence::Cgroup,
            level,
            before: Level::Enough,
        };
        assert_eq!(condition(&reading(Level::Enough)), Condition::Ok);
        let words = "61 MiB of 64 MiB in use (the cgroup's): idle connections are closed, and bodies are not held for \
                     content detection";
        assert_eq!(condition(&reading(Level::Shed)), Condition::Degraded(words.into()));
        let words = "61 MiB of 64 MiB in use (the cgroup's): new connections to monitored apps are refused";
        assert_eq!(condition(&reading(Level::Refuse)), Condition::Failed(words.into()));
    }
}
