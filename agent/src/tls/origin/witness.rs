//! Notes about one handshake with an origin that the TLS library does not give back: what exactly was wrong with the
//! chain, and whether a client certificate was asked for. The verdict itself is webpki's and is never changed here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::failure::UpstreamFailure;
use crate::tls::authority::names;

/// One per handshake.
#[derive(Debug)]
pub(crate) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    /// DER subjects of the own authorities.
    own: Arc<[Vec<u8>]>,
    certificate_asked: AtomicBool,
    failure: OnceLock<UpstreamFailure>,
}

impl Witness {
    pub(crate) fn new(verifier: Arc<WebPkiServerVerifier>, own: Arc<[Vec<u8>]>) -> Self {
        Self { verifier, own, certificate_asked: AtomicBool::new(false), failure: OnceLock::new() }
    }

    pub(crate) fn certificate_asked(&self) -> bool {
        self.certificate_asked.load(Ordering::Relaxed)
    }

    /// The reason the chain was refused, when it was.
    pub(crate) fn failure(&self) -> Option<UpstreamFailure> {
        self.failure.get().copied()
    }

    /// Tells the kinds of unknown issuer apart. Only for the name of a failure that stands already.
    fn unknown_issuer(&self, end_entity: &CertificateDer<'_>) -> UpstreamFailure {
        match names(end_entity) {
            Ok((_, issuer)) if self.own.iter().any(|own| own == issuer) => UpstreamFailure::OwnAuthority,
            Ok((subject, issuer)) if subject == issuer => UpstreamFailure::SelfSigned,
            _ => UpstreamFailure::UnknownIssuer,
        }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(Error::InvalidCertificate(error)) = &verdict {
            let failure = match error {
                CertificateError::UnknownIssuer => self.unknown_issuer(end_entity),
                // A self-signed server certificate that is also marked as a CA's fails on that mark first.
                other => match (UpstreamFailure::certificate(other), self.unknown_issuer(end_entity)) {
                    (UpstreamFailure::BadCertificate, UpstreamFailure::SelfSigned) => {
                        UpstreamFailure::SelfSigned
                    }
                    (failure, _) => failure,
                },
            };
            let _ = self.failure.set(failure);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Answers a request for a client certificate with none: the client's own key is not ours to use.
impl ResolvesClientCert for Witness {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificate_asked.store(true, Ordering::Relaxed);
        None
    }

    /// "True" makes the library ask `resolve`, which is how the request is noticed.
    fn has_certs(&self) -> bool {
        true
    }
}
