//! Per worker: which apps an address was learned for.

use std::net::IpAddr;
use std::sync::Arc;

use agent_common::abi::{Address, Target};
use anyhow::Result;
use arc_swap::ArcSwap;
use aya::maps::{HashMap, Map, MapData};

use super::patterns::AppBits;

/// Reads what the kernel learned. Asking does not make an entry look used.
pub struct Targets {
    map: HashMap<MapData, Address, Target>,
    bits: Arc<ArcSwap<AppBits>>,
}

impl Targets {
    pub(super) fn new(data: MapData, bits: Arc<ArcSwap<AppBits>>) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(Map::LruHashMap(data))?, bits })
    }

    /// Which of `apps` (their ids) have a name that resolved to the address. With more apps than bits some share one,
    /// so an app may be named too many; an address that was forgotten since belongs to none.
    pub fn of<'a>(&self, address: IpAddr, apps: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let Ok(target) = self.map.get(&Address::from_ip(address), 0) else { return Vec::new() };
        let bits = self.bits.load();
        apps.filter(|app| bits.known(app) & target.apps != 0).collect()
    }
}
