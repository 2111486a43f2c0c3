//! The host's own certificate authority: made at first start, opened at the next ones, and the leaves it signs.
//!
//! The root signs one issuing certificate and its key is destroyed at once, so what lies on disk can vouch only for the
//! names it was made for: both certificates carry critical name constraints over the catalog. When the catalog outgrows
//! them, the new names get no leaf until an administrator makes a new authority.

mod certificate;
mod certificates;
mod constraints;
mod files;
mod issue;
mod issuing;
mod leaves;
mod parts;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use certificate::CertificateFacts;
pub use certificates::Certificates;
pub use issue::{AUTHORITY_LIFE, IssueFault, LEAF_LIFE};
pub use issuing::Issuing;
pub use leaves::Leaf;

pub(super) use certificate::{Unreadable, names, not_after};

use super::name::{self, NameFault};
use super::signer::{Client, SignFault};
use crate::catalog::HostPattern;

/// From this long before its end on, an authority says that it wants replacing.
pub(crate) const EXPIRY_NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Octets of all parts at most, as PEM: a service manager hands a service 1 MiB of credentials in all (systemd.exec(5)), which
/// may have to take two authorities. Beyond, clients are sent the whole certificate.
const PARTS_MAX: usize = 192 << 10;

/// How long clients may take to come to trust an authority before it follows another.
pub const OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why there is no authority to work with. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{path} is a symbolic link; the authority is kept in a directory: put one there, or set [paths] state"
    )]
    Elsewhere { path: PathBuf },
    #[error("{path}: other users may write here (mode {mode:04o}); `chmod 700` it and check its files")]
    DirectoryOpen { path: PathBuf, mode: u32 },
    #[error(
        "{path}: other users can read the key (mode {mode:04o}), so it may have been copied; \
         `portcullis ca init --force` makes a new authority, `chmod 600` keeps this one"
    )]
    KeyOpen { path: PathBuf, mode: u32 },
    #[error("{path}: held by another process that is making the authority; try again when it is done")]
    Locked { path: PathBuf },
    #[error(
        "{path}: not a certificate in PEM form; restore it, or `portcullis ca init --force` for a new authority"
    )]
    Unreadable { path: PathBuf },
    #[error("{path}: {fault}; restore it, or `portcullis ca init --force` for a new authority")]
    Inconsistent { path: PathBuf, fault: &'static str },
    #[error(
        "{path}: the authority has expired; `portcullis ca init --force` makes a new one, to be trusted again"
    )]
    Expired { path: PathBuf },
    #[error("{path}: the authority is not valid yet; is this host's clock right?")]
    NotYetValid { path: PathBuf },
    #[error(
        "there is an authority in {path} already; `--force` replaces it, and clients must trust the new one"
    )]
    Exists { path: PathBuf },
    #[error(
        "{path}: another authority is to follow already; `portcullis ca rotate --finish` puts it into force"
    )]
    Rotating { path: PathBuf },
    #[error("{path}: no other authority is to follow; `portcullis ca rotate` makes one")]
    NotRotating { path: PathBuf },
    #[error("the app catalog has no host name, so there is nothing an authority could be made for")]
    NothingPermitted,
    #[error(transparent)]
    Issue(#[from] IssueFault),
}

impl AuthorityError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

/// What happened when the authority was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityEvent {
    /// A new one was made; no client trusts it yet.
    Created,
    Opened {
        /// It ends within [`EXPIRY_NOTICE`].
        expires_soon: bool,
        /// Patterns of the catalog that it may not vouch for.
        outgrown: Vec<String>,
    },
}

/// Why a name gets no leaf. The connection fails closed with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("no certificate for this name: {0}")]
    Name(#[from] NameFault),
    #[error(
        "the authority was made before this name was in the catalog; `portcullis ca rotate` makes one that vouches for it"
    )]
    NotPermitted,
    #[error("the authority has expired; `portcullis ca init --force` makes a new one")]
    Expired,
    #[error(transparent)]
    Issue(#[from] IssueFault),
    /// The process that holds the key gave none.
    #[error("no certificate: {0}")]
    Signer(#[from] SignFault),
}

impl LeafError {
    /// Stable name for records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Name(NameFault::Address) => "address",
            Self::Name(NameFault::Malformed) => "malformed-name",
            Self::NotPermitted => "not-permitted",
            Self::Expired => "authority-expired",
            Self::Issue(_) => "issue-failed",
            Self::Signer(SignFault::Silent { .. }) => "signer-silent",
            Self::Signer(SignFault::Denied(_) | SignFault::Nonsense) => "signer-refused",
        }
    }
}

/// An authority that gives leaves. Shared by all connections.
pub struct Authority {
    certificates: Certificates,
    key: Key,
    leaves: leaves::Leaves,
}

/// Where the issuing key is.
enum Key {
    /// In this process: commands of an administrator, tests, and an agent that was configured so. With that of the
    /// authority that is to follow.
    Here(Vec<Issuing>),
    Signer(Client),
}

