//! What becomes of the state in the kernel when the agent ends: handed over, left, or taken away.

use super::super::{End, gap};
use super::Live;
use crate::config::{self, Config, Mode};
use crate::steering::Steering;

impl Live<'_> {
    /// What becomes of connections once this agent stops, in words.
    pub(in crate::app) fn afterwards(&self, end: End) -> &'static str {
        match self.mode {
            Mode::Host | Mode::Gateway if end == End::HandOver => "new connections wait for the next agent",
            Mode::Host | Mode::Gateway => "new connections go direct",
            Mode::Explicit => "the proxy takes no new connections",
        }
    }

    /// What is pinned outlives this process from here on, unless it is detached.
    pub(in crate::app) fn settle(&self) {
        if let Some(steering) = &mut *self.steering.borrow_mut() {
            steering.settle();
        }
    }

    /// How a restart is to end this run: handed over, unless the next agent would take nothing over.
    pub(in crate::app) fn end_of_restart(&self) -> End {
        if !self.steering.borrow().as_ref().is_some_and(Steering::can_be_left) {
            return End::Stop;
        }
        // Settings that are broken now make the next start fail, which is a failure like any other: `fail` holds.
        let next = match self.sources.read_settings() {
            Ok(Some(settings)) => config::parse(&settings).ok(),
            Ok(None) => Some(Config::default()),
            Err(_) => None,
        };
        match next {
            Some(next) if place(&next) != place(&self.started_with) => End::Stop,
            _ => End::HandOver,
        }
    }

    /// The state in the kernel stays as it is, and counts as served until the next agent comes, for a while.
    pub(in crate::app) fn hand_over(&self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.hand_over_at_the_end();
        }
    }

    /// Nothing is taken away.
    pub(in crate::app) fn leave(&self) {
        if let Some(steering) = self.steering.borrow_mut().take() {
            steering.leave();
        }
    }

    /// New connections go direct from here on; running ones keep what they need.
    pub(in crate::app) fn wind_down(&self) {
        let Some(steering) = self.steering.borrow_mut().take() else { return };
        gap::stopped(&self.started_with.paths.state);
        match steering.wind_down() {
            Ok(rest) => *self.steering.borrow_mut() = rest,
            Err(error) => tracing::error!("not everything was detached: {error:#}"),
        }
    }

    /// Takes away what is left: nothing stays in the kernel.
    pub(in crate::app) fn detach(&self) {
        if let Some(steering) = self.steering.borrow_mut().take()
            && let Err(error) = steering.detach()
        {
            tracing::error!("not everything was detached: {error:#}");
        }
    }
}

/// Where the state in the kernel is: an agent takes over only what it finds there.
fn place(config: &Config) -> impl PartialEq + use<'_> {
    let steering = &config.steering;
    (steering.mode, &steering.cgroup, &steering.interfaces, &config.paths.pins)
}
