//! Ways to the origin of one connection, verified TLS or clear text, with their failures counted.

use tokio::net::TcpStream;

use super::dial::{self, Ready};
use super::worker::Worker;
use crate::addr::OriginalDst;
use crate::policy::failure_mode::Failure;
use crate::record::metrics::Side;
use crate::tls::{HANDSHAKE_DEADLINE, OriginStream, SessionOwner, Stream, UpstreamFailure};

/// Why there is no connection to the origin.
pub(super) enum Fault {
    Connect(std::io::Error),
    Tls(UpstreamFailure),
}

impl Fault {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Fault::Connect(_) => Failure::UpstreamConnect,
            Fault::Tls(_) => Failure::UpstreamVerification,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Fault::Connect(error) => dial::failure_name(error),
            Fault::Tls(failure) => failure.name(),
        }
    }
}

/// A way to the origin that counts its failures.
pub(super) trait Dialler {
    type Stream: Stream;
    async fn dial_once(&self) -> Result<Self::Stream, Fault>;
}

/// Verified TLS, always for the name that the client's hello asked for and with what it offered.
pub(super) struct TlsDialler<'a> {
    pub worker: &'a Worker,
    pub owner: SessionOwner,
    pub name: &'a str,
    pub alpn: &'a [Vec<u8>],
    pub to: OriginalDst,
    pub ready: &'a Ready,
}

impl Dialler for TlsDialler<'_> {
    type Stream = OriginStream<TcpStream>;

    async fn dial_once(&self) -> Result<Self::Stream, Fault> {
        let metrics = &self.worker.shared.recorder.metrics;
        let connected = self.connect().await;
        match &connected {
            Ok(_) => metrics.tls_handshake(Side::Origin, "ok"),
            Err(fault) => {
                metrics.upstream_failure(fault.name());
                if let Fault::Tls(failure) = fault {
                    metrics.tls_handshake(Side::Origin, failure.name());
                    tracing::warn!(name = self.name, to = %self.to, "{failure}");
                }
            }
        }
        connected
    }
}

impl TlsDialler<'_> {
    async fn connect(&self) -> Result<OriginStream<TcpStream>, Fault> {
        let tcp = self.worker.dialer.dial_or_take(self.ready, self.to).await.map_err(Fault::Connect)?;
        let shared = &self.worker.shared;
        let (connector, kernel) = (shared.origins.load_full(), shared.kernel_sealing());
        let shaken =
            connector.connect(tcp, self.owner, self.name, self.alpn, HANDSHAKE_DEADLINE, kernel).await;
        let origin = shaken.map_err(Fault::Tls)?.stream;
        if kernel.is_some() {
            shared.recorder.metrics.kernel_tls(Side::Origin, origin.is_sealed_by_kernel());
        }
        Ok(origin)
    }
}

/// Clear text.
pub(super) struct PlainDialler<'a> {
    pub worker: &'a Worker,
    pub to: OriginalDst,
    pub ready: &'a Ready,
}

impl Dialler for PlainDialler<'_> {
    type Stream = TcpStream;

    async fn dial_once(&self) -> Result<TcpStream, Fault> {
        self.worker.dialer.dial_or_take(self.ready, self.to).await.map_err(|error| {
            let fault = Fault::Connect(error);
            self.worker.shared.recorder.metrics.upstream_failure(fault.name());
            fault
        })
    }
}
