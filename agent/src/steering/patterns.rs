//! The catalog's patterns in the kernel: which name belongs to which apps' bits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use agent_common::abi::app_bit;
use agent_common::domain::{DomainKey, KEY_SIZE};
use agent_common::limits;
use anyhow::{Context, Result, bail};
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, Map, MapData};

use crate::catalog::HostPattern;

/// Which bit stands for which app. An app keeps its bit while the agent runs, because learned addresses carry it.
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

/// The trie, and what was written to it.
pub(super) struct Patterns {
    trie: LpmTrie<MapData, [u8; KEY_SIZE], u64>,
    pub(super) written: BTreeMap<Vec<u8>, u64>,
}

impl Patterns {
    pub(super) fn new(map: Map) -> Result<Self> {
        Ok(Self { trie: LpmTrie::try_from(map)?, written: BTreeMap::new() })
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

fn trie_key(pattern: &[u8]) -> Key<[u8; KEY_SIZE]> {
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
