//! HTTP in clear text: which app it is for, if any, each request says. What is none is relayed, and listened to.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_common::abi::Flow;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::buffer::Input;
use super::enforce::Answer;
use super::exchanges::{Exchanges, Sent};
use super::explicit::AskedFor;
use super::h1;
use super::inspect::{Inspected, count, log_end, record_end};
use super::judge::{Judge, host_of};
use super::origin::{Dialler, PlainDialler};
use super::refused;
use super::relay::{RelayError, Relayed, relay_while};
use super::side::Side;
use super::untouched::{abort, log_failure};
use super::who::Early;
use super::worker::{Accepted, Worker};
use crate::catalog::App;
use crate::config::Limits;
use crate::detect::scan::Held;
use crate::http::h1::{Parsed, Peer, Refusal, RequestReader, Target};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::http::named_hosts::{self, NamedHosts};
use crate::memory::pressure;
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::Path;
use crate::reload::Snapshot;
use crate::session::Session;

/// HTTP in clear text, or what may be that. The first request's host says which app it is for, if any.
pub(super) async fn plain(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    guard: &mut ConnectionGuard,
) {
    let shared = &worker.shared;
    let limits = shared.limits();
    let early = Early::of(&accepted).await;
    let unexplained = accepted.unexplained;
    let Accepted { stream, client: client_addr, original_dst, ready, asked, owner, .. } = accepted;
    let addresses = (client_addr, original_dst);
    let mut client = Side::new(stream);
    client.input = Input::with_bytes(bytes);
    let snapshot = shared.snapshot.load_full();
    let first = match first_host(&mut client, &limits, unexplained).await {
        First::Host(host) if contradicts(asked.as_ref(), &host, &snapshot) => {
            Err((Failure::TunnelNameDiffers, 421, "the tunnel is for another host".to_owned(), host))
        }
        First::Host(host) => Ok(Some(host)),
        // What is no HTTP to us, at an address that belongs to nobody, is relayed while it names nobody.
        First::Refused(_) if unexplained => Ok(None),
        First::Refused(refusal) => {
            let status = refusal.status(Peer::Client);
            Err((Failure::RequestFraming, status, refusal.to_string(), String::new()))
        }
        First::Gone => return,
    };
    let first = match first {
        Ok(first) => first,
        Err((failure, status, words, host)) => {
            log_failure(failure, client_addr.0, Some(original_dst));
            let app = refused::app_at(worker, &snapshot, asked.as_ref(), original_dst);
            refused::record(shared, early.refused(failure, app, addresses, &host)).await;
            return say(client, status, &words).await;
        }
    };
    let snapshot = shared.snapshot.load_full();
    let host = first.as_deref().unwrap_or_default();
    let app = snapshot.catalog.lookup(host).filter(|app| snapshot.policies.selects(app)).cloned();
    if let Some(app) = &app
        && pressure::is_refusing()
    {
        let failure = Failure::MemoryFull;
        log_failure(failure, client_addr.0, Some(original_dst));
        refused::record(shared, early.refused(failure, app.clone(), addresses, host)).await;
        return say(client, 503, failure.words()).await;
    }
    let dialler = PlainDialler { worker, to: original_dst, ready: &ready };
    let Ok(origin) = dialler.dial_once().await else {
        let failure = Failure::UpstreamConnect;
        log_failure(failure, client_addr.0, Some(original_dst));
        match app {
            Some(app) => refused::record(shared, early.refused(failure, app, addresses, host)).await,
            None => refused::count(shared, failure),
        }
        return abort(client.stream);
    };
    let ended = match app {
        Some(app) => {
            guard.set_app(&app.id);
            guard.set_path(Path::Inspected);
            let session = early.session(worker, host, app, addresses, origin.local_addr().ok()).await;
            let exchanges = Inspected { judge: Judge::new(shared, &session, guard), dialler, guard };
            let ended = h1::serve(&mut client, origin, &exchanges, &limits.http1, &limits.timeouts).await;
            record_end(shared, guard, &session, &ended);
            ended
        }
        None if unexplained => {
            guard.set_path(Path::Spliced);
            let failure = if first.is_some() { Failure::Misdirected } else { Failure::RequestFraming };
            let found =
                unnamed(worker, owner.as_ref(), (client, origin), limits.timeouts.tunnel, (failure, guard))
                    .await;
            if let Some((app, host)) = found {
                log_failure(failure, client_addr.0, Some(original_dst));
                refused::record(shared, early.refused(failure, app, addresses, &host)).await;
            }
            return;
        }
        None => {
            guard.set_path(Path::Spliced);
            let at_address = refused::app_at(worker, &snapshot, asked.as_ref(), original_dst);
            let session = early.session(worker, host, at_address, addresses, origin.local_addr().ok()).await;
            let exchanges = Unmonitored { worker, session, dialler, guard };
            h1::serve(&mut client, origin, &exchanges, &limits.http1, &limits.timeouts).await
        }
    };
    log_end(&ended, host);
}

