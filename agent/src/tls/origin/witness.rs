//! Notes about one handshake with an origin that the TLS library does not give back: what exactly was wrong with the
//! chain, and whether a client certificate was asked for. The verdict itself is webpki's and is never changed here.
//!
//! The library resumes sessions only under the very verifier that they were made with, so there is one for all
//! handshakes, and each handshake has its notes where it is polled ([`noted`]).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::failure::UpstreamFailure;
use super::verified::{Shown, Verified};
use crate::tls::authority::names;

/// What was noticed in one handshake.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Notes {
    pub(super) certificate_asked: bool,
    /// The reason the chain was refused, when it was.
    pub(super) failure: Option<UpstreamFailure>,
}

thread_local! {
    /// Those of the handshake that this thread is polling.
    static NOTES: Cell<Notes> = const { Cell::new(Notes { certificate_asked: false, failure: None }) };
}

/// Runs a handshake and returns what was noticed in it.
pub(super) async fn noted<F: Future>(handshake: F) -> (F::Output, Notes) {
    let mut handshake = pin!(handshake);
    let mut notes = Notes::default();
    poll_fn(|cx| {
        let outer = NOTES.replace(notes);
        let state = handshake.as_mut().poll(cx);
        notes = NOTES.replace(outer);
        state.map(|output| (output, notes))
    })
    .await
}

fn note(change: impl FnOnce(&mut Notes)) {
    let mut notes = NOTES.get();
    change(&mut notes);
    NOTES.set(notes);
}

/// One for all handshakes under the same anchors.
#[derive(Debug)]
pub(super) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    /// DER subjects of the own authorities.
    own: Vec<Vec<u8>>,
    verified: Verified,
}

impl Witness {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>, own: Vec<Vec<u8>>) -> Self {
        Self { verifier, own, verified: Verified::new() }
    }

    /// Every chain from here on is verified.
    pub(super) fn forget(&self) {
        self.verified.forget();
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

/// Whether the certificate names the server (RFC 9525 section 6). Of a chain the name is checked apart from everything else.
fn is_for(end_entity: &CertificateDer<'_>, server_name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(end_entity)
        .is_ok_and(|certificate| verify_server_name(&certificate, server_name).is_ok())
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
        let shown = Shown::new(end_entity, intermediates);
        if self.verified.knows(&shown, now) && is_for(end_entity, server_name) {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verdict.is_ok() {
            self.verified.note(shown, end_entity, intermediates, now);
        }
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
            note(|notes| notes.failure = Some(failure));
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
        note(|notes| notes.certificate_asked = true);
        None
    }

    /// "True" makes the library ask `resolve`, which is how the request is noticed.
    fn has_certs(&self) -> bool {
        true
    }
}
