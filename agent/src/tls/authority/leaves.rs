//! Leaf certificates of this process: one key, made at start and never written; a bounded cache by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::issue::{self, IssueFault};
use crate::tls::provider;

/// Leaves kept. At about 2 KiB each, 8 MiB.
pub(crate) const LEAVES: usize = 4096;
/// A leaf with less than this left is made anew: a connection that begins now may last a while.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_secs(3600);
/// Longest wait for another thread that is making the same leaf. Making one takes some 50 µs.
const SHARED_WAIT: Duration = Duration::from_millis(100);

/// A leaf ready to be shown: the chain (leaf, issuing) and the key.
#[derive(Debug)]
pub struct Leaf {
    pub certified: Arc<CertifiedKey>,
    pub not_after: SystemTime,
    renew_at: SystemTime,
}

impl Leaf {
    /// Whether a connection may begin with it.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.renew_at
    }
}

pub(crate) struct Leaves {
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    cache: Cache<String, Arc<Leaf>>,
    minted: AtomicU64,
}

impl Leaves {
    pub(crate) fn new() -> Result<Self, IssueFault> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = provider::provider().key_provider.load_private_key(pkcs8)?;
        Ok(Self { key, signing, cache: Cache::new(LEAVES), minted: AtomicU64::new(0) })
    }

    /// Leaves in the cache.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.cache.len()
    }

    /// Certificates made since the start.
    pub(crate) fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    /// The leaf for a normalised, permitted name. Of several first arrivals one makes it, the others wait for it.
    pub(crate) fn get(
        &self,
        name: &str,
        issuer: &Issuer<'_, KeyPair>,
        issuing: &CertificateDer<'static>,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<Arc<Leaf>, IssueFault> {
        // The common case takes a shared lock only; `entry` always takes the exclusive one.
        if let Some(leaf) = self.cache.get(name).filter(|leaf| leaf.is_fresh(now)) {
            return Ok(leaf);
        }
        let make = || self.mint(name, issuer, issuing, until, now);
        let entry = self.cache.entry(name, Some(SHARED_WAIT), |_, leaf| {
            if leaf.is_fresh(now) { EntryAction::Retain(leaf.clone()) } else { EntryAction::ReplaceWithGuard }
        });
        match entry {
            EntryResult::Retained(leaf) => Ok(leaf),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                let leaf = make()?;
                // Fails only when the entry was taken out meanwhile; the leaf is good all the same.
                let _ = guard.insert(leaf.clone());
                Ok(leaf)
            }
            EntryResult::Removed(..) | EntryResult::Timeout => make(),
        }
    }

    fn mint(
        &self,
        name: &str,
        issuer: &Issuer<'_, KeyPair>,
        issuing: &CertificateDer<'static>,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<Arc<Leaf>, IssueFault> {
        let (certificate, not_after) = issue::leaf(name, &self.key, issuer, until, now)?;
        self.minted.fetch_add(1, Ordering::Relaxed);
        let certified = CertifiedKey::new(vec![certificate, issuing.clone()], self.signing.clone());
        // A leaf that the authority's own end cut short would not get longer by being made again.
        let renew_at = if not_after == until { not_after } else { not_after - RENEW_BEFORE };
        Ok(Arc::new(Leaf { certified: Arc::new(certified), not_after, renew_at }))
    }
}
