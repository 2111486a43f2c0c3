//! Inspection of one connection: the origin is verified first, then the client gets its certificate, then HTTP.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial::Ready;
use super::ended::Ended;
use super::enforce::Answer;
use super::exchanges::{Exchanges, Hold, Sent};
use super::h1;
use super::h2;
use super::judge::Judge;
use super::origin::{Dialler, Fault, TlsDialler};
use super::refused;
use super::side::Side;
use super::untouched::{abort, log_failure, say_and_close};
use super::who::Early;
use super::worker::{Accepted, Shared, Worker};
use crate::catalog::App;
use crate::detect::scan::Held;
use crate::http::h1::Peer;
use crate::http::head::{RequestHead, ResponseHead};
use crate::memory::pressure;
use crate::pages::Start;
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::{Direction, Path, Side as TlsSide};
use crate::record::transfer::Transfer;
use crate::session::Session;
use crate::tls::{self, ClientStream, HANDSHAKE_DEADLINE, LeafError, OriginStream, Prefixed};

/// The protocols that are inspected, as ALPN has them (RFC 7301 section 6, RFC 9113 section 3.2).
const HTTP_1_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";
/// How long an origin waits for a client, and for what is asked about it, before it gets the end of its own handshake.
const ORIGIN_PATIENCE: Duration = Duration::from_secs(1);

/// TLS to a name whose app a policy selects.
pub(super) async fn tls(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    offered: &[Vec<u8>],
    name: &str,
    app: Arc<App>,
    guard: &mut ConnectionGuard,
) {
    let (owner, to) = (accepted.session_owner(), accepted.original_dst);
    // A box, so that what only the beginning takes is given back.
    let Some(both) = Box::pin(establish(worker, accepted, bytes, offered, name, app, guard)).await else {
        return;
    };
    let Established { session, chosen, ready, streams } = both;
    guard.set_path(Path::Inspected);
    let judge = Judge::new(&worker.shared, &session, guard);
    let dialler = TlsDialler { worker, owner, name, alpn: &chosen, to, ready: &ready };
    let exchanges = Inspected { judge, dialler, guard };
    let limits = worker.shared.limits();
    let timeouts = &limits.timeouts;
    let mut waiting = None;
    let serving: Pin<Box<dyn Future<Output = Ended> + '_>> = {
        // The box goes with the block, not with the connection.
        let streams = streams;
        let (client, origin) = *streams;
        let client = Side::new(client);
        if chosen == [HTTP_2] {
            let stopped = worker.stopping();
            let stopping = async move {
                tokio::select! { biased; () = stopped => {} () = pressure::shed_later() => {} }
            };
            Box::pin(h2::serve(client, origin, &exchanges, &limits.http2, timeouts, stopping))
        } else {
            let client = waiting.insert(Box::new(client));
            Box::pin(h1::serve(client, origin, &exchanges, &limits.http1, timeouts))
        }
    };
    let ended = serving.await;
    log_end(&ended, name);
    record_end(&worker.shared, guard, &session, &ended);
}

/// Both connections of an inspected one, each with its handshake done.
struct Established {
    session: Session,
    /// The protocol that the origin chose, if any: the client gets the same, and so does every later connection to the
    /// origin.
    chosen: Vec<Vec<u8>>,
    ready: Ready,
    /// To the client and to the origin.
    streams: Box<(ClientStream<Prefixed<TcpStream>>, OriginStream<TcpStream>)>,
}

