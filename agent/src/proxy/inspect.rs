//! Inspection of one connection: the origin is verified first, then the client gets its certificate, then HTTP.

use std::rc::Rc;
use std::sync::Arc;

use super::ended::Ended;
use super::enforce::Answer;
use super::exchanges::Exchanges;
use super::h1;
use super::judge::Judge;
use super::origin::{Dialler, Fault, TlsDialler};
use super::refused;
use super::side::Side;
use super::untouched::{abort, log_failure, say_and_close};
use super::who::Early;
use super::worker::{Accepted, Shared, Worker};
use crate::catalog::App;
use crate::http::h1::Peer;
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::{Direction, Path, Side as TlsSide};
use crate::session::Session;
use crate::tls::{self, ClientHello, HANDSHAKE_DEADLINE, Prefixed, UpstreamFailure};

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
    let early = Early::of(&accepted).await;
    let dialler = TlsDialler { worker, name, alpn: &alpn, to: accepted.original_dst, ready: &accepted.ready };
    let origin = match dialler.dial_once().await {
        Ok(origin) => origin,
        Err(fault) => {
            let failure = fault.failure();
            log_failure(failure, accepted.client.0, Some(accepted.original_dst));
            let addresses = (accepted.client, accepted.original_dst);
            refused::record(&worker.shared, early.refused(failure, app, addresses, name)).await;
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
            refused::in_session(&worker.shared, guard.app(), &session, Failure::LeafNotPermitted, None);
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
    record_end(&worker.shared, guard, &session, &ended);
}

/// Records a connection that ended because a message on it could not be read safely.
pub(super) fn record_end(shared: &Shared, guard: &ConnectionGuard, session: &Session, ended: &Ended) {
    let failure = match ended {
        Ended::Refused(Peer::Client, _) => Failure::RequestFraming,
        Ended::Refused(Peer::Origin, _) => Failure::ResponseFraming,
        _ => return,
    };
    refused::in_session(shared, guard.app(), session, failure, None);
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

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.judge.request(request)
    }

    fn response(&self, request: &RequestHead, response: &ResponseHead) -> Option<Answer> {
        self.judge.response(request, response)
    }

    fn adapt_response(&self, response: &mut ResponseHead) {
        self.judge.adapt(response);
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
        Ended::Refused(..) | Ended::OriginBroken(_) | Ended::SlowRequest | Ended::Stalled => {
            tracing::info!(name, "{ended}")
        }
    }
}