impl Authority {
    /// Opens the authority in `dir`, or makes one for the hosts in `permitted`. Several processes may call at once.
    pub fn open_or_create(
        dir: &Path,
        permitted: &[HostPattern],
    ) -> Result<(Self, AuthorityEvent), AuthorityError> {
        let now = SystemTime::now();
        let held = files::Held::take(dir)?;
        if !files::present(dir)? && files::next_present(&files::Names::plain(dir)) {
            // A rotation was interrupted at its end.
            held.promote()?;
        }
        if !files::present(dir)? {
            make(&held, permitted, now)?;
            return Ok((Self::load(dir, now)?, AuthorityEvent::Created));
        }
        let authority = Self::load(dir, now)?;
        let event = AuthorityEvent::Opened {
            expires_soon: authority.expires_soon(),
            outgrown: authority.outgrown(permitted),
        };
        Ok((authority, event))
    }

    /// Opens the authority in `dir`; an error when there is none.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        // Not in the middle of a change; who may not write there may read all the same.
        let _held = files::Held::take(dir).ok();
        Self::load(dir, SystemTime::now())
    }

    /// Whether it ends within [`EXPIRY_NOTICE`].
    pub fn expires_soon(&self) -> bool {
        self.certificates.next.is_none() && self.certificates.not_after() < SystemTime::now() + EXPIRY_NOTICE
    }

    /// Makes an authority where there is none; an error when there is one.
    pub fn create(dir: &Path, permitted: &[HostPattern]) -> Result<Self, AuthorityError> {
        let now = SystemTime::now();
        let held = files::Held::take(dir)?;
        if files::present(dir)? {
            return Err(AuthorityError::Exists { path: dir.into() });
        }
        make(&held, permitted, now)?;
        Self::load(dir, now)
    }

    /// Replaces the authority, whatever state it is in. The old certificates stay in the directory, so that the old
    /// authority goes on being refused upstream.
    pub fn renew(dir: &Path, permitted: &[HostPattern]) -> Result<Self, AuthorityError> {
        let now = SystemTime::now();
        // Before anything is taken away.
        if constraints::minimal_suffixes(permitted).is_empty() {
            return Err(AuthorityError::NothingPermitted);
        }
        let held = files::Held::take(dir)?;
        held.retire()?;
        held.drop_next()?;
        make(&held, permitted, now)?;
        Self::load(dir, now)
    }

    /// Makes an authority that is to follow the standing one: clients come to trust both, and [`OVERLAP`] later, or when
    /// [`Authority::finish_rotation`] says so, leaves are the new one's.
    pub fn rotate(dir: &Path, permitted: &[HostPattern]) -> Result<Certificates, AuthorityError> {
        let held = files::Held::take(dir)?;
        Certificates::read(dir)?;
        if files::next_present(&files::Names::plain(dir)) {
            return Err(AuthorityError::Rotating { path: dir.into() });
        }
        let (root, issuing, key) = new_pair(permitted, SystemTime::now())?;
        held.write_next(&root, &issuing, &key)?;
        Certificates::read(dir)
    }

    /// The authority that was to follow stands from here on. The old one's certificates stay in the directory, its key does
    /// not.
    pub fn finish_rotation(dir: &Path) -> Result<Certificates, AuthorityError> {
        let held = files::Held::take(dir)?;
        if !files::next_present(&files::Names::plain(dir)) {
            return Err(AuthorityError::NotRotating { path: dir.into() });
        }
        held.promote()?;
        Certificates::read(dir)
    }

    /// Reads what is there and checks that it fits together.
    fn load(dir: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let (names, standing) = (files::Names::plain(dir), Certificates::read(dir)?);
        let has_next = standing.next.is_some();
        let certificates = in_force_and_sound(standing, &names, now)?;
        let mut issuing = Vec::new();
        if !has_next || certificates.next.is_some() {
            issuing.push(Issuing::read(&names, now)?);
        }
        if has_next {
            issuing.push(Issuing::read(&names.next(), now)?);
        }
        Ok(Self { certificates, key: Key::Here(issuing), leaves: leaves::Leaves::new()? })
    }

    /// The authority in `dir` without its key, which a signer holds.
    pub fn of_signer(dir: &Path, signer: Client) -> Result<Self, AuthorityError> {
        let now = SystemTime::now();
        let certificates = in_force_and_sound(Certificates::read(dir)?, &files::Names::plain(dir), now)?;
        Ok(Self { certificates, key: Key::Signer(signer), leaves: leaves::Leaves::new()? })
    }

    /// Whether there is an authority in `dir`.
    pub fn present(dir: &Path) -> Result<bool, AuthorityError> {
        files::present(dir)
    }

    /// Asks the signer, if there is one, whether it is there with the key of this authority.
    pub async fn ask_signer(&self) -> Result<(), SignFault> {
        match &self.key {
            Key::Here(_) => Ok(()),
            Key::Signer(signer) => signer.ping(self.certificates.issuing_facts.fingerprint).await,
        }
    }

    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The catalog's patterns that the constraints do not cover, nor those of the authority that is to follow: their
    /// names get no leaf.
    pub fn outgrown(&self, patterns: &[HostPattern]) -> Vec<String> {
        self.certificates.outgrown(patterns)
    }

    /// The leaf for a host name, from the cache or newly signed in this process. Where a signer holds the key, use
    /// [`Authority::obtain`]: this one fails unless the leaf is there already.
    pub fn leaf(&self, name: &str) -> Result<Arc<Leaf>, LeafError> {
        self.leaf_at(name, SystemTime::now())
    }

    /// The leaf for a host name, from the cache or newly signed, wherever the key is.
    pub async fn obtain(&self, name: &str) -> Result<Arc<Leaf>, LeafError> {
        let now = SystemTime::now();
        let Key::Signer(signer) = &self.key else { return self.leaf_at(name, now) };
        let (name, voucher) = self.voucher(name, now)?;
        let issuer = voucher.issuing_facts.fingerprint;
        let key = self.leaves.public_key();
        let sign = || async {
            let signed = signer.sign(issuer, key, &name).await?;
            // A certificate for another key would end in handshakes that fail without a reason.
            match certificate::public_key(&signed.0) {
                Ok(signed_key) if signed_key == key => Ok(signed),
                _ => Err(LeafError::Signer(SignFault::Nonsense)),
            }
        };
        self.leaves.obtain(&name, (voucher.issuing_for(&name), voucher.not_after()), now, sign).await
    }

    fn leaf_at(&self, name: &str, now: SystemTime) -> Result<Arc<Leaf>, LeafError> {
        let (name, voucher) = self.voucher(name, now)?;
        match &self.key {
            Key::Here(issuing) => {
                let issuer = voucher.issuing_facts.fingerprint;
                let issuing = issuing.iter().find(|issuing| *issuing.fingerprint() == issuer);
                let issuing = issuing.ok_or(LeafError::NotPermitted)?;
                let sign = || Ok(issuing.sign(&name, self.leaves.public_key(), now)?);
                self.leaves.get(&name, (voucher.issuing_for(&name), voucher.not_after()), now, sign)
            }
            Key::Signer(signer) => self.leaves.kept_for(&name, now).ok_or_else(|| {
                let why = "a leaf was wanted at once".to_owned();
                LeafError::Signer(SignFault::Silent { path: signer.path().into(), why })
            }),
        }
    }

    /// The name as it is signed, if it may be, and who vouches for it: the authority in force, or for what that does not
    /// cover the one that is to follow, which clients have come to trust as well.
    fn voucher(&self, name: &str, now: SystemTime) -> Result<(String, &Certificates), LeafError> {
        let name = name::normalise(name)?;
        let voucher =
            self.certificates.both().find(|one| constraints::covers(&one.root_facts.permitted, &name));
        let voucher = voucher.ok_or(LeafError::NotPermitted)?;
        if voucher.not_after() <= now { Err(LeafError::Expired) } else { Ok((name, voucher)) }
    }

    /// Leaf certificates signed since the start.
    pub fn minted(&self) -> u64 {
        self.leaves.minted()
    }
}

