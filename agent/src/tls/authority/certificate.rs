//! What the agent needs to read in a certificate: validity, subject, key, constraints. It judges nothing.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The bytes are not one X.509 certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct Unreadable;

/// Facts about one certificate, in the terms that `ca show` and the checks at start use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject in RFC 4514 order of the parser, for people.
    pub subject: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// SHA-256 over the DER.
    pub fingerprint: [u8; 32],
    /// DER of SubjectPublicKeyInfo: the identity of a key across certificates.
    pub public_key: Vec<u8>,
    /// Permitted dNSName subtrees (RFC 5280 section 4.2.1.10), as written.
    pub permitted: Vec<String>,
    pub authority: bool,
}

impl CertificateFacts {
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, Unreadable> {
        let certificate = parse(der)?;
        let permitted = match certificate.name_constraints() {
            Ok(Some(constraints)) => constraints.value.permitted_subtrees.as_deref().unwrap_or_default(),
            Ok(None) => &[],
            Err(_) => return Err(Unreadable),
        };
        Ok(Self {
            subject: certificate.subject().to_string(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            fingerprint: fingerprint(der),
            public_key: certificate.public_key().raw.to_vec(),
            permitted: permitted
                .iter()
                .filter_map(|subtree| match subtree.base {
                    GeneralName::DNSName(name) => Some(name.to_owned()),
                    _ => None,
                })
                .collect(),
            authority: certificate.is_ca(),
        })
    }

    /// The fingerprint as browsers and openssl print it: upper case, colons.
    pub fn fingerprint_text(&self) -> String {
        let mut text = String::with_capacity(95);
        for (at, octet) in self.fingerprint.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            let _ = write!(text, "{colon}{octet:02X}");
        }
        text
    }
}

/// SHA-256 of a certificate's DER.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()) {
        *to = *from;
    }
    out
}

/// Whether `issuer`'s key signed `subject`.
pub(crate) fn signed_by(
    subject: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
) -> Result<bool, Unreadable> {
    Ok(parse(subject)?.verify_signature(Some(parse(issuer)?.public_key())).is_ok())
}

/// Subject and issuer of a certificate as DER names, to compare.
pub(crate) fn names<'a>(der: &'a CertificateDer<'_>) -> Result<(&'a [u8], &'a [u8]), Unreadable> {
    let certificate = parse(der)?;
    Ok((certificate.tbs_certificate.subject.as_raw(), certificate.tbs_certificate.issuer.as_raw()))
}

/// DER of a certificate's SubjectPublicKeyInfo.
pub(crate) fn public_key<'a>(der: &'a CertificateDer<'_>) -> Result<&'a [u8], Unreadable> {
    Ok(parse(der)?.tbs_certificate.subject_pki.raw)
}

/// When a certificate ends.
pub(crate) fn not_after(der: &CertificateDer<'_>) -> Result<SystemTime, Unreadable> {
    Ok(time(parse(der)?.validity().not_after.timestamp()))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unreadable),
    }
}

fn time(unix: i64) -> SystemTime {
    // Certificates before 1970 exist only in test suites; they are long expired either way.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or(0))
}
