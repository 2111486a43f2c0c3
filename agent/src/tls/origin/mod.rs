//! The origin's side: TLS to the origin, verified as strictly as a browser would, or a named failure.

mod failure;
mod roots;
#[cfg(test)]
mod tests;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use failure::{UpstreamFailure, mirrored_alert};
pub use roots::{RootsError, RootsReport, RootsSource, system_holds};

use super::authority;
use super::negotiated::Negotiated;
use super::provider;
use witness::Witness;

/// Shakes hands with origins. Immutable: when the roots change, build another one and swap it in; handshakes under way
/// end with the one they began with.
pub struct OriginConnector {
    /// Without ALPN and with a verifier that is replaced for each handshake.
    base: ClientConfig,
    verifier: Arc<WebPkiServerVerifier>,
    own: Arc<[Vec<u8>]>,
}

/// A verified connection to an origin.
#[derive(Debug)]
pub struct Origin<S> {
    pub stream: TlsStream<S>,
    pub negotiated: Negotiated,
    /// The origin asked for a client certificate and was given none. It may still refuse with the first read; then
    /// [`UpstreamFailure::of`] names that.
    pub certificate_asked: bool,
}

impl OriginConnector {
    /// Reads the anchors. `own` are the certificates of the host's CA, present and past
    /// ([`super::Certificates::own`]): none of their keys is an anchor, wherever it stands.
    pub fn new(source: &RootsSource, own: &[CertificateDer<'_>]) -> Result<(Self, RootsReport), RootsError> {
        let (store, report) = roots::load(source, own)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider::provider())
            .build()
            .map_err(|error| RootsError::Verifier(error.to_string()))?;
        let own: Arc<[Vec<u8>]> =
            own.iter().filter_map(|der| Some(authority::names(der).ok()?.0.to_vec())).collect();
        let mut base = ClientConfig::builder_with_provider(provider::provider())
            .with_protocol_versions(provider::VERSIONS)
            .map_err(|error| RootsError::Verifier(error.to_string()))?
            .with_webpki_verifier(verifier.clone())
            .with_no_client_auth();
        // A resumed session would carry over the verification made for another user, under roots since removed.
        base.resumption = Resumption::disabled();
        base.enable_early_data = false;
        Ok((Self { base, verifier, own }, report))
    }

    /// Shakes hands over `stream`, which is connected to the original destination. The certificate must be for
    /// `server_name`: the client's SNI, or the original address where the client sent none.
    ///
    /// `alpn` is the client's own list, in its order.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        server_name: &str,
        alpn: &[Vec<u8>],
        deadline: Duration,
    ) -> Result<Origin<S>, UpstreamFailure> {
        let Ok(name) = ServerName::try_from(server_name.to_owned()) else {
            return Err(UpstreamFailure::UnusableName);
        };
        let witness = Arc::new(Witness::new(self.verifier.clone(), self.own.clone()));
        let mut config = self.base.clone();
        config.alpn_protocols = alpn.to_vec();
        config.dangerous().set_certificate_verifier(witness.clone());
        config.client_auth_cert_resolver = witness.clone();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(deadline, handshake).await {
            Err(_elapsed) => Err(UpstreamFailure::TimedOut),
            Ok(Err(error)) => Err(witness
                .failure()
                .unwrap_or_else(|| UpstreamFailure::of(&error, witness.certificate_asked()))),
            Ok(Ok(stream)) => Ok(Origin {
                negotiated: Negotiated::of(stream.get_ref().1),
                certificate_asked: witness.certificate_asked(),
                stream,
            }),
        }
    }
}
