//! The kernel's table of learned addresses from userspace: asked for the apps of an address, and taught addresses that
//! were looked up ahead of any client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_common::abi::{Address, Target};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use aya::maps::{HashMap, Map, MapData, MapError};

use super::heart::now_ns;

/// BPF_NOEXIST (linux/bpf.h): an entry that is there already is not touched.
const NO_EXIST: u64 = 1;

/// What the kernel steers now, as every handle sees it.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// The selected apps with their bits.
    pub(super) apps: Vec<(Arc<str>, u64)>,
    /// The steered ports.
    pub(super) ports: Vec<u16>,
}

impl Selected {
    /// The bits of all selected apps.
    pub(super) fn bits(&self) -> u64 {
        self.apps.iter().fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// Addresses and the selected apps they belong to. Follows every [`super::Steering::apply`]. Asking does not make an entry
/// look used.
pub struct Learned {
    map: HashMap<MapData, Address, Target>,
    selected: Arc<ArcSwap<Selected>>,
}

impl Learned {
    pub(super) fn new(data: MapData, selected: Arc<ArcSwap<Selected>>) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(Map::LruHashMap(data))?, selected })
    }

    /// Ids of the selected apps.
    pub fn selected(&self) -> Vec<Arc<str>> {
        self.selected.load().apps.iter().map(|(app, _)| app.clone()).collect()
    }

    /// The ports that are steered.
    pub fn ports(&self) -> Vec<u16> {
        self.selected.load().ports.clone()
    }

    /// The selected apps with a name that resolved to the address. With more apps than bits some share one, so an app may
    /// be named too many; an address that was forgotten since belongs to none.
    pub fn apps_at(&self, address: IpAddr) -> Result<Vec<Arc<str>>> {
        let bits = self.bits_at(address)?;
        let selected = self.selected.load();
        Ok(selected.apps.iter().filter(|(_, bit)| bit & bits != 0).map(|(app, _)| app.clone()).collect())
    }

    /// Whether the address belongs to a selected app.
    pub fn is_selected(&self, address: IpAddr) -> Result<bool> {
        Ok(self.bits_at(address)? & self.selected.load().bits() != 0)
    }

    fn bits_at(&self, address: IpAddr) -> Result<u64> {
        let known = self.target(&Address::from_ip(address))?;
        Ok(known.filter(|target| target.expires_ns >= now_ns()).map_or(0, |target| target.apps))
    }

    /// Teaches that a name of a selected app resolves to the address, for as long as `valid`. What is known of the
    /// address stays: bits are added, and no expiry becomes earlier. `false` for an address that no cloud app has, and
    /// for an app that is not selected.
    ///
    /// The kernel may learn the same address between reading and writing; the bits that are lost then come back with
    /// the next answer, and the address is steered meanwhile because of the bit written here.
    pub fn add(&mut self, app: &str, address: IpAddr, valid: Duration) -> Result<bool> {
        let selected = self.selected.load();
        let Some(&(_, bit)) = selected.apps.iter().find(|(id, _)| **id == *app) else { return Ok(false) };
        let address = Address::from_ip(address);
        if !address.is_reachable_from_afar() {
            return Ok(false);
        }
        let now = now_ns();
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
