//! Makes certificates: the root and issuing pair once, leaves many times. No files, no caches.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroize;

/// Life of an authority. It cannot be extended, since the root's key is gone; two years is the longest accepted.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(700 * DAY);
/// Life of a leaf: below the 24 hours beyond which a proxy must publish revocation (NIAP STIP FDP_CER_EXT).
pub const LEAF_LIFE: Duration = Duration::from_secs(12 * HOUR);
/// How far clocks may differ: certificates are valid from this long before they were made.
pub(crate) const SKEW: Duration = Duration::from_secs(HOUR);

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Octets of a serial number, below the 20 of RFC 5280 section 4.1.2.2. 126 bits of them are random.
const SERIAL: usize = 16;
/// A common name holds at most 64 characters (RFC 5280 appendix A.1, ub-common-name).
const HOST_IN_NAME: usize = 24;

/// A certificate could not be made: the random source or the signature failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct IssueFault(String);

impl From<rcgen::Error> for IssueFault {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustls::Error> for IssueFault {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

/// Suffixes of one part of the issuing certificate, and such parts at most: of a longer list each has more.
const PART: usize = 4;
const PARTS: usize = 64;

/// A new authority. The root's key does not exist any more.
pub(crate) struct Pair {
    pub root: Certificate,
    pub issuing: Certificate,
    /// The same with some of the suffixes each; none where there are few.
    pub parts: Vec<Certificate>,
    pub key: KeyPair,
}

/// Makes a root that vouches for `permitted` and below, lets it sign the issuing certificate and its parts, and destroys its key.
pub(crate) fn pair(permitted: &[String], host: &str, now: SystemTime) -> Result<Pair, IssueFault> {
    let serial = serial()?;
    let id: String = serial.iter().take(4).map(|octet| format!("{octet:02x}")).collect();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(HOST_IN_NAME).collect();
    let label =
        |role: &str| if host.is_empty() { format!("{role} {id}") } else { format!("{role} {host} {id}") };

    let mut root = authority(permitted, &label("Portcullis root"), serial, now);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let mut root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let root_certificate = root.self_signed(&root_key)?;

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let name = label("Portcullis issuing");
    let issuing = |permitted: &[String]| -> Result<Certificate, IssueFault> {
        let mut issuing = authority(permitted, &name, self::serial()?, now);
        issuing.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // On the issuing certificate verifiers hold leaves to it; on a root some take it for a broken anchor.
        issuing.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        issuing.use_authority_key_identifier_extension = true;
        Ok(issuing.signed_by(&key, &Issuer::from_params(&root, &root_key))?)
    };
    let size = PART.max(permitted.len().div_ceil(PARTS));
    let whole = issuing(permitted);
    let parts: Result<_, _> =
        permitted.chunks(size).filter(|part| part.len() < permitted.len()).map(issuing).collect();
    root_key.zeroize();

    Ok(Pair { root: root_certificate, issuing: whole?, parts: parts?, key })
}

/// Makes the leaf for exactly `name`, valid from an hour ago for [`LEAF_LIFE`], but never beyond `until`.
///
/// The subject is empty, so the name stands in one place only, a critical subjectAltName (RFC 5280 4.1.2.6).
/// `key` is the DER of a SubjectPublicKeyInfo. Gives the certificate and the moment it ends.
pub(crate) fn leaf(
    name: &str,
    key: &[u8],
    issuer: &Issuer<'_, KeyPair>,
    until: SystemTime,
    now: SystemTime,
) -> Result<(CertificateDer<'static>, SystemTime), IssueFault> {
    let key = SubjectPublicKeyInfo::from_der(key)?;
    let not_after = (now + LEAF_LIFE).min(until);
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    leaf.serial_number = Some(SerialNumber::from_slice(&serial()?));
    validity(&mut leaf, now - SKEW, not_after);
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    Ok((leaf.signed_by(&key, issuer)?.into(), not_after))
}

/// What root and issuing have in common.
fn authority(permitted: &[String], name: &str, serial: [u8; SERIAL], now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Portcullis");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    validity(&mut params, now - SKEW, now + AUTHORITY_LIFE);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        // Permitting names says nothing about addresses: a form that is not mentioned is not constrained.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params
}

fn serial() -> Result<[u8; SERIAL], IssueFault> {
    let mut serial = [0; SERIAL];
    rand::fill(&mut serial).map_err(|_| IssueFault("no random bytes".to_owned()))?;
    // Positive, and of full length whatever the dice say.
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// Sets both ends of a validity. rcgen's dates are of a crate that is no dependency of ours; they can be reached from a
/// first day and a sum.
fn validity(params: &mut CertificateParams, from: SystemTime, until: SystemTime) {
    let date = |at: SystemTime| {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
    };
    params.not_before = date(from);
    params.not_after = date(until);
}
