//! The public half of an authority: what is read of its certificates, and whether it fits together.

use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::certificate::{self, CertificateFacts, Unreadable};
use super::parts::Parts;
use super::{AuthorityError, OVERLAP, constraints, files, issue};
use crate::catalog::HostPattern;

/// The public half of an authority: readable without its key.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub root: CertificateDer<'static>,
    /// The root as it stands in `ca.pem`.
    pub root_pem: String,
    pub root_facts: CertificateFacts,
    pub issuing: CertificateDer<'static>,
    pub issuing_facts: CertificateFacts,
    pub(super) parts: Parts,
    /// Certificates of the authorities that stood here before.
    pub retired: Vec<CertificateDer<'static>>,
    /// The authority that is to follow; it has none itself.
    pub next: Option<Box<Certificates>>,
}

impl Certificates {
    /// Reads the certificates in `dir`, without checks beyond their form.
    pub fn read(dir: &Path) -> Result<Self, AuthorityError> {
        let names = files::Names::plain(dir);
        let next = files::next_present(&names).then(|| Self::read_pair(&names.next())).transpose()?;
        let standing = Self::read_pair(&names)?;
        Ok(Self { retired: files::retired(dir), next: next.map(Box::new), ..standing })
    }

    /// Without those of earlier authorities.
    pub(super) fn read_pair(names: &files::Names) -> Result<Self, AuthorityError> {
        let unreadable = |name: &str| AuthorityError::Unreadable { path: names.at(name) };
        let facts = |name: &str, der: &CertificateDer<'_>| {
            CertificateFacts::read(der).map_err(|Unreadable| unreadable(name))
        };
        let (root, root_pem) = files::certificate(&names.at(files::ROOT))?;
        let (issuing, issuing_pem) = files::certificate(&names.at(files::ISSUING))?;
        Ok(Self {
            root_pem,
            root_facts: facts(files::ROOT, &root)?,
            issuing_facts: facts(files::ISSUING, &issuing)?,
            parts: Parts::read(&issuing_pem).map_err(|Unreadable| unreadable(files::ISSUING))?,
            root,
            issuing,
            retired: Vec::new(),
            next: None,
        })
    }

    /// When the authority in `dir` that is to follow does, if there is one: read from its root alone.
    pub fn next_follows_at(dir: &Path) -> Option<SystemTime> {
        let (root, _) = files::certificate(&files::Names::plain(dir).next().at(files::ROOT)).ok()?;
        Some(follows_at(&CertificateFacts::read(&root).ok()?))
    }

    /// What is sent along with the leaf for a normalised name.
    pub(super) fn issuing_for(&self, name: &str) -> &CertificateDer<'static> {
        self.parts.of(name).unwrap_or(&self.issuing)
    }

    /// The earlier end of the two.
    pub fn not_after(&self) -> SystemTime {
        self.root_facts.not_after.min(self.issuing_facts.not_after)
    }

    /// The catalog's patterns that the constraints do not cover, nor those of the authority that is to follow.
    pub fn outgrown(&self, patterns: &[HostPattern]) -> Vec<String> {
        let permitted: Vec<String> = self.both().flat_map(|one| &one.root_facts.permitted).cloned().collect();
        constraints::outgrown(&permitted, patterns)
    }

    /// These, and those that are to follow.
    pub(super) fn both(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.next.as_deref())
    }

    /// Every certificate that must never be an anchor upstream: present, to come and retired.
    pub fn own(&self) -> Vec<CertificateDer<'static>> {
        let next = self.next.iter().flat_map(|next| [&next.root, &next.issuing]);
        [&self.root, &self.issuing].into_iter().chain(next).chain(&self.retired).cloned().collect()
    }

    /// When this authority follows the one that stands before it.
    pub fn follows_at(&self) -> SystemTime {
        follows_at(&self.root_facts)
    }

    /// The roots that clients have to trust, as PEM, each with what tells its name from the others'.
    pub fn roots(&self) -> Vec<(&'static str, &str)> {
        let next = self.next.iter().map(|next| ("-next", next.root_pem.as_str()));
        std::iter::once(("", self.root_pem.as_str())).chain(next).collect()
    }

    /// These, or those that followed them by now.
    pub(super) fn in_force(mut self, now: SystemTime) -> Self {
        match self.next.take() {
            Some(next) if next.follows_at() <= now => {
                let before = [self.root, self.issuing];
                Self { retired: before.into_iter().chain(self.retired).collect(), ..*next }
            }
            next => Self { next, ..self },
        }
    }

    /// Whether they fit together and hold now; `names` are those of the files they were read from.
    pub(super) fn check(&self, names: &files::Names, now: SystemTime) -> Result<(), AuthorityError> {
        let inconsistent =
            |name: &str, fault| Err(AuthorityError::Inconsistent { path: names.at(name), fault });
        if !self.root_facts.authority || !self.issuing_facts.authority {
            return inconsistent(files::ROOT, "not an authority's certificate");
        }
        if !certificate::signed_by(&self.issuing, &self.root).unwrap_or(false) {
            return inconsistent(files::ISSUING, "not signed by the root beside it");
        }
        if self.root_facts.permitted.is_empty() || self.root_facts.permitted != self.issuing_facts.permitted {
            return inconsistent(files::ISSUING, "without the name constraints that bound it");
        }
        if !self.parts.belong_to(&self.issuing_facts, &self.root) {
            return inconsistent(files::ISSUING, "not all of its parts are of one authority");
        }
        let path = || names.directory().into();
        if self.not_after() <= now {
            return Err(AuthorityError::Expired { path: path() });
        }
        if self.root_facts.not_before.max(self.issuing_facts.not_before) > now {
            return Err(AuthorityError::NotYetValid { path: path() });
        }
        Ok(())
    }
}

/// When the authority with this root follows the one that stands before it.
fn follows_at(root: &CertificateFacts) -> SystemTime {
    root.not_before + issue::SKEW + OVERLAP
}
