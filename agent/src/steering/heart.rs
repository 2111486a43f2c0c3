//! The heartbeat as the kernel sees it, and what the last one of an earlier agent tells.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_common::abi::Heartbeat;
use agent_common::limits::HEARTBEAT_LIMIT_NS;
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
        let since = now_ns().saturating_sub(time_ns) / 1_000_000;
        let unix_ms = unix_ms().saturating_sub(since);
        let heartbeat = Heartbeat { time_ns, unix_ms, pid: std::process::id(), reserved: 0 };
        self.map.set(0, heartbeat, 0).context("writing the heartbeat")
    }

    /// The last one, of whatever process; `None` when there was none.
    pub fn last(&self) -> Option<Heartbeat> {
        self.map.get(&0, 0).ok().filter(|last| last.time_ns != 0)
    }
}

/// The clock of heartbeats, in nanoseconds: CLOCK_MONOTONIC, as bpf_ktime_get_ns() reads it.
pub fn now_ns() -> u64 {
    // The clock is always there; should it fail, time stands still and the kernel takes the agent for dead.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

/// Whether the kernel still takes an agent for alive whose last heartbeat was at `time_ns`.
pub fn is_fresh(time_ns: u64) -> bool {
    now_ns() < time_ns.saturating_add(HEARTBEAT_LIMIT_NS)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
