//! Inspection of one connection: the origin is verified first, then the client gets its certificate, then HTTP.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::buffer::Input;
use super::connection::{Accepted, Worker, abort, log_failure, relay_counted, say_and_close};
use super::dial;
use super::enforce::Answer;
use super::h1::{self, Ended, Exchanges};
use super::judge::Judge;
use super::side::Side;
use super::who::Early;
use crate::addr::OriginalDst;
use crate::catalog::App;
use crate::http::h1::{Parsed, Peer, Refusal, RequestReader, Target};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::{Direction, Path, Side as TlsSide};
use crate::tls::{self, ClientHello, HANDSHAKE_DEADLINE, OriginStream, Prefixed, UpstreamFailure};

/// The one protocol that is inspected now; HTTP/2 clients that offer HTTP/1.1 too fall back to it.
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS to a name whose app a policy selects.
pub(super) async fn tls(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    hello: &ClientHello,
    name: &str,
    app: Arc<App>,
    guard: &mut ConnectionGuard,
) {
    let metrics = &worker.shared.recorder.metrics;
    let alpn: Vec<Vec<u8>> = hello.alpn.iter().filter(|protocol| *protocol == HTTP_1_1).cloned().collect();
    // The process may be gone in milliseconds: ask before anything that waits.
    let early = Early::of(&accepted);
    let dialler = TlsDialler { worker, name, alpn: &alpn, to: accepted.original_dst };
    let origin = match dialler.dial_once().await {
        Ok(origin) => origin,
        Err(fault) => {
            log_failure(fault.failure(), accepted.client.0, Some(accepted.original_dst));
            match fault {
                Fault::Connect(_) => abort(accepted.stream),
                // The client is told the same, and never sees a certificate for an origin that has no good one.
                Fault::Tls(failure) => {
                    let _ = say_and_close(accepted.stream, &tls::mirrored_alert(&failure)).await;
                }
            }
            return;
        }
    };
    let session =
        early.session(worker, name, app, (accepted.client, accepted.original_dst), origin.get_ref().0).await;
    let chosen = origin.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let config = match worker.shared.clients.config(name, &chosen.as_deref().into_iter().collect::<Vec<_>>())
    {
        Ok(config) => config,
        Err(error) => {
            metrics.tls_handshake(TlsSide::Client, error.name());
            tracing::warn!(name, "refused: {error}");
            let _ =
                say_and_close(accepted.stream, &tls::mirrored_alert(&UpstreamFailure::UnusableName)).await;
            return;
        }
    };
    let stream = Prefixed::new(accepted.stream, bytes);
    let client = match tls::accept(stream, config, HANDSHAKE_DEADLINE).await {
        Ok(client) => client,
        Err(failure) => {
            metrics.tls_handshake(TlsSide::Client, failure.name());
            tracing::info!(name, exe = session.process.exe.as_deref(), "{failure}");
            return;
        }
    };
    metrics.tls_handshake(TlsSide::Client, "ok");
    guard.set_path(Path::Inspected);
    let judge = Judge::new(&worker.shared, &session, guard);
    let exchanges = Inspected { judge, dialler, guard };
    let mut client = Side::new(client);
    let shared = &worker.shared;
    let ended = h1::serve(&mut client, origin, &exchanges, &shared.limits, &shared.deadlines).await;
    log_end(&ended, name);
}

