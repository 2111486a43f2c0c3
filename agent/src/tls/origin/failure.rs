//! Why an origin could not be used, with stable names, and the alert that tells the client the same.

use std::fmt;
use std::io;

use crate::tls::LeafError;

use rustls::{AlertDescription, CertificateError};

/// Why there is no verified connection to the origin. No byte of a request has been sent when it arises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    Expired,
    NotYetValid,
    /// The chain ends at no trust anchor, or an intermediate is missing.
    UnknownIssuer,
    /// The certificate vouches for itself.
    SelfSigned,
    /// The certificate was issued by the host's own CA: the agent would be talking to itself, or its key was stolen.
    OwnAuthority,
    NameMismatch,
    Revoked,
    /// Valid, but not for servers, or a CA's certificate used as a server's.
    WrongPurpose,
    /// A signature does not verify, or uses an algorithm or key size that is not accepted.
    BadSignature,
    /// Anything else wrong with the certificate: encoding, unknown critical extension, name constraints.
    BadCertificate,
    /// The origin insists on a client certificate; the agent has none to give.
    ClientCertificate,
    /// The origin refused with this alert.
    Alert(AlertDescription),
    /// No common version, suite or group.
    Incompatible,
    /// Not TLS, or an invalid handshake.
    Protocol,
    TimedOut,
    /// The origin closed during the handshake.
    Closed,
    /// The name to verify is neither a DNS name nor an address.
    UnusableName,
    Io(io::ErrorKind),
}

impl UpstreamFailure {
    /// Reads the failure from an error of the TLS stream, during the handshake or at the first read after it.
    ///
    /// `certificate_asked` says that the origin asked for a client certificate: TLS 1.3 origins refuse an empty answer
    /// only after the client's handshake is done (RFC 8446 section 4.4.2.4), TLS 1.2 ones with a general alert.
    pub fn of(error: &io::Error, certificate_asked: bool) -> Self {
        use rustls::Error;
        let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed,
                kind => Self::Io(kind),
            };
        };
        match cause {
            Error::InvalidCertificate(error) => Self::certificate(error),
            Error::NoCertificatesPresented | Error::UnsupportedNameType => Self::BadCertificate,
            Error::AlertReceived(AlertDescription::CertificateRequired) => Self::ClientCertificate,
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::BadCertificate)
                if certificate_asked =>
            {
                Self::ClientCertificate
            }
            Error::AlertReceived(alert) => Self::Alert(*alert),
            Error::PeerIncompatible(_) => Self::Incompatible,
            _ => Self::Protocol,
        }
    }

    pub(super) fn certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::Revoked
            | E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => Self::Revoked,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::NameMismatch,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::BadSignature
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::BadSignature,
            _ => Self::BadCertificate,
        }
    }

    /// Every name of [`Self::name`].
    pub const NAMES: [&str; 18] = [
        "expired",
        "not-yet-valid",
        "unknown-issuer",
        "self-signed",
        "own-authority",
        "name-mismatch",
        "revoked",
        "wrong-purpose",
        "bad-signature",
        "bad-certificate",
        "client-certificate",
        "alert",
        "incompatible",
        "protocol",
        "timeout",
        "closed",
        "unusable-name",
        "io",
    ];

    /// Stable name for records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownIssuer => "unknown-issuer",
            Self::SelfSigned => "self-signed",
            Self::OwnAuthority => "own-authority",
            Self::NameMismatch => "name-mismatch",
            Self::Revoked => "revoked",
            Self::WrongPurpose => "wrong-purpose",
            Self::BadSignature => "bad-signature",
            Self::BadCertificate => "bad-certificate",
            Self::ClientCertificate => "client-certificate",
            Self::Alert(_) => "alert",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::UnusableName => "unusable-name",
            Self::Io(_) => "io",
        }
    }

    /// The alert that says the same to the client.
    fn alert(&self) -> AlertDescription {
        match self {
            Self::Expired | Self::NotYetValid => AlertDescription::CertificateExpired,
            Self::UnknownIssuer | Self::SelfSigned | Self::OwnAuthority => AlertDescription::UnknownCA,
            Self::NameMismatch | Self::BadCertificate => AlertDescription::BadCertificate,
            Self::Revoked => AlertDescription::CertificateRevoked,
            Self::WrongPurpose => AlertDescription::UnsupportedCertificate,
            Self::BadSignature => AlertDescription::DecryptError,
            // Not errors at the TLS level: they would look to the client like an orderly end.
            Self::Alert(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
                AlertDescription::HandshakeFailure
            }
            Self::Alert(alert) => *alert,
            Self::ClientCertificate | Self::Incompatible | Self::Protocol => {
                AlertDescription::HandshakeFailure
            }
            Self::UnusableName => AlertDescription::UnrecognisedName,
            Self::TimedOut | Self::Closed | Self::Io(_) => AlertDescription::InternalError,
        }
    }
}

impl fmt::Display for UpstreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the origin's certificate has expired",
            Self::NotYetValid => "the origin's certificate is not valid yet",
            Self::UnknownIssuer => "the origin's certificate leads to no trusted root",
            Self::SelfSigned => "the origin's certificate is self-signed",
            Self::OwnAuthority => "the origin shows a certificate of this host's own CA",
            Self::NameMismatch => "the origin's certificate is for another name",
            Self::Revoked => "the origin's certificate is revoked, or its state cannot be told",
            Self::WrongPurpose => "the origin's certificate is not for servers",
            Self::BadSignature => "a signature of the origin's certificate or handshake is not acceptable",
            Self::BadCertificate => "the origin's certificate is not acceptable",
            Self::ClientCertificate => "the origin insists on a client certificate",
            Self::Alert(alert) => return write!(f, "the origin refused with the alert {alert:?}"),
            Self::Incompatible => "no TLS version, suite or group in common with the origin",
            Self::Protocol => "the origin does not speak valid TLS",
            Self::TimedOut => "the origin did not finish the handshake in time",
            Self::Closed => "the origin closed during the handshake",
            Self::UnusableName => "the name of the origin cannot be verified",
            Self::Io(kind) => return write!(f, "origin connection: {kind}"),
        })
    }
}

impl std::error::Error for UpstreamFailure {}

/// The record to write to the client instead of a handshake: a fatal alert in the clear (RFC 8446 sections 5.1 and 6),
/// as a server sends it in answer to a ClientHello. The client sees a failed connection and never a minted certificate.
pub fn mirrored_alert(failure: &UpstreamFailure) -> [u8; 7] {
    alert_record(failure.alert())
}

/// The same where there is no certificate to show.
pub fn alert_without_leaf(error: &LeafError) -> [u8; 7] {
    alert_record(match error {
        LeafError::Name(_) | LeafError::NotPermitted => AlertDescription::UnrecognisedName,
        LeafError::Expired | LeafError::Issue(_) | LeafError::Signer(_) => AlertDescription::InternalError,
    })
}

fn alert_record(alert: AlertDescription) -> [u8; 7] {
    const ALERT_RECORD: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT_RECORD, 3, 3, 0, 2, FATAL, alert.into()]
}
