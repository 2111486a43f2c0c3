//! The issuing certificate in parts: the same authority with the same key, vouching for a few suffixes each. A client is sent the
//! part that covers its name: a few hundred octets, where the whole list of names has some thousand.

use std::collections::{HashMap, HashSet};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::certificate::{self, CertificateFacts, Unreadable};

/// Those of one authority. None where it is older than they are, or small.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    certificates: Vec<CertificateDer<'static>>,
    /// Place of the one that permits it.
    by_suffix: HashMap<String, usize>,
}

impl Parts {
    /// From `issuing.pem`: the whole certificate stands first.
    pub(super) fn read(pem: &str) -> Result<Self, Unreadable> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .skip(1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Unreadable)?;
        let mut by_suffix = HashMap::new();
        for (place, part) in certificates.iter().enumerate() {
            by_suffix
                .extend(CertificateFacts::read(part)?.permitted.into_iter().map(|suffix| (suffix, place)));
        }
        Ok(Self { certificates, by_suffix })
    }

    /// The one that covers a normalised name.
    pub(super) fn of(&self, name: &str) -> Option<&CertificateDer<'static>> {
        let mut rest = name;
        loop {
            if let Some(place) = self.by_suffix.get(rest) {
                return self.certificates.get(*place);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }

    /// Whether all of them are what `root` made of `whole`: clients would refuse any other.
    pub(super) fn belong_to(
        &self,
        (whole, facts): (&CertificateDer<'_>, &CertificateFacts),
        root: &CertificateDer<'_>,
    ) -> bool {
        let Ok((subject, _)) = certificate::names(whole) else { return false };
        let permitted: HashSet<_> = facts.permitted.iter().collect();
        self.by_suffix.keys().all(|suffix| permitted.contains(suffix))
            && self.certificates.iter().all(|part| {
                certificate::names(part).is_ok_and(|(named, _)| named == subject)
                    && certificate::public_key(part).is_ok_and(|key| key == facts.public_key)
                    && certificate::not_after(part).is_ok_and(|end| end >= facts.not_after)
                    && certificate::signed_by(part, root).unwrap_or(false)
            })
    }
}
