//! The heartbeat as the kernel sees it, and what the last one of an earlier agent tells.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_common::abi::{HANDED_OVER, Heartbeat, SERVING};
use agent_common::limits::{HAND_OVER_NS, HEARTBEAT_LIMIT_NS};
use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData};
use nix::time::{ClockId, clock_gettime};

/// Writes heartbeats.
pub struct Heart {
    map: Array<MapData, Heartbeat>,
}

impl Heart {
    pub(super) fn new(data: MapData) -> Result<Self> {
        Ok(Self { map: Array::try_from(Map::Array(data))? })
    }

    /// Says that the agent served at `time_ns` of [`now_ns`].
    pub fn beat(&mut self, time_ns: u64) -> Result<()> {
        self.write(time_ns, SERVING)
    }

    /// The last word of an agent that ends for a restart: the kernel takes it for alive for a while longer, so that
    /// connections are steered to listening sockets which the next agent takes over.
    pub fn hand_over(&mut self) -> Result<()> {
        self.write(now_ns() + HAND_OVER_NS - HEARTBEAT_LIMIT_NS, HANDED_OVER)
    }

    fn write(&mut self, time_ns: u64, state: u32) -> Result<()> {
        let since = now_ns().saturating_sub(time_ns) / 1_000_000;
        let unix_ms = unix_ms().saturating_sub(since);
        let heartbeat = Heartbeat { time_ns, unix_ms, pid: std::process::id(), state };
        self.map.set(0, heartbeat, 0).context("writing the heartbeat")
    }

    /// The last one, of whatever process; `None` when there was none.
    pub fn last(&self) -> Option<Heartbeat> {
        self.map.get(&0, 0).ok().filter(|last| last.time_ns != 0)
    }
}

/// The clock of heartbeats, in nanoseconds: CLOCK_MONOTONIC, as the programs read it, which see it as it stood at the last tick.
pub fn now_ns() -> u64 {
    // The clock is always there; should it fail, time stands still and the kernel takes the agent for dead.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

/// Whether the agent that wrote a heartbeat ended in order and left everything to the next one, which has come in time.
pub fn is_handed_over(last: &Heartbeat) -> bool {
    last.state == HANDED_OVER && is_fresh(last.time_ns)
}

/// Whether the kernel still takes an agent for alive whose last heartbeat was at `time_ns`.
pub fn is_fresh(time_ns: u64) -> bool {
    now_ns() < time_ns.saturating_add(HEARTBEAT_LIMIT_NS)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
