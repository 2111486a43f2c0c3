//! HTTP in clear text: which app it is for, if any, each request says.

use std::net::IpAddr;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::buffer::Input;
use super::enforce::Answer;
use super::exchanges::Exchanges;
use super::h1;
use super::inspect::{Inspected, count, log_end, record_end};
use super::judge::{Judge, host_of};
use super::origin::{Dialler, PlainDialler};
use super::refused;
use super::side::Side;
use super::untouched::{abort, log_failure, relay_counted};
use super::who::Early;
use super::worker::{Accepted, Worker};
use crate::config::Limits;
use crate::http::h1::{Parsed, Peer, Refusal, RequestReader, Target};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::Path;
use crate::session::Session;

/// HTTP in clear text at an address of a monitored app. The first request's host says which app it is, if any.
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
    let Accepted { stream, client: client_addr, original_dst, ready, asked, .. } = accepted;
    let addresses = (client_addr, original_dst);
    let mut client = Side::new(stream);
    client.input = Input::with_bytes(bytes);
    let host = match first_host(&mut client, &limits).await {
        Ok(Some(host)) => host,
        Ok(None) => return,
        // What is no HTTP to us, at an address that belongs to nobody, is nobody's concern.
        Err(_) if unexplained => String::new(),
        Err(refusal) => {
            log_failure(Failure::RequestFraming, client_addr.0, Some(original_dst));
            let app = refused::app_at(worker, &shared.snapshot.load(), asked.as_ref(), original_dst);
            refused::record(shared, early.refused(Failure::RequestFraming, app, addresses, "")).await;
            let answer = Answer::failure(refusal.status(Peer::Client), &refusal.to_string());
            let head = RequestHead::new("GET", "/", Version::Http11);
            if answer.write(&head, false, client.out()).is_ok() {
                let _ = client.shutdown().await;
            }
            return;
        }
    };
    let snapshot = shared.snapshot.load_full();
    let app = snapshot.catalog.lookup(&host).filter(|app| snapshot.policies.selects(app)).cloned();
    let dialler = PlainDialler { worker, to: original_dst, ready: &ready };
    let Ok(origin) = dialler.dial_once().await else {
        let failure = Failure::UpstreamConnect;
        log_failure(failure, client_addr.0, Some(original_dst));
        match app {
            Some(app) => refused::record(shared, early.refused(failure, app, addresses, &host)).await,
            None => refused::count(shared, failure),
        }
        return abort(client.stream);
    };
    let ended = match app {
        Some(app) => {
            guard.set_app(&app.id);
            guard.set_path(Path::Inspected);
            let session = early.session(worker, &host, app, addresses, &origin).await;
            let exchanges = Inspected { judge: Judge::new(shared, &session, guard), dialler, guard };
            let ended = h1::serve(&mut client, origin, &exchanges, &limits.http1, &limits.timeouts).await;
            record_end(shared, guard, &session, &ended);
            ended
        }
        None if unexplained => {
            guard.set_path(Path::Spliced);
            return relay_counted(client, Side::new(origin), limits.timeouts.tunnel, guard).await;
        }
        None => {
            guard.set_path(Path::Spliced);
            let at_address = refused::app_at(worker, &snapshot, asked.as_ref(), original_dst);
            let session = early.session(worker, &host, at_address, addresses, &origin).await;
            let exchanges = Unmonitored { worker, session, dialler, guard };
            h1::serve(&mut client, origin, &exchanges, &limits.http1, &limits.timeouts).await
        }
    };
    log_end(&ended, &host);
}

/// The host of the first request, without consuming it. `None` when the client went away first.
async fn first_host(client: &mut Side<TcpStream>, limits: &Limits) -> Result<Option<String>, Refusal> {
    let mut reader = RequestReader::new(Target::Origin);
    let read = async {
        loop {
            match reader.read(client.input.unread(), &limits.http1) {
                Parsed::Complete(head, _) => return Ok(Some(host_of(&head))),
                Parsed::Refused(refusal) => return Err(refusal),
                Parsed::More => {}
            }
            if !matches!(client.fill().await, Ok(count) if count > 0) {
                return Ok(None);
            }
        }
    };
    timeout(limits.timeouts.request_head, read).await.unwrap_or(Ok(None))
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
