//! The client's side of a terminated connection: configurations with the leaf for a name, and accepting with them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ServerConfig};

use super::authority::{Authority, IssueFault, Leaf, LeafError};
use super::kernel::KernelSealing;
use super::provider;
use super::sessions::{SESSIONS, SessionOwner, key};
use super::socket::Socket;
use super::stream::ClientStream;

/// Configurations kept: one per owner of sessions, name and ALPN list in use.
const CONFIGS: usize = 4096;
/// Tickets after each handshake: clients use one for one connection, and open two at a time.
const TICKETS: usize = 2;

/// Makes and keeps the configurations that connections are accepted with.
///
/// Sessions are kept in the configuration that they were made with, which belongs to one owner and one name: there is no
/// key for tickets that several could share. They go with it: when the leaf is made anew, when the configuration is
/// pushed out by others, and with [`ClientSide::forget_sessions`]. Early data is not taken.
pub struct ClientSide {
    authority: ArcSwap<Authority>,
    configs: Cache<Vec<u8>, Arc<Acceptance>>,
}

struct Acceptance {
    config: Arc<ServerConfig>,
    leaf: Arc<Leaf>,
}

impl ClientSide {
    pub fn new(authority: Arc<Authority>) -> Self {
        Self { authority: authority.into(), configs: Cache::new(CONFIGS) }
    }

    pub fn authority(&self) -> Arc<Authority> {
        self.authority.load_full()
    }

    /// Leaves are another authority's from here on.
    pub fn replace_authority(&self, authority: Arc<Authority>) {
        self.authority.store(authority);
        self.forget_sessions();
    }

    /// The configuration that shows the leaf for `name`, agrees to the protocols in `alpn` only and resumes sessions of
    /// `owner`.
    ///
    /// Ask for it after the origin was verified: `alpn` is then what the origin chose, or empty when it chose none.
    pub async fn obtain(
        &self,
        owner: SessionOwner,
        name: &str,
        alpn: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let key = key(owner, name, alpn.iter().copied());
        match self.kept(&key) {
            Some(config) => Ok(config),
            // Two arrivals may both build a configuration; the leaf in them is made once.
            None => self.make(key, self.authority().obtain(name).await?, alpn),
        }
    }

    /// The same at once, of an authority whose key is in this process.
    pub fn config(
        &self,
        owner: SessionOwner,
        name: &str,
        alpn: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let key = key(owner, name, alpn.iter().copied());
        match self.kept(&key) {
            Some(config) => Ok(config),
            None => self.make(key, self.authority().leaf(name)?, alpn),
        }
    }

    fn kept(&self, key: &[u8]) -> Option<Arc<ServerConfig>> {
        let kept = self.configs.get(key).filter(|kept| kept.leaf.is_fresh(SystemTime::now()))?;
        Some(kept.config.clone())
    }

    fn make(&self, key: Vec<u8>, leaf: Arc<Leaf>, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, LeafError> {
        let config = Arc::new(configuration(&leaf, alpn)?);
        self.configs.insert(key, Arc::new(Acceptance { config: config.clone(), leaf }));
        Ok(config)
    }

    /// Every client shakes hands anew: what was decided about the last one may not hold any more.
    pub fn forget_sessions(&self) {
        self.configs.clear();
    }
}

fn configuration(leaf: &Leaf, alpn: &[&[u8]]) -> Result<ServerConfig, IssueFault> {
    let mut config = ServerConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(provider::VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf.certified.clone())));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.send_tls13_tickets = TICKETS;
    config.max_early_data_size = 0;
    // For the record layer of `stream`; no key leaves this module.
    config.enable_secret_extraction = true;
    Ok(config)
}

/// Shakes hands with a client. `stream` gives the ClientHello first (see [`super::Prefixed`]). What is sent to the client is
/// offered to `kernel`.
pub async fn accept<S: Socket>(
    stream: S,
    config: Arc<ServerConfig>,
    deadline: Duration,
    kernel: Option<&Arc<KernelSealing>>,
) -> Result<ClientStream<S>, ClientFailure> {
    match tokio::time::timeout(deadline, ClientStream::accept(config, stream, kernel)).await {
        Err(_elapsed) => Err(ClientFailure::TimedOut),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ClientFailure::of(&error)),
    }
}

/// Why a client did not finish its handshake with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFailure {
    /// The client refused our certificate with this alert.
    RejectedCertificate(AlertDescription),
    /// The client closed after it saw our certificate, without an alert.
    Closed,
    /// Any other alert of the client.
    Alert(AlertDescription),
    /// None of the client's protocols was acceptable.
    NoProtocolOverlap,
    /// No common version, suite or group.
    Incompatible,
    /// Bytes that are no valid handshake.
    Protocol,
    TimedOut,
    Io(io::ErrorKind),
}

impl ClientFailure {
    /// Reads the failure from an error of the TLS stream, during the handshake or at the first read after it.
    pub fn of(error: &io::Error) -> Self {
        let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed,
                kind => Self::Io(kind),
            };
        };
        match cause {
            rustls::Error::AlertReceived(alert) if rejects_certificate(*alert) => {
                Self::RejectedCertificate(*alert)
            }
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            rustls::Error::NoApplicationProtocol => Self::NoProtocolOverlap,
            rustls::Error::PeerIncompatible(_) => Self::Incompatible,
            _ => Self::Protocol,
        }
    }

    /// Whether the client probably pins certificates or does not trust the host's CA. It is a hint for an
    /// administrator; nothing may exempt a client on the strength of it, since any client can act like that.
    pub fn suggests_pinning(&self) -> bool {
        matches!(self, Self::RejectedCertificate(_) | Self::Closed)
    }

    /// Every name of [`Self::name`].
    pub const NAMES: [&str; 8] = [
        "rejected-certificate",
        "closed",
        "alert",
        "no-protocol-overlap",
        "incompatible",
        "protocol",
        "timeout",
        "io",
    ];

    /// Stable name for records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RejectedCertificate(_) => "rejected-certificate",
            Self::Closed => "closed",
            Self::Alert(_) => "alert",
            Self::NoProtocolOverlap => "no-protocol-overlap",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::TimedOut => "timeout",
            Self::Io(_) => "io",
        }
    }
}

impl fmt::Display for ClientFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RejectedCertificate(alert) => write!(
                f,
                "the client refused the certificate ({alert:?}): it does not trust the host's CA, or pins its own"
            ),
            Self::Closed => f.write_str("the client closed during the handshake"),
            Self::Alert(alert) => write!(f, "the client sent the alert {alert:?}"),
            Self::NoProtocolOverlap => f.write_str("the client offers none of the application protocols"),
            Self::Incompatible => f.write_str("no TLS version, suite or group in common with the client"),
            Self::Protocol => f.write_str("the client's handshake is invalid"),
            Self::TimedOut => f.write_str("the client did not finish the handshake in time"),
            Self::Io(kind) => write!(f, "client connection: {kind}"),
        }
    }
}

impl std::error::Error for ClientFailure {}

/// The alerts with which clients answer a certificate they do not accept (RFC 8446 section 6.2).
fn rejects_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod ech_tests;
#[cfg(test)]
mod tests;
