//! Chains that were good a short while ago: new connections to the same origin show the same ones, whatever name of it they
//! are for, and to verify one takes a signature for each of its certificates. Browsers keep such verdicts, too. Whether the
//! certificate is for the name, and the origin's own signature, is always checked.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use quick_cache::sync::Cache;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::tls::authority::not_after;
use crate::tls::sessions::LIFE;

/// Chains kept: 48 octets each, and what the cache adds.
const CHAINS: usize = 4096;

/// SHA-256 over the certificates shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shown([u8; 32]);

impl Shown {
    pub(super) fn new(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        // With the lengths in front no two lists read alike.
        for certificate in std::iter::once(end_entity).chain(others).map(|certificate| certificate.as_ref()) {
            context.update(&certificate.len().to_be_bytes());
            context.update(certificate);
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(digest)
    }
}

/// Which chains were good, and for how long they count as that.
#[derive(Debug)]
pub(super) struct Verified {
    kept: Cache<Shown, Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: UnixTime,
    until: UnixTime,
}

impl Verified {
    pub(super) fn new() -> Self {
        Self { kept: Cache::new(CHAINS) }
    }

    /// Whether it was good at most [`LIFE`] before `now`, and none of its certificates has ended since.
    pub(super) fn knows(&self, shown: &Shown, now: UnixTime) -> bool {
        // A clock that was set back says nothing about how long ago that was.
        self.kept.get(shown).is_some_and(|span| (span.from..span.until).contains(&now))
    }

    /// It was found good at `now`. What cannot be read here is verified again the next time.
    pub(super) fn note(
        &self,
        shown: Shown,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) {
        let ends = std::iter::once(end_entity).chain(others).map(|certificate| not_after(certificate));
        let Ok(end) = ends.reduce(|first, second| Ok(first?.min(second?))).transpose() else { return };
        let end = end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let until = end.min(Duration::from_secs(now.as_secs()).saturating_add(LIFE));
        self.kept.insert(shown, Span { from: now, until: UnixTime::since_unix_epoch(until) });
    }

    pub(super) fn forget(&self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// Ends on 1 January 2030.
    fn certificate(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn a_verdict_lasts_as_long_as_sessions_and_certificates_do() {
        const END: u64 = 1_893_456_000;
        let (leaf, middle) = (certificate("a.test"), certificate("b.test"));
        let others = std::slice::from_ref(&middle);
        let shown = Shown::new(&leaf, others);
        for (then, until) in [(END - 5000, END - 5000 + LIFE.as_secs()), (END - 10, END)] {
            let verified = Verified::new();
            assert!(!verified.knows(&shown, at(then)));
            verified.note(shown, &leaf, others, at(then));
            for (now, known) in [(then - 1, false), (then, true), (until - 1, true), (until, false)] {
                assert_eq!(verified.knows(&shown, at(now)), known, "{now} after {then}");
            }
            verified.forget();
            assert!(!verified.knows(&shown, at(then)));
        }
    }

    #[test]
    fn another_chain_is_another_verdict() {
        let (leaf, middle) = (certificate("a.test"), certificate("b.test"));
        let others = std::slice::from_ref(&middle);
        let shown = Shown::new(&leaf, others);
        assert_eq!(shown, Shown::new(&leaf, others));
        for other in [
            Shown::new(&leaf, &[]),
            Shown::new(&middle, std::slice::from_ref(&leaf)),
            Shown::new(&leaf, &[middle.clone(), middle.clone()]),
        ] {
            assert_ne!(shown, other);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_kept() {
        let verified = Verified::new();
        let broken = CertificateDer::from(vec![0; 40]);
        let shown = Shown::new(&broken, &[]);
        verified.note(shown, &broken, &[], at(1_800_000_000));
        assert!(!verified.knows(&shown, at(1_800_000_000)));
    }
}