fn make(held: &files::Held, permitted: &[HostPattern], now: SystemTime) -> Result<(), AuthorityError> {
    let (root, issuing, key) = new_pair(permitted, now)?;
    held.write(&root, &issuing, &key)
}

/// Those of `standing`, which were read by `names`, that are in force now, each checked.
fn in_force_and_sound(
    standing: Certificates,
    names: &files::Names,
    now: SystemTime,
) -> Result<Certificates, AuthorityError> {
    let had_next = standing.next.is_some();
    let certificates = standing.in_force(now);
    match &certificates.next {
        Some(next) => {
            certificates.check(names, now)?;
            next.check(&names.next(), now)?;
        }
        // It has followed.
        None if had_next => certificates.check(&names.next(), now)?,
        None => certificates.check(names, now)?,
    }
    Ok(certificates)
}

/// Root, issuing certificate and its key, as PEM.
fn new_pair(
    permitted: &[HostPattern],
    now: SystemTime,
) -> Result<(String, String, zeroize::Zeroizing<String>), AuthorityError> {
    let suffixes = constraints::minimal_suffixes(permitted);
    if suffixes.is_empty() {
        return Err(AuthorityError::NothingPermitted);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let pair = issue::pair(&suffixes, host.trim(), now)?;
    let key = zeroize::Zeroizing::new(pair.key.serialize_pem());
    // The whole one first: what reads one certificate reads that.
    let mut issuing = pair.issuing.pem();
    let parts: String = pair.parts.iter().map(|part| part.pem()).collect();
    if parts.len() <= PARTS_MAX {
        issuing.push_str(&parts);
    }
    Ok((pair.root.pem(), issuing, key))
}
