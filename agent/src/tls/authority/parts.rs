//! The issuing certificate in parts: the same authority with the same key, vouching for a few suffixes each. A client is sent the
//! part that covers its name: a few hundred octets, where the whole list of names has some thousand.

use std::collections::{HashMap, HashSet};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::certificate::{self, CertificateFacts, Unreadable};

/// Those of one authority. None where it is older than they are, or small.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    certificates: Vec<(CertificateDer<'static>, CertificateFacts)>,
    /// Place of the one that permits it.
    by_suffix: HashMap<String, usize>,
}

impl Parts {
    /// From `issuing.pem`: the whole certificate stands first.
    pub(super) fn read(pem: &str) -> Result<Self, Unreadable> {
        let mut parts = Self::default();
        for part in CertificateDer::pem_slice_iter(pem.as_bytes()).skip(1) {
            let part = part.map_err(|_| Unreadable)?;
            let (facts, place) = (CertificateFacts::read(&part)?, parts.certificates.len());
            parts.by_suffix.extend(facts.permitted.iter().map(|suffix| (suffix.clone(), place)));
            parts.certificates.push((part, facts));
        }
        Ok(parts)
    }

    /// The one that covers a normalised name.
    pub(super) fn of(&self, name: &str) -> Option<&CertificateDer<'static>> {
        let mut rest = name;
        loop {
            if let Some(place) = self.by_suffix.get(rest) {
                return self.certificates.get(*place).map(|(part, _)| part);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }

    /// Whether all of them are what `root` made of the `whole`: clients would refuse any other.
    pub(super) fn belong_to(&self, whole: &CertificateFacts, root: &CertificateDer<'_>) -> bool {
        let permitted: HashSet<_> = whole.permitted.iter().collect();
        self.by_suffix.keys().all(|suffix| permitted.contains(suffix))
            && self.certificates.iter().all(|(part, facts)| {
                facts.subject == whole.subject
                    && facts.public_key == whole.public_key
                    && facts.not_after >= whole.not_after
                    && certificate::signed_by(part, root).unwrap_or(false)
            })
    }
}
