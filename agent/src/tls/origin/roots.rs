//! The trust anchors that origins are verified against. The host's own CA is never one of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::regular_file;
use crate::tls::authority::{CertificateFacts, Certificates, Unreadable};

/// A file of certificates larger than this is not one.
const MAX_FILE: u64 = 16 << 20;

/// Where anchors come from: `[tls] upstream_roots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsSource {
    /// The system's store, with the roots that an administrator added to it.
    System,
    /// A file of PEM certificates, and nothing else.
    File(PathBuf),
}

/// What was taken from the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootsReport {
    pub anchors: usize,
    /// Own authorities found in the source and left out.
    pub own_excluded: usize,
    /// Expired certificates, left out. One that expires later goes with the next reading.
    pub expired: usize,
    /// Certificates that could not be read, and files that could not be opened; for the log.
    pub faults: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("no trust anchors in {source_name}: no origin could be verified{detail}")]
    Empty { source_name: String, detail: String },
    #[error("trust anchors: {0}")]
    Verifier(String),
}

/// Reads the anchors, without those that share a key with one of `own`.
///
/// The key is compared, not the certificate: a store may hold the CA renewed or cross-signed.
pub(crate) fn load(
    source: &RootsSource,
    own: &[CertificateDer<'_>],
) -> Result<(RootCertStore, RootsReport), RootsError> {
    let mut report = RootsReport::default();
    let certificates = match source {
        RootsSource::System => {
            let found = rustls_native_certs::load_native_certs();
            report.faults.extend(found.errors.iter().map(ToString::to_string));
            found.certs
        }
        RootsSource::File(path) => from_file(path)?,
    };
    let mut store = RootCertStore::empty();
    let now = SystemTime::now();
    for certificate in certificates {
        // webpki takes an anchor for name and key only; browsers also hold it to its end.
        match CertificateFacts::read(&certificate) {
            Ok(facts) if facts.not_after <= now => {
                report.expired += 1;
                continue;
            }
            Ok(_) => {}
            Err(Unreadable) => {
                report.faults.push(Unreadable.to_string());
                continue;
            }
        }
        if let Err(error) = store.add(certificate) {
            report.faults.push(error.to_string());
        }
    }
    let own_keys = keys(own);
    let found = store.len();
    store.roots.retain(|anchor| !own_keys.contains(anchor.subject_public_key_info.as_ref()));
    report.own_excluded = found - store.len();
    report.anchors = store.len();
    if store.is_empty() {
        let source_name = match source {
            RootsSource::System => {
                "the system's store (is the package ca-certificates installed?)".to_owned()
            }
            RootsSource::File(path) => path.display().to_string(),
        };
        let detail = report.faults.first().map(|fault| format!("; {fault}")).unwrap_or_default();
        return Err(RootsError::Empty { source_name, detail });
    }
    Ok((store, report))
}

/// Whether the system's store holds one of the authority's certificates, so that clients of the system trust it.
pub fn system_holds(own: &Certificates) -> Result<bool, RootsError> {
    match load(&RootsSource::System, &own.own()) {
        Ok((_, report)) => Ok(report.own_excluded > 0),
        Err(error) => Err(error),
    }
}

/// The keys of certificates, written as in the anchors made from them. What does not parse here does not become an
/// anchor either.
fn keys(certificates: &[CertificateDer<'_>]) -> HashSet<Vec<u8>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned().map(CertificateDer::into_owned));
    store.roots.iter().map(|anchor| anchor.subject_public_key_info.to_vec()).collect()
}

fn from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let fault = |reason: String| RootsError::File { path: path.into(), reason };
    let text = regular_file::read(path, MAX_FILE).map_err(|why| fault(why.to_string()))?;
    // The administrator named this file, so a damaged entry is an error and not a certificate less.
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| fault(format!("{error:?}")))
}