/// The origin first, so that the client is told what it chose; `None` when there was a failure, which is on record.
async fn establish(
    worker: &Rc<Worker>,
    mut accepted: Accepted,
    bytes: Vec<u8>,
    offered: &[Vec<u8>],
    name: &str,
    app: Arc<App>,
    guard: &ConnectionGuard,
) -> Option<Established> {
    let alpn = protocols(offered, worker.shared.snapshot.load().policies.reads_bodies_of(&app));
    // The process may be gone in milliseconds: ask before anything that waits.
    let early = Early::of(&accepted).await;
    if pressure::is_refusing() {
        let failure = Failure::MemoryFull;
        log_failure(failure, accepted.client.0, Some(accepted.original_dst));
        let addresses = (accepted.client, accepted.original_dst);
        Box::pin(refused::record(&worker.shared, early.refused(failure, app, addresses, name))).await;
        abort(accepted.stream);
        return None;
    }
    let owner = accepted.session_owner();
    let dialler =
        TlsDialler { worker, owner, name, alpn: &alpn, to: accepted.original_dst, ready: &accepted.ready };
    let mut origin = match Box::pin(dialler.dial_once()).await {
        Ok(origin) => origin,
        Err(fault) => {
            let failure = fault.failure();
            log_failure(failure, accepted.client.0, Some(accepted.original_dst));
            let addresses = (accepted.client, accepted.original_dst);
            Box::pin(refused::record(&worker.shared, early.refused(failure, app, addresses, name))).await;
            match fault {
                Fault::Connect(_) => abort(accepted.stream),
                // The client is told the same, and never sees a certificate for an origin that has no good one.
                Fault::Tls(failure) => {
                    let _ = say_and_close(accepted.stream, &tls::mirrored_alert(&failure)).await;
                }
            }
            return None;
        }
    };
    let chosen: Vec<Vec<u8>> = origin.negotiated().alpn.clone().into_iter().collect();
    let ready = std::mem::take(&mut accepted.ready);
    let local = origin.get_ref().local_addr().ok();
    let receiving = receive(worker, accepted, bytes, (early, local), &chosen, (name, app), guard);
    // From here on the origin waits for the end of its handshake.
    let (session, client) = beside(Box::pin(receiving), &mut origin, ORIGIN_PATIENCE).await?;
    Some(Established { session, chosen, ready, streams: Box::new((client, origin)) })
}

/// The client's handshake, and who the client is; `None` when there was a failure, which is on record.
async fn receive(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    (early, local): (Early, Option<SocketAddr>),
    chosen: &[Vec<u8>],
    (name, app): (&str, Arc<App>),
    guard: &ConnectionGuard,
) -> Option<(Session, ClientStream<Prefixed<TcpStream>>)> {
    let metrics = &worker.shared.recorder.metrics;
    let owner = accepted.session_owner();
    let session = early.session(worker, name, app, (accepted.client, accepted.original_dst), local).await;
    let offered: Vec<&[u8]> = chosen.iter().map(Vec::as_slice).collect();
    let config = match worker.shared.clients.obtain(owner, name, &offered).await {
        Ok(config) => config,
        Err(error) => {
            metrics.tls_handshake(TlsSide::Client, error.name());
            tracing::warn!(name, "refused: {error}");
            let failure = no_leaf(&error);
            refused::in_session(&worker.shared, guard.app(), &session, failure, None);
            let _ = say_and_close(accepted.stream, &tls::alert_without_leaf(&error)).await;
            return None;
        }
    };
    let stream = Prefixed::new(accepted.stream, bytes);
    let kernel = worker.shared.kernel_sealing();
    match tls::accept(stream, config, HANDSHAKE_DEADLINE, kernel).await {
        Ok(client) => {
            metrics.tls_handshake(TlsSide::Client, "ok");
            if kernel.is_some() {
                metrics.kernel_tls(TlsSide::Client, client.is_sealed_by_kernel());
            }
            Some((session, client))
        }
        Err(failure) => {
            metrics.tls_handshake(TlsSide::Client, failure.name());
            tracing::info!(name, exe = session.process.exe.as_deref(), "{failure}");
            None
        }
    }
}

/// What `client` comes to, for which `origin` waits no longer than `patience` with the end of its handshake unsaid: it would give
/// up.
async fn beside<F: Future + Unpin>(
    mut client: F,
    origin: &mut (impl AsyncWrite + Unpin),
    patience: Duration,
) -> F::Output {
    match timeout(patience, &mut client).await {
        Ok(done) => done,
        Err(_elapsed) => {
            // Where that fails, so does the first request.
            let _ = poll_fn(|cx| Poll::Ready(Pin::new(&mut *origin).poll_flush(cx))).await;
            client.await
        }
    }
}

/// Which failure it is that a name got no certificate.
fn no_leaf(error: &LeafError) -> Failure {
    match error {
        LeafError::Name(_) | LeafError::NotPermitted | LeafError::Expired => Failure::LeafNotPermitted,
        LeafError::Issue(_) | LeafError::Signer(_) => Failure::LeafNotSigned,
    }
}

