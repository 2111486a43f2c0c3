//! TLS: peek at what a client says, mint its leaf, verify the origin. The only module that knows rustls.
//!
//! The pipeline's order, from which the safety follows: [`peek`], then [`OriginConnector::connect`] with the
//! client's own ALPN list, and only once the origin is verified [`ClientSide::config`] and [`accept`]. When the
//! origin fails, the client gets [`mirrored_alert`] and never sees a minted certificate. Keys of sessions are never
//! logged: `SSLKEYLOGFILE` has no effect.

mod authority;
mod client_side;
mod kernel;
mod name;
mod negotiated;
mod origin;
mod peek;
mod prefixed;
mod proof;
mod provider;
mod sessions;
mod signer;
mod socket;
mod stream;

use std::time::Duration;

pub use authority::{
    AUTHORITY_LIFE, Authority, AuthorityError, AuthorityEvent, CertificateFacts, Certificates, IssueFault,
    Issuing, LEAF_LIFE, Leaf, LeafError, OVERLAP,
};
pub use client_side::{ClientFailure, ClientSide, accept};
pub use kernel::KernelSealing;
pub use name::{NameFault, normalise};
pub use negotiated::Negotiated;
pub use origin::{
    Origin, OriginConnector, RootsError, RootsReport, RootsSource, UpstreamFailure, alert_without_leaf,
    mirrored_alert, system_holds,
};
pub use peek::{ClientHello, PEEK_BYTES, PeekDeadlines, Peeked, ServerName, peek};
pub use prefixed::Prefixed;
pub use proof::{ProofError, ProofSite, Seen};
pub use provider::install as install_provider;
pub use sessions::SessionOwner;
pub use signer::{
    Child as SignerChild, Client as SignerClient, ServeFault, SignFault, Signer as SignerService, confine,
    serve as serve_signer,
};
pub use socket::Socket;
pub use stream::{ClientStream, OriginStream, PassError, Stream};

/// Longest handshake, on either side.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
