//! The catalog's patterns in the kernel: which name belongs to which apps' bits.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_common::abi::{APP_ID, app_bit};
use agent_common::domain::{DomainKey, KEY_SIZE};
use agent_common::limits;
use anyhow::{Context, Result, bail};
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap as KernelMap, LpmTrie, Map, MapData};

use crate::catalog::HostPattern;

/// Which bit stands for which app. An app keeps its bit for as long as the maps live, because learned addresses carry it.
#[derive(Debug, Default)]
pub(super) struct AppBits {
    index: HashMap<Arc<str>, usize>,
}

impl AppBits {
    pub(super) fn bit_of(&mut self, app: &Arc<str>) -> u64 {
        let next = self.index.len();
        app_bit(*self.index.entry(app.clone()).or_insert(next))
    }
}

/// The bits as the kernel keeps them for the next agent.
pub(super) struct KeptBits {
    map: KernelMap<MapData, [u8; APP_ID], u32>,
    kept: usize,
}

impl KeptBits {
    /// What an earlier agent assigned; empty in a new map.
    pub(super) fn open(map: Map) -> Result<(Self, AppBits)> {
        let map = KernelMap::try_from(map)?;
        let mut bits = AppBits::default();
        for entry in map.iter() {
            let (id, index): ([u8; APP_ID], u32) = entry.context("reading the apps' bits")?;
            let used = id.iter().position(|&byte| byte == 0).unwrap_or(APP_ID);
            let id = std::str::from_utf8(id.get(..used).unwrap_or_default()).context("an app's id")?;
            bits.index.insert(id.into(), usize::try_from(index)?);
        }
        Ok((Self { map, kept: bits.index.len() }, bits))
    }

    /// Keeps what was assigned since. To be called before an address can be learned with a new bit.
    pub(super) fn keep(&mut self, bits: &AppBits) -> Result<()> {
        if bits.index.len() == self.kept {
            return Ok(());
        }
        for (app, index) in &bits.index {
            let mut id = [0; APP_ID];
            let Some(to) = id.get_mut(..app.len()) else { bail!("the app id {app} is too long") };
            to.copy_from_slice(app.as_bytes());
            self.map.insert(id, u32::try_from(*index)?, 0).context("keeping the apps' bits")?;
        }
        self.kept = bits.index.len();
        Ok(())
    }
}

/// The trie, and what was written to it.
pub(super) struct Patterns {
    trie: LpmTrie<MapData, [u8; KEY_SIZE], u64>,
    descriptor: OwnedFd,
    pub(super) written: BTreeMap<Vec<u8>, u64>,
}

impl Patterns {
    pub(super) fn new(map: Map) -> Result<Self> {
        let Map::LpmTrie(data) = &map else { bail!("the patterns are not a trie") };
        let descriptor = data.fd().as_fd().try_clone_to_owned().context("duplicating the patterns")?;
        let trie: LpmTrie<_, [u8; KEY_SIZE], u64> = LpmTrie::try_from(map)?;
        // Of an earlier agent whose map this was.
        let mut written = BTreeMap::new();
        for entry in trie.iter() {
            let (key, value) = entry.context("reading the patterns")?;
            let used = usize::try_from(key.prefix_len() / 8)?.min(KEY_SIZE);
            let data: [u8; KEY_SIZE] = key.data();
            written.insert(data.get(..used).unwrap_or_default().to_vec(), value);
        }
        Ok(Self { trie, descriptor, written })
    }

    /// A second descriptor of the trie.
    pub(super) fn data(&self) -> Result<MapData> {
        let descriptor = self.descriptor.try_clone().context("duplicating the patterns")?;
        Ok(MapData::from_fd(descriptor)?)
    }

    /// Writes the difference to what is there: new and changed entries first, so that no name is without its entry.
    pub(super) fn replace(&mut self, patterns: &[(HostPattern, Arc<str>)], bits: &mut AppBits) -> Result<()> {
        let wanted = entries(patterns, bits)?;
        if wanted.len() > limits::PATTERNS as usize {
            bail!("the catalog has {} patterns, the kernel takes {}", wanted.len(), limits::PATTERNS);
        }
        for (key, value) in &wanted {
            if self.written.get(key) != Some(value) {
                self.trie.insert(&trie_key(key), value, 0).context("writing a pattern")?;
            }
        }
        for key in self.written.keys().filter(|key| !wanted.contains_key(*key)) {
            self.trie.remove(&trie_key(key)).context("removing a pattern")?;
        }
        self.written = wanted;
        Ok(())
    }
}

pub(super) fn trie_key(pattern: &[u8]) -> Key<[u8; KEY_SIZE]> {
    let mut bytes = [0; KEY_SIZE];
    bytes[..pattern.len()].copy_from_slice(pattern);
    Key::new(pattern.len() as u32 * 8, bytes)
}

/// Keys with the bits of every app whose pattern covers them: the trie answers only with the longest match, so a longer
/// pattern carries what the shorter ones say.
fn entries(patterns: &[(HostPattern, Arc<str>)], bits: &mut AppBits) -> Result<BTreeMap<Vec<u8>, u64>> {
    let mut own: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for (pattern, app) in patterns {
        let key = match pattern {
            HostPattern::Exact(name) => DomainKey::name(name.as_bytes()),
            HostPattern::Below(suffix) => DomainKey::below(suffix.as_bytes()),
        };
        let Some(key) = key else { bail!("{pattern:?} is not a host name") };
        *own.entry(key.as_bytes().to_vec()).or_default() |= bits.bit_of(app);
    }
    let with_covering = own.keys().map(|key| {
        let covering = (1..=key.len()).filter(|&n| key[n - 1] == b'.' || n == key.len());
        let all = covering.filter_map(|n| own.get(&key[..n])).fold(0, |all, bits| all | bits);
        (key.clone(), all)
    });
    Ok(with_covering.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_pattern_carries_the_bits_of_the_shorter_ones_that_cover_it() {
        let mut bits = AppBits::default();
        let (suite, files): (Arc<str>, Arc<str>) = ("suite".into(), "files".into());
        let patterns = [
            (HostPattern::Below("corp.test".into()), suite.clone()),
            (HostPattern::Exact("files.corp.test".into()), files.clone()),
            (HostPattern::Below("other.test".into()), files.clone()),
        ];
        let entries = entries(&patterns, &mut bits).unwrap();
        let of = |key: Option<DomainKey>| entries[key.unwrap().as_bytes()];
        assert_eq!(of(DomainKey::below(b"corp.test")), 1);
        assert_eq!(of(DomainKey::name(b"files.corp.test")), 1 | 2);
        assert_eq!(of(DomainKey::below(b"other.test")), 2);
    }

    #[test]
    fn an_app_keeps_its_bit() {
        let mut bits = AppBits::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!((bits.bit_of(&a), bits.bit_of(&b), bits.bit_of(&a)), (1, 2, 1));
    }
}
