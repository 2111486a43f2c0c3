//! Names that an app's redirect led to: for a while the kernel learns their addresses as that app's, and its net stops
//! connections that go past the agent to them.

use std::collections::HashMap;
use std::sync::Arc;

use agent_common::domain::{DomainKey, KEY_SIZE};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Map, MapData, MapError};

use super::learned::Selected;
use super::patterns::trie_key;

/// Entries of the kernel's patterns beside those of the catalog. A new agent that takes the map over drops them.
pub struct LedNames {
    trie: LpmTrie<MapData, [u8; KEY_SIZE], u64>,
    selected: Arc<ArcSwap<Selected>>,
    /// What the catalog's patterns say of each name.
    before: HashMap<Box<str>, u64>,
}

impl LedNames {
    pub(super) fn new(data: MapData, selected: Arc<ArcSwap<Selected>>) -> Result<Self> {
        Ok(Self { trie: LpmTrie::try_from(Map::LpmTrie(data))?, selected, before: HashMap::new() })
    }

    /// Makes `name` one of `app`'s as well. `false` for an app that is not selected.
    pub fn lead(&mut self, name: &str, app: &str) -> Result<bool> {
        let selected = self.selected.load();
        let Some(&(_, bit)) = selected.apps.iter().find(|(id, _)| **id == *app) else { return Ok(false) };
        let key = DomainKey::name(name.as_bytes()).context("not a host name")?;
        let key = trie_key(key.as_bytes());
        let now = match self.trie.get(&key, 0) {
            Ok(bits) => bits,
            Err(MapError::KeyNotFound) => 0,
            Err(error) => return Err(error).context("reading a pattern"),
        };
        if now & bit == 0 {
            self.trie.insert(&key, now | bit, 0).context("writing a pattern")?;
            self.before.entry(name.into()).or_insert(now);
        }
        Ok(true)
    }

    /// Undoes it. `in_catalog`: the catalog names it exactly, so its entry stays.
    pub fn forget(&mut self, name: &str, in_catalog: bool) -> Result<()> {
        let Some(before) = self.before.remove(name) else { return Ok(()) };
        let key = DomainKey::name(name.as_bytes()).context("not a host name")?;
        let key = trie_key(key.as_bytes());
        match if in_catalog { self.trie.insert(&key, before, 0) } else { self.trie.remove(&key) } {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error).context("restoring a pattern"),
        }
    }
}