/// What the origin is offered of what the client offered: the protocols that can be inspected, in the client's order.
/// `http1_only`: what stands in bodies decides, which is looked at in HTTP/1.1.
fn protocols(offered: &[Vec<u8>], http1_only: bool) -> Vec<Vec<u8>> {
    let is_inspected = |protocol: &&Vec<u8>| *protocol == HTTP_1_1 || (*protocol == HTTP_2 && !http1_only);
    offered.iter().filter(is_inspected).cloned().collect()
}

/// Records a connection that ended because a message on it could not be read safely.
pub(super) fn record_end(shared: &Shared, guard: &ConnectionGuard, session: &Session, ended: &Ended) {
    let failure = match ended {
        Ended::Refused(peer, _) | Ended::Violated(peer, _) => framing(*peer),
        _ => return,
    };
    refused::in_session(shared, guard.app(), session, failure, None);
}

fn framing(peer: Peer) -> Failure {
    match peer {
        Peer::Client => Failure::RequestFraming,
        Peer::Origin => Failure::ResponseFraming,
    }
}

/// The exchanges of an inspected connection: every one is judged.
pub(super) struct Inspected<'a, D> {
    pub judge: Judge<'a>,
    pub dialler: D,
    pub guard: &'a ConnectionGuard,
}

impl<D: Dialler> Exchanges for Inspected<'_, D> {
    type Origin = D::Stream;

    async fn dial(&self) -> Result<D::Stream, &'static str> {
        self.dialler.dial_once().await.map_err(|fault| fault.name())
    }

    fn http1_only(&self) -> bool {
        self.judge.reads_bodies()
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.judge.request(request)
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        self.judge.holds_request(request)
    }

    fn request_body(&self, request: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        self.judge.request_body(request, held)
    }

    fn holds_response(&self, request: &RequestHead, response: &ResponseHead) -> Hold {
        self.judge.holds_response(request, response)
    }

    fn holds_more(&self, request: &RequestHead, response: &ResponseHead, held: Held<'_>) -> Hold {
        self.judge.holds_more(request, response, held)
    }

    fn response(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        self.judge.response(request, response, sent, held)
    }

    fn transfer(&self) -> Option<Transfer<'_>> {
        self.judge.transfer()
    }

    fn unrecorded(&self) -> Answer {
        self.judge.unrecorded()
    }

    fn alters_page(&self, request: &RequestHead, response: &ResponseHead) -> bool {
        self.judge.alters_page(request, response)
    }

    fn alter_page(
        &self,
        request: &RequestHead,
        response: &mut ResponseHead,
        start: Start,
    ) -> Result<String, Box<Answer>> {
        self.judge.alter_page(request, response, start)
    }

    fn adapt_request(&self, request: &mut RequestHead) {
        self.judge.ask_for_page(request);
    }

    fn adapt_response(&self, response: &mut ResponseHead) {
        self.judge.adapt(response);
    }

    fn refused(&self, peer: Peer, request: Option<&RequestHead>) {
        self.judge.refused(framing(peer), request);
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        count(self.guard, to_origin, to_client);
    }
}

pub(super) fn count(guard: &ConnectionGuard, to_origin: u64, to_client: u64) {
    guard.relayed(Direction::ToOrigin, to_origin);
    guard.relayed(Direction::ToClient, to_client);
}

pub(super) fn log_end(ended: &Ended, name: &str) {
    match ended {
        Ended::Done | Ended::Idle | Ended::ClientBroken | Ended::Upgraded(_) => {
            tracing::debug!(name, "{ended}")
        }
        Ended::Refused(..)
        | Ended::Violated(..)
        | Ended::OriginBroken(_)
        | Ended::SlowRequest
        | Ended::SlowBody
        | Ended::Unread
        | Ended::Stalled => {
            tracing::info!(name, "{ended}")
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn an_origin_gets_what_is_unsaid_before_a_slow_client_is_done() {
        let (near, mut far) = duplex(64);
        let mut origin = BufWriter::new(near);
        origin.write_all(b"end").await.unwrap();
        let client = async {
            let mut got = [0; 3];
            let read = timeout(Duration::from_secs(20), far.read_exact(&mut got));
            read.await.expect("the origin got nothing").unwrap();
            got
        };
        assert_eq!(&beside(Box::pin(client), &mut origin, Duration::from_millis(5)).await, b"end");

        // One that is quick leaves it to the first data.
        origin.write_all(b"end").await.unwrap();
        beside(Box::pin(async {}), &mut origin, Duration::from_millis(5)).await;
        assert_eq!(origin.buffer(), b"end");
    }
}