/// What a client's first words are.
enum First {
    /// A request, and its host: empty where it names none.
    Host(String),
    Refused(Refusal),
    /// The client went away, or its request did not come in time.
    Gone,
}

/// The host of the first request, without consuming it. `or_else_relayed`: what is none is not waited for.
async fn first_host(client: &mut Side<TcpStream>, limits: &Limits, or_else_relayed: bool) -> First {
    let mut reader = RequestReader::new(Target::Origin);
    let read = async {
        loop {
            match reader.read(client.input.unread(), &limits.http1) {
                Parsed::Complete(head, _) => return First::Host(host_of(&head)),
                Parsed::Refused(refusal) => return First::Refused(refusal),
                Parsed::More if or_else_relayed && !named_hosts::begins_request(client.input.unread()) => {
                    return First::Refused(Refusal::StartLine);
                }
                Parsed::More => {}
            }
            if !matches!(client.fill().await, Ok(count) if count > 0) {
                return First::Gone;
            }
        }
    };
    match timeout(limits.timeouts.request_head, read).await.unwrap_or(First::Gone) {
        First::Gone if or_else_relayed => First::Refused(Refusal::Truncated),
        first => first,
    }
}

/// Whether a request in a tunnel is for another host than the tunnel was asked for, as with TLS.
fn contradicts(asked: Option<&AskedFor>, host: &str, snapshot: &Snapshot) -> bool {
    names_a_site(host) && asked.is_some_and(|asked| asked.contradicts(host, snapshot))
}

/// Relays what is for nobody monitored, and ends it when the client names a monitored app after all: in a later request, or
/// in words that are no HTTP to us but may be to a server. Returns what was named.
async fn unnamed(
    worker: &Worker,
    owner: Option<&Flow>,
    (mut client, origin): (Side<TcpStream>, TcpStream),
    idle: Duration,
    (failure, guard): (Failure, &ConnectionGuard),
) -> Option<(Arc<App>, String)> {
    let mut origin = Side::new(origin);
    // Misdirected: a request was read, and its host.
    let mut named =
        if failure == Failure::Misdirected { NamedHosts::of_http() } else { NamedHosts::default() };
    let mut found = None;
    let mut first = true;
    let goes_on = |said: &[u8]| {
        let wanted = named.read(said, |host| {
            let snapshot = worker.shared.snapshot.load();
            let app = snapshot.catalog.lookup(host).filter(|app| snapshot.policies.selects(app));
            found = app.map(|app| (app.clone(), host.to_owned()));
            found.is_some()
        });
        if std::mem::take(&mut first) && named.is_foreign() {
            worker.note_unmonitored(owner, said);
        }
        !wanted
    };
    let mut relayed = Relayed::default();
    let ended = relay_while(&mut client, &mut origin, idle, &mut relayed, goes_on).await;
    count(guard, relayed.to_origin, relayed.to_client);
    match ended {
        Ok(()) => return None,
        // Nothing that the client has been told stands in the way of an answer.
        Err(RelayError::Heard) if relayed.to_client == 0 => {
            let status = if failure == Failure::Misdirected { 421 } else { 400 };
            say(client, status, failure.words()).await;
        }
        Err(_) => abort(client.stream),
    }
    abort(origin.stream);
    found
}

/// Answers the client ourselves and closes.
async fn say(mut client: Side<TcpStream>, status: u16, words: &str) {
    let answer = Answer::failure(status, words);
    let head = RequestHead::new("GET", "/", Version::Http11);
    if answer.write(&head, false, client.out()).is_ok() {
        let _ = client.shutdown().await;
    }
}

/// Clear text to a host that no policy selects, at an address that a monitored name shares: nothing is judged or
/// recorded, but a later request for a monitored host is sent to a connection of its own.
struct Unmonitored<'a> {
    worker: &'a Worker,
    /// Of the app that the address belongs to: what a refusal is recorded with.
    session: Session,
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
                failure = Failure::NoHost.name(),
                "refused: a request in clear text names no host"
            );
            let shared = &self.worker.shared;
            let app = shared.recorder.metrics.app(&self.session.app.id);
            refused::in_session(shared, &app, &self.session, Failure::NoHost, Some(request));
            return Some(Answer::failure(421, "at this address a request must name its host"));
        }
        let snapshot = self.worker.shared.snapshot.load();
        let app = snapshot.catalog.lookup(&host).filter(|app| snapshot.policies.selects(app))?;
        let session = Session { app: app.clone(), server_name: host.into(), ..self.session.clone() };
        let metrics = self.worker.shared.recorder.metrics.app(&app.id);
        refused::in_session(&self.worker.shared, &metrics, &session, Failure::Misdirected, Some(request));
        Some(Judge::misdirected())
    }

    fn response(&self, _: &RequestHead, _: &ResponseHead, _: &Sent, _: Option<Held<'_>>) -> Option<Answer> {
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