/// HTTP in clear text at an address of a monitored app. The first request's host says which app it is, if any.
pub(super) async fn plain(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    guard: &mut ConnectionGuard,
) {
    let shared = &worker.shared;
    let early = Early::of(&accepted);
    let unexplained = accepted.flow.is_unexplained();
    let Accepted { stream, client: client_addr, original_dst, .. } = accepted;
    let mut client = Side::new(stream);
    client.input = Input::with_bytes(bytes);
    let host = match first_host(&mut client, worker).await {
        Ok(Some(host)) => host,
        Ok(None) => return,
        // What is no HTTP to us, at an address that belongs to nobody, is nobody's concern.
        Err(_) if unexplained => String::new(),
        Err(refusal) => {
            log_failure(Failure::RequestFraming, client_addr.0, Some(original_dst));
            let answer = Answer::failure(refusal.status(Peer::Client), &refusal.to_string());
            let head = RequestHead::new("GET", "/", Version::Http11);
            if answer.write(&head, false, client.out()).is_ok() {
                let _ = client.shutdown().await;
            }
            return;
        }
    };
    let dialler = PlainDialler { worker, to: original_dst };
    let Ok(origin) = dialler.dial_once().await else {
        log_failure(Failure::UpstreamConnect, client_addr.0, Some(original_dst));
        return abort(client.stream);
    };
    let snapshot = shared.snapshot.load_full();
    let app = snapshot.catalog.lookup(&host).filter(|app| snapshot.policies.selects(app)).cloned();
    let ended = match app {
        Some(app) => {
            guard.set_app(&app.id);
            guard.set_path(Path::Inspected);
            let session = early.session(worker, &host, app, (client_addr, original_dst), &origin).await;
            let exchanges = Inspected { judge: Judge::new(shared, &session, guard), dialler, guard };
            h1::serve(&mut client, origin, &exchanges, &shared.limits, &shared.deadlines).await
        }
        None if unexplained => {
            guard.set_path(Path::Spliced);
            return relay_counted(client, Side::new(origin), guard).await;
        }
        None => {
            guard.set_path(Path::Spliced);
            let exchanges = Unmonitored { worker, dialler, guard };
            h1::serve(&mut client, origin, &exchanges, &shared.limits, &shared.deadlines).await
        }
    };
    log_end(&ended, &host);
}

/// The host of the first request, without consuming it. `None` when the client went away first.
async fn first_host(client: &mut Side<TcpStream>, worker: &Worker) -> Result<Option<String>, Refusal> {
    let shared = &worker.shared;
    let mut reader = RequestReader::new(Target::Origin);
    let read = async {
        loop {
            match reader.read(client.input.unread(), &shared.limits) {
                Parsed::Complete(head, _) => return Ok(Some(host_of(&head))),
                Parsed::Refused(refusal) => return Err(refusal),
                Parsed::More => {}
            }
            if !matches!(client.fill().await, Ok(count) if count > 0) {
                return Ok(None);
            }
        }
    };
    timeout(shared.deadlines.request_head, read).await.unwrap_or(Ok(None))
}

/// Host of a request as the catalog knows names: lower case, no trailing dot; empty when there is none.
pub(super) fn host_of(head: &RequestHead) -> String {
    let host = head.host().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Why there is no connection to the origin.
enum Fault {
    Connect(std::io::Error),
    Tls(UpstreamFailure),
}

impl Fault {
    fn failure(&self) -> Failure {
        match self {
            Fault::Connect(_) => Failure::UpstreamConnect,
            Fault::Tls(_) => Failure::UpstreamVerification,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Fault::Connect(error) => dial::failure_name(error),
            Fault::Tls(failure) => failure.name(),
        }
    }
}

/// A way to the origin that counts its failures.
trait Dialler {
    type Stream: AsyncRead + AsyncWrite + Unpin;
    async fn dial_once(&self) -> Result<Self::Stream, Fault>;
}

/// Verified TLS, always for the name that the client's hello asked for and with what it offered.
struct TlsDialler<'a> {
    worker: &'a Worker,
    name: &'a str,
    alpn: &'a [Vec<u8>],
    to: OriginalDst,
}

impl Dialler for TlsDialler<'_> {
    type Stream = OriginStream<TcpStream>;

    async fn dial_once(&self) -> Result<Self::Stream, Fault> {
        let metrics = &self.worker.shared.recorder.metrics;
        let connected = self.connect().await;
        match &connected {
            Ok(_) => metrics.tls_handshake(TlsSide::Origin, "ok"),
            Err(fault) => {
                metrics.upstream_failure(fault.name());
                if let Fault::Tls(failure) = fault {
                    metrics.tls_handshake(TlsSide::Origin, failure.name());
                    tracing::warn!(name = self.name, to = %self.to, "{failure}");
                }
            }
        }
        connected
    }
}

