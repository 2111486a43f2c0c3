//! The kernel's per-CPU counters, summed.

use agent_common::counter::Counter;
use anyhow::Result;
use aya::maps::{Map, MapData, PerCpuArray};

pub struct KernelCounters {
    map: PerCpuArray<MapData, u64>,
}

impl KernelCounters {
    pub(super) fn new(data: MapData) -> Result<Self> {
        Ok(Self { map: PerCpuArray::try_from(Map::PerCpuArray(data))? })
    }

    /// Every counter with its name, summed over CPUs; counters that cannot be read are left out.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        Counter::ALL
            .iter()
            .filter_map(|&counter| {
                let cells = self.map.get(&(counter as u32), 0).ok()?;
                Some((counter.name(), cells.iter().sum()))
            })
            .collect()
    }
}
