//! Per worker: tells the kernel where nobody monitored was found, so that it need not be looked at each time.

use std::net::IpAddr;

use agent_common::abi::{Address, Flow};
use agent_common::first_words::{self, Words};
use agent_common::limits::PEEKED_S;
use agent_common::name::NameBuffer;
use anyhow::Result;
use aya::maps::{HashMap, Map, MapData};

/// Addresses that go direct for a while. The kernel asks this map only about addresses of which it learned nothing, so
/// nothing written here takes an app's address from it; and it goes on reading the first words of those connections.
pub struct Peeked {
    map: HashMap<MapData, Address, u64>,
}

impl Peeked {
    pub(super) fn new(data: MapData) -> Result<Self> {
        Ok(Self { map: HashMap::try_from(Map::LruHashMap(data))? })
    }

    /// Notes that `flow` was peeked at, began with `words`, and is for nobody monitored. Words that the kernel could not
    /// have read explain nothing: it would stop the next connection that begins like this one.
    pub fn note(&mut self, flow: &Flow, words: &[u8]) {
        if !flow.is_unexplained() || !is_readable_in_kernel(words) {
            return;
        }
        let until = flow.time_ns.saturating_add(PEEKED_S * 1_000_000_000);
        if let Err(error) = self.map.insert(flow.original, until, 0) {
            let address: IpAddr = flow.original.to_ip();
            tracing::debug!(%address, "not remembered as peeked: {error}");
        }
    }
}

fn is_readable_in_kernel(words: &[u8]) -> bool {
    match first_words::read(words, &mut NameBuffer::new()) {
        Words::Name | Words::Nameless | Words::Other => true,
        Words::More | Words::Unreadable => false,
    }
}
