//! The kernel's table of learned addresses from userspace: asked for the app of an address, and taught addresses that
//! were looked up ahead of any client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_common::abi::{Address, Target};
use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData, MapError};
use nix::time::{ClockId, clock_gettime};

/// BPF_NOEXIST (linux/bpf.h): an entry that is there already is not touched.
const NO_EXIST: u64 = 1;

/// Addresses and the selected apps they belong to.
pub struct Learned {
    map: HashMap<MapData, Address, Target>,
    selected: Vec<(Arc<str>, u64)>,
    ports: Vec<u16>,
}

impl Learned {
    pub(super) fn new(data: MapData, selected: Vec<(Arc<str>, u64)>, ports: Vec<u16>) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(Map::LruHashMap(data))?, selected, ports })
    }

    /// Ids of the selected apps.
    pub fn selected(&self) -> impl Iterator<Item = &Arc<str>> {
        self.selected.iter().map(|(app, _)| app)
    }

    /// The ports that are steered.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// A selected app with a name that resolved to the address. With more apps than bits it may be another one that
    /// shares the bit.
    pub fn app_of(&self, address: IpAddr) -> Result<Option<&Arc<str>>> {
        let Some(target) = self.target(&Address::from_ip(address))? else { return Ok(None) };
        if target.expires_ns < now()? {
            return Ok(None);
        }
        Ok(self.selected.iter().find(|(_, bit)| bit & target.apps != 0).map(|(app, _)| app))
    }

    /// Teaches that a name of a selected app resolves to the address, for as long as `valid`. What is known of the
    /// address stays: bits are added, and no expiry becomes earlier. `false` for an address that no cloud app has, and
    /// for an app that is not selected.
    ///
    /// The kernel may learn the same address between reading and writing; the bits that are lost then come back with
    /// the next answer, and the address is steered meanwhile because of the bit written here.
    pub fn add(&mut self, app: &str, address: IpAddr, valid: Duration) -> Result<bool> {
        let Some(&(_, bit)) = self.selected.iter().find(|(id, _)| **id == *app) else { return Ok(false) };
        let address = Address::from_ip(address);
        if !address.is_reachable_from_afar() {
            return Ok(false);
        }
        let now = now()?;
        let valid = u64::try_from(valid.as_nanos()).unwrap_or(u64::MAX);
        let fresh = Target { apps: bit, expires_ns: now.saturating_add(valid) };
        if self.map.insert(address, fresh, NO_EXIST).is_ok() {
            return Ok(true);
        }
        let target = match self.target(&address)? {
            Some(known) => merged(fresh, known, now),
            None => fresh,
        };
        self.map.insert(address, target, 0).context("writing a learned address")?;
        Ok(true)
    }

    fn target(&self, address: &Address) -> Result<Option<Target>> {
        match self.map.get(address, 0) {
            Ok(target) => Ok(Some(target)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("reading a learned address"),
        }
    }
}

/// As the kernel does it: an unexpired entry keeps its bits and the later expiry.
fn merged(fresh: Target, known: Target, now: u64) -> Target {
    if known.expires_ns <= now {
        return fresh;
    }
    Target { apps: fresh.apps | known.apps, expires_ns: fresh.expires_ns.max(known.expires_ns) }
}

/// The clock of bpf_ktime_get_ns().
fn now() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("reading the clock")?;
    u64::try_from(Duration::from(now).as_nanos()).context("the clock is beyond its range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_added_and_no_expiry_becomes_earlier() {
        let of = |apps, expires_ns| Target { apps, expires_ns };
        assert_eq!(merged(of(1, 500), of(2, 900), 100), of(3, 900));
        assert_eq!(merged(of(1, 900), of(2, 500), 100), of(3, 900));
        assert_eq!(merged(of(1, 900), of(2, 100), 100), of(1, 900), "an expired entry counts for nothing");
        assert_eq!(merged(of(1, 900), of(0, 500), 100), of(1, 900), "an explained address becomes an app's");
    }
}
