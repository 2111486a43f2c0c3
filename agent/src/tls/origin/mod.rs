//! The origin's side: TLS to the origin, verified as strictly as a browser would, or a named failure.

mod failure;
mod offered;
mod roots;
#[cfg(test)]
mod tests;
mod verified;
mod witness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::{CertificateDer, ServerName};

pub use failure::{UpstreamFailure, alert_without_leaf, mirrored_alert};
pub use roots::{RootsError, RootsReport, RootsSource, system_holds};

use super::authority;
use super::kernel::KernelSealing;
use super::provider;
use super::sessions::{self, SessionOwner};
use super::socket::Socket;
use super::stream::OriginStream;
use offered::Offered;
use witness::{Witness, noted};

/// Shakes hands with origins. Immutable: when the roots change, build another one and swap it in; handshakes under way
/// end with the one they began with.
///
/// Sessions are kept per owner, name and ALPN list, verdicts about chains per name; both go with the connector. Early data is not sent.
pub struct OriginConnector {
    /// Without ALPN and without sessions.
    base: ClientConfig,
    witness: Arc<Witness>,
    configs: Cache<Vec<u8>, Kept>,
}

/// Configurations kept: one per owner of sessions, name and ALPN list in use.
const CONFIGS: usize = 4096;

/// A configuration, its sessions, and when the first of them can have been made.
#[derive(Clone)]
struct Kept {
    config: Arc<ClientConfig>,
    offered: Arc<Offered>,
    since: Instant,
}

/// A verified connection to an origin.
#[derive(Debug)]
pub struct Origin<S> {
    pub stream: OriginStream<S>,
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
        let own = own.iter().filter_map(|der| Some(authority::names(der).ok()?.0.to_vec())).collect();
        let witness = Arc::new(Witness::new(verifier.clone(), own));
        let mut base = ClientConfig::builder_with_provider(provider::provider())
            .with_protocol_versions(provider::VERSIONS)
            .map_err(|error| RootsError::Verifier(error.to_string()))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        base.dangerous().set_certificate_verifier(witness.clone());
        base.client_auth_cert_resolver = witness.clone();
        base.resumption = Resumption::disabled();
        base.enable_early_data = false;
        // For the record layer of `stream`; no key leaves this module.
        base.enable_secret_extraction = true;
        Ok((Self { base, witness, configs: Cache::new(CONFIGS) }, report))
    }

    /// Every handshake from here on verifies the origin.
    pub fn forget_sessions(&self) {
        self.configs.clear();
        self.witness.forget();
    }

    fn kept(&self, owner: SessionOwner, name: &str, alpn: &[Vec<u8>]) -> Kept {
        let key = sessions::key(owner, name, alpn.iter().map(Vec::as_slice));
        if let Some(kept) = self.configs.get(&key).filter(|kept| kept.since.elapsed() < sessions::LIFE) {
            return kept;
        }
        let offered = Arc::new(Offered::new());
        let mut config = self.base.clone();
        config.alpn_protocols = alpn.to_vec();
        config.resumption = Resumption::store(offered.clone());
        let kept = Kept { config: Arc::new(config), offered, since: Instant::now() };
        self.configs.insert(key, kept.clone());
        kept
    }

    /// Shakes hands over `stream`, which is connected to the original destination. The certificate must be for
    /// `server_name`: the client's SNI, or the original address where the client sent none.
    ///
    /// `alpn` is the client's own list, in its order. A session of `owner` with this name is resumed, nobody else's. What
    /// is sent to the origin is offered to `kernel`.
    pub async fn connect<S: Socket>(
        &self,
        stream: S,
        owner: SessionOwner,
        server_name: &str,
        alpn: &[Vec<u8>],
        deadline: Duration,
        kernel: Option<&Arc<KernelSealing>>,
    ) -> Result<Origin<S>, UpstreamFailure> {
        let Ok(name) = ServerName::try_from(server_name.to_owned()) else {
            return Err(UpstreamFailure::UnusableName);
        };
        let Kept { config, offered, .. } = self.kept(owner, server_name, alpn);
        let handshake = noted(OriginStream::connect(config, name, stream, kernel));
        match tokio::time::timeout(deadline, handshake).await {
            Err(_elapsed) => Err(UpstreamFailure::TimedOut),
            Ok((Err(error), notes)) => {
                Err(notes.failure.unwrap_or_else(|| UpstreamFailure::of(&error, notes.certificate_asked)))
            }
            Ok((Ok(stream), notes)) => {
                if stream.negotiated().resumed {
                    offered.was_taken();
                }
                Ok(Origin { certificate_asked: notes.certificate_asked, stream })
            }
        }
    }
}
