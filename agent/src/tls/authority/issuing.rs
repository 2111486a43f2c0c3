//! The issuing key with its certificates: what signs leaves, in the signer or, where so configured, in the agent.

use std::path::Path;
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair, PublicKeyData as _};
use rustls_pki_types::CertificateDer;

use super::issue::{self, IssueFault};
use super::leaves::Signed;
use super::{AuthorityError, Certificates, constraints, files};

/// What the service manager puts in front of the names of an authority's files: `LoadCredential=ca:DIRECTORY`
/// (systemd.exec(5)).
const CREDENTIAL: &str = "ca_";

/// An authority that can sign, whole and consistent.
pub struct Issuing {
    certificates: Certificates,
    issuer: Issuer<'static, KeyPair>,
}

impl Issuing {
    /// The authority in a directory.
    pub fn load(dir: &Path) -> Result<Vec<Self>, AuthorityError> {
        Self::all(&files::Names::plain(dir))
    }

    /// The authority among the credentials of a service, which nobody else can read.
    pub fn load_credentials(dir: &Path) -> Result<Vec<Self>, AuthorityError> {
        Self::all(&files::Names::guarded(dir, CREDENTIAL))
    }

    fn all(names: &files::Names) -> Result<Vec<Self>, AuthorityError> {
        let now = SystemTime::now();
        let standing = Self::read(names, now);
        if !files::next_present(names) {
            return Ok(vec![standing?]);
        }
        // One of the two is enough: the standing one may have ended in the meantime.
        let next = Self::read(&names.next(), now)?;
        Ok(standing.into_iter().chain([next]).collect())
    }

    /// Reads what is there and checks that it fits together.
    pub(super) fn read(names: &files::Names, now: SystemTime) -> Result<Self, AuthorityError> {
        let certificates = Certificates::read_pair(names)?;
        certificates.check(names, now)?;
        let path = names.at(files::KEY);
        let inconsistent = |fault| AuthorityError::Inconsistent { path: path.clone(), fault };
        let text = files::key(&path, names.are_guarded())?;
        let key = KeyPair::from_pem(&text).map_err(|_| inconsistent("not a private key"))?;
        if key.subject_public_key_info() != certificates.issuing_facts.public_key {
            return Err(inconsistent("not the key of the issuing certificate beside it"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificates.issuing, key).map_err(IssueFault::from)?;
        Ok(Self { certificates, issuer })
    }

    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// SHA-256 of the issuing certificate.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.certificates.issuing_facts.fingerprint
    }

    /// Whether the constraints cover a normalised name.
    pub fn permits(&self, name: &str) -> bool {
        constraints::covers(&self.certificates.root_facts.permitted, name)
    }

    pub fn not_after(&self) -> SystemTime {
        self.certificates.not_after()
    }

    /// The leaf for a normalised name and a key (DER of SubjectPublicKeyInfo), and when it ends. Checks neither name nor
    /// time.
    pub fn sign(
        &self,
        name: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, SystemTime), IssueFault> {
        let signed: Signed = issue::leaf(name, key, &self.issuer, self.not_after(), now)?;
        Ok(signed)
    }
}