impl TlsDialler<'_> {
    async fn connect(&self) -> Result<OriginStream<TcpStream>, Fault> {
        let tcp = self.worker.dialer.dial(self.to).await.map_err(Fault::Connect)?;
        let connector = self.worker.shared.origins.load_full();
        let origin = connector.connect(tcp, self.name, self.alpn, HANDSHAKE_DEADLINE).await;
        Ok(origin.map_err(Fault::Tls)?.stream)
    }
}

/// Clear text.
struct PlainDialler<'a> {
    worker: &'a Worker,
    to: OriginalDst,
}

impl Dialler for PlainDialler<'_> {
    type Stream = TcpStream;

    async fn dial_once(&self) -> Result<TcpStream, Fault> {
        self.worker.dialer.dial(self.to).await.map_err(|error| {
            let fault = Fault::Connect(error);
            self.worker.shared.recorder.metrics.upstream_failure(fault.name());
            fault
        })
    }
}

/// The exchanges of an inspected connection: every one is judged.
struct Inspected<'a, D> {
    judge: Judge<'a>,
    dialler: D,
    guard: &'a ConnectionGuard,
}

impl<D: Dialler> Exchanges for Inspected<'_, D> {
    type Origin = D::Stream;

    async fn dial(&self) -> Result<D::Stream, &'static str> {
        self.dialler.dial_once().await.map_err(|fault| fault.name())
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.judge.request(request)
    }

    fn response(&self, request: &RequestHead, response: &ResponseHead) -> Option<Answer> {
        self.judge.response(request, response)
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        count(self.guard, to_origin, to_client);
    }
}

/// Clear text to a host that no policy selects, at an address that a monitored name shares: nothing is judged or
/// recorded, but a later request for a monitored host is sent to a connection of its own.
struct Unmonitored<'a> {
    worker: &'a Worker,
    dialler: PlainDialler<'a>,
    guard: &'a ConnectionGuard,
}

impl Exchanges for Unmonitored<'_> {
    type Origin = TcpStream;

    async fn dial(&self) -> Result<TcpStream, &'static str> {
        self.dialler.dial_once().await.map_err(|fault| fault.name())
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        let host = host_of(request);
        if !names_a_site(&host) {
            // As a ClientHello without a name: which of the sites at this address it is for, only the origin knows.
            tracing::info!(
                failure = Failure::NoServerName.name(),
                "refused: a request in clear text names no host"
            );
            return Some(Answer::failure(421, "at this address a request must name its host"));
        }
        let snapshot = self.worker.shared.snapshot.load();
        let app = snapshot.catalog.lookup(&host)?;
        snapshot.policies.selects(app).then(Judge::misdirected)
    }

    fn response(&self, _: &RequestHead, _: &ResponseHead) -> Option<Answer> {
        None
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        count(self.guard, to_origin, to_client);
    }
}

/// Whether a host is a name; nothing and addresses are none.
fn names_a_site(host: &str) -> bool {
    !host.is_empty() && !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

fn count(guard: &ConnectionGuard, to_origin: u64, to_client: u64) {
    guard.relayed(Direction::ToOrigin, to_origin);
    guard.relayed(Direction::ToClient, to_client);
}

fn log_end(ended: &Ended, name: &str) {
    match ended {
        Ended::Done | Ended::Idle | Ended::ClientBroken | Ended::Upgraded(_) => {
            tracing::debug!(name, "{ended}")
        }
        Ended::Refused(..) | Ended::OriginBroken(_) | Ended::SlowRequest | Ended::Stalled => {
            tracing::info!(name, "{ended}")
        }
    }
}
