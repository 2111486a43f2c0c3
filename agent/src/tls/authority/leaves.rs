//! Leaf certificates of this process: one key, made at start and never written; a bounded cache by name. Who signs is
//! the caller's affair.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::issue::IssueFault;
use crate::tls::provider;

/// Leaves kept. At about 2 KiB each, 8 MiB.
pub(crate) const LEAVES: usize = 4096;
/// A leaf with less than this left is made anew: a connection that begins now may last a while.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_secs(3600);
/// Longest wait for another thread that is making the same leaf in this process. Making one takes some 50 µs.
const SHARED_WAIT: Duration = Duration::from_millis(100);

/// A leaf ready to be shown: the chain (leaf, issuing) and the key.
#[derive(Debug)]
pub struct Leaf {
    pub certified: Arc<CertifiedKey>,
    pub not_after: SystemTime,
    pub(super) renew_at: SystemTime,
}

impl Leaf {
    /// Whether a connection may begin with it.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.renew_at
    }
}

/// A certificate that was just signed, and when it ends.
pub(crate) type Signed = (CertificateDer<'static>, SystemTime);

pub(crate) struct Leaves {
    /// DER of the SubjectPublicKeyInfo that all leaves have.
    public_key: Vec<u8>,
    signing: Arc<dyn SigningKey>,
    cache: Cache<String, Arc<Leaf>>,
    minted: AtomicU64,
}

impl Leaves {
    pub(crate) fn new() -> Result<Self, IssueFault> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = provider::provider().key_provider.load_private_key(pkcs8)?;
        let public_key = key.subject_public_key_info();
        Ok(Self { public_key, signing, cache: Cache::new(LEAVES), minted: AtomicU64::new(0) })
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

    /// The key that leaves are for.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// A leaf that is there already, for a normalised name.
    pub(crate) fn kept_for(&self, name: &str, now: SystemTime) -> Option<Arc<Leaf>> {
        self.cache.get(name).filter(|leaf| leaf.is_fresh(now))
    }

    /// The leaf for a normalised, permitted name, signed by `sign` where there is none. Of several first arrivals one
    /// makes it, the others wait for it.
    pub(crate) fn get<E>(
        &self,
        name: &str,
        chain: (&CertificateDer<'static>, SystemTime),
        now: SystemTime,
        sign: impl Fn() -> Result<Signed, E>,
    ) -> Result<Arc<Leaf>, E> {
        // The common case takes a shared lock only; `entry` always takes the exclusive one.
        if let Some(leaf) = self.kept_for(name, now) {
            return Ok(leaf);
        }
        let entry = self.cache.entry(name, Some(SHARED_WAIT), |_, leaf| look(leaf, now));
        match entry {
            EntryResult::Retained(leaf) => Ok(leaf),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                let leaf = self.leaf(sign()?, chain);
                // Fails only when the entry was taken out meanwhile; the leaf is good all the same.
                let _ = guard.insert(leaf.clone());
                Ok(leaf)
            }
            EntryResult::Removed(..) | EntryResult::Timeout => Ok(self.leaf(sign()?, chain)),
        }
    }

    /// The same where signing is waited for. When it fails, or whoever waited for it went away, the next one tries.
    pub(crate) async fn obtain<E, F: Future<Output = Result<Signed, E>>>(
        &self,
        name: &str,
        chain: (&CertificateDer<'static>, SystemTime),
        now: SystemTime,
        sign: impl Fn() -> F,
    ) -> Result<Arc<Leaf>, E> {
        if let Some(leaf) = self.kept_for(name, now) {
            return Ok(leaf);
        }
        match self.cache.entry_async(name, |_, leaf| look(leaf, now)).await {
            EntryResult::Retained(leaf) => Ok(leaf),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                let leaf = self.leaf(sign().await?, chain);
                let _ = guard.insert(leaf.clone());
                Ok(leaf)
            }
            EntryResult::Removed(..) | EntryResult::Timeout => Ok(self.leaf(sign().await?, chain)),
        }
    }

    /// `chain`: the issuing certificate, and the end of the authority.
    fn leaf(&self, signed: Signed, (issuing, until): (&CertificateDer<'static>, SystemTime)) -> Arc<Leaf> {
        let (certificate, not_after) = signed;
        self.minted.fetch_add(1, Ordering::Relaxed);
        let certified = CertifiedKey::new(vec![certificate, issuing.clone()], self.signing.clone());
        // A leaf that the authority's own end cut short would not get longer by being made again.
        let renew_at = if not_after >= until { not_after } else { not_after - RENEW_BEFORE };
        Arc::new(Leaf { certified: Arc::new(certified), not_after, renew_at })
    }
}

fn look(leaf: &Arc<Leaf>, now: SystemTime) -> EntryAction<Arc<Leaf>> {
    if leaf.is_fresh(now) { EntryAction::Retain(leaf.clone()) } else { EntryAction::ReplaceWithGuard }
}
