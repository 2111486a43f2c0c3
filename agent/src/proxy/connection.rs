//! The pipeline of one connection: peek, decide whether to inspect, then inspect or relay. The one place that sees
//! every stage.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::dial::Ready;
use super::share::Holder;
use super::untouched::{abort, log_failure, untouched};
use super::who::Early;
use super::worker::{Accepted, Worker};
use super::{ech, explicit, inspect, late, plain, refused};
use crate::addr::{ClientAddr, OriginalDst};
use crate::catalog::App;
use crate::http::named_hosts;
use crate::policy::failure_mode::{self, Failure, Outcome};
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::Path;
use crate::reload::Snapshot;
use crate::steering::FlowMiss;
use crate::tls::{self, ClientHello, PeekDeadlines, Peeked, ServerName};

/// What the connection is known to want, once its first bytes were read.
enum Wish {
    /// TLS to a name.
    Tls {
        hello: ClientHello,
        name: String,
    },
    /// Something that begins like an HTTP request in clear text.
    PlainHttp,
    Failed(Failure),
    /// The client went away before it said anything.
    Gone,
}

/// Serves one accepted connection to its end.
///
/// Each stage behind the first look is a box of its own: a connection that waits for its next request holds the memory of
/// that stage, and not of the largest one it came through.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, client: SocketAddr, listener_port: u16) {
    let mut guard = ConnectionGuard::begin(&worker.shared.recorder.metrics);
    let Some(arrivals) = &worker.arrivals else {
        return Box::pin(explicit::serve(&worker, stream, client, &mut guard)).await;
    };
    // Heads and small bodies must not wait for each other's acknowledgements.
    let _ = stream.set_nodelay(true);
    let taken = match stream.local_addr() {
        Ok(local) => arrivals.borrow_mut().take(client, local, listener_port),
        // Reset before it was accepted.
        Err(_) => return,
    };
    let arrival = match taken {
        Ok(arrival) => arrival,
        Err(miss) => {
            // Nobody is dialled for a connection that the kernel did not steer.
            if let FlowMiss::Kernel(_) = miss {
                tracing::warn!(%client, "{miss}");
            }
            log_failure(Failure::OriginalDestinationMissing, client, None);
            refused::count(&worker.shared, Failure::OriginalDestinationMissing);
            abort(stream);
            return;
        }
    };
    let (holder, peek, ready) = match &arrival.owner {
        Some(flow) => (Holder::User(flow.uid), worker.shared.peek, Ready::default()),
        None => (Holder::of_host(client.ip()), PeekDeadlines::REMOTE, Ready::behind(client)),
    };
    let Some(_share) = worker.shares.take(holder) else {
        // Counted as refused. Not logged: it comes in floods.
        tracing::debug!(%client, ?holder, "refused: the client holds a full share of the connections");
        abort(stream);
        return;
    };
    let accepted = Accepted {
        stream,
        client: ClientAddr(client),
        original_dst: OriginalDst(arrival.original_dst),
        unexplained: arrival.unexplained,
        owner: arrival.owner,
        ready,
        peek,
        asked: None,
    };
    Box::pin(route(&worker, accepted, &mut guard)).await;
}

/// The way of a connection whose destination is known.
pub(super) async fn route(worker: &Rc<Worker>, mut accepted: Accepted, guard: &mut ConnectionGuard) {
    let mut peeked = tls::peek(&mut accepted.stream, accepted.peek).await;
    let unexplained = accepted.unexplained;
    if unexplained && matches!(&peeked, Peeked::TimedOut { bytes } if bytes.is_empty()) {
        match Box::pin(late::first_words(worker, accepted, guard)).await {
            Some((still, words)) => (accepted, peeked) = (still, words),
            None => return,
        }
    }
    let (wish, bytes) = wish_of(peeked, unexplained);
    match way_of(worker, &accepted, wish) {
        Way::Gone => {}
        Way::Refused(failure, name) => {
            Box::pin(fail(worker, accepted, bytes, (failure, &name), guard)).await;
        }
        Way::PlainHttp => Box::pin(plain::plain(worker, accepted, bytes, guard)).await,
        Way::Bypassed(app, name) => {
            guard.set_app(&app.id);
            guard.set_path(Path::Bypassed);
            tracing::info!(app = %app.id, name, "bypassed: the name is in [tls] bypass");
            Box::pin(untouched(worker, accepted, bytes, guard)).await;
        }
        Way::Inspected(app, name, offered) => {
            guard.set_app(&app.id);
            Box::pin(inspect::tls(worker, accepted, bytes, &offered, &name, app, guard)).await;
        }
        Way::NameHidden(name) => {
            log_failure(Failure::ServerNameHidden, accepted.client.0, Some(accepted.original_dst));
            Box::pin(record(worker, &accepted, (Failure::ServerNameHidden, &name), guard)).await;
            Box::pin(ech::switch_off(worker, accepted, bytes, &name)).await;
        }
        Way::Unmonitored => {
            worker.note_unmonitored(accepted.owner.as_ref(), &bytes);
            guard.set_path(Path::Spliced);
            Box::pin(untouched(worker, accepted, bytes, guard)).await;
        }
    }
}

/// Where a connection goes, with what is needed there: it may last for hours, and the set that this was decided by need not.
enum Way {
    Gone,
    /// With the server name that was asked for, empty when there is none.
    Refused(Failure, String),
    PlainHttp,
    Bypassed(Arc<App>, String),
    /// With the protocols that the client offered.
    Inspected(Arc<App>, String, Vec<Vec<u8>>),
    NameHidden(String),
    Unmonitored,
}

fn way_of(worker: &Worker, accepted: &Accepted, wish: Wish) -> Way {
    let (hello, name) = match wish {
        Wish::Gone => return Way::Gone,
        Wish::Failed(failure) => return Way::Refused(failure, String::new()),
        Wish::PlainHttp => return Way::PlainHttp,
        Wish::Tls { hello, name } => (hello, name),
    };
    let snapshot = &**worker.shared.snapshot.load();
    if contradicts(accepted, &hello, &name, snapshot) {
        return Way::Refused(Failure::TunnelNameDiffers, name);
    }
    match app_of(worker, accepted, &name, snapshot) {
        Some(app) if is_bypassed(snapshot, &name) => Way::Bypassed(app, name),
        Some(app) if snapshot.policies.selects(&app) => Way::Inspected(app, name, hello.alpn),
        _ if ech::hides_its_name(&hello, &name, &snapshot.config.tls.ech_public_names) => {
            Way::NameHidden(name)
        }
        _ => Way::Unmonitored,
    }
}

/// The app that a name belongs to; at storage, the one that led its client there.
fn app_of(worker: &Worker, accepted: &Accepted, name: &str, snapshot: &Snapshot) -> Option<Arc<App>> {
    let app = snapshot.catalog.lookup(name)?;
    let source = worker.shared.led.source(accepted, (app, name), snapshot);
    Some(source.unwrap_or_else(|| app.clone()))
}

/// At an unexplained address, what is no TLS or names nobody belongs to nobody that is monitored. What begins like TLS
/// and cannot be read is refused there as well: another reader might make sense of it.
fn wish_of(peeked: Peeked, unexplained: bool) -> (Wish, Vec<u8>) {
    let or_relayed = |failure| Wish::Failed(if unexplained { Failure::UnexplainedProtocol } else { failure });
    match peeked {
        Peeked::Tls { hello, bytes } => match &hello.server_name {
            ServerName::Name(name) => (Wish::Tls { name: name.clone(), hello }, bytes),
            ServerName::Absent => (or_relayed(Failure::NoServerName), bytes),
            ServerName::Unusable => (or_relayed(Failure::ServerNameUnusable), bytes),
        },
        // A method is what tells HTTP from everything else; the codec does the judging. What would be refused as another
        // protocol need not be told from it as some server might.
        Peeked::Plain { bytes }
            if bytes.first().is_some_and(u8::is_ascii_uppercase)
                || unexplained && named_hosts::may_begin_request(&bytes) =>
        {
            (Wish::PlainHttp, bytes)
        }
        Peeked::Plain { bytes } => (or_relayed(Failure::UnknownProtocol), bytes),
        Peeked::Malformed { bytes } => (Wish::Failed(Failure::ClientHelloUnparsable), bytes),
        Peeked::TooLarge { bytes } => (Wish::Failed(Failure::ClientHelloTooLarge), bytes),
        Peeked::TimedOut { bytes } if bytes.is_empty() => (Wish::Failed(Failure::ClientSilent), bytes),
        Peeked::TimedOut { bytes } => (Wish::Failed(Failure::ClientHelloTimeout), bytes),
        Peeked::Closed { bytes } => (Wish::Gone, bytes),
    }
}

/// Whether the client told the proxy one thing and says another. A hello that hides its name is not held to it yet.
fn contradicts(accepted: &Accepted, hello: &ClientHello, name: &str, snapshot: &Snapshot) -> bool {
    !ech::hides_its_name(hello, name, &snapshot.config.tls.ech_public_names)
        && accepted.asked.as_ref().is_some_and(|asked| asked.contradicts(name, snapshot))
}

pub(super) fn is_bypassed(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.config.tls.bypass.iter().any(|pattern| pattern.matches(name))
}

/// What the failure table says, done. `name`: the server name that was asked for, empty when there is none.
pub(super) async fn fail(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    (failure, name): (Failure, &str),
    guard: &mut ConnectionGuard,
) {
    log_failure(failure, accepted.client.0, Some(accepted.original_dst));
    match failure_mode::outcome(failure) {
        Outcome::Relay | Outcome::Continue => {
            worker.note_unmonitored(accepted.owner.as_ref(), &bytes);
            guard.set_path(Path::Spliced);
            untouched(worker, accepted, bytes, guard).await;
        }
        Outcome::Refuse => {
            record(worker, &accepted, (failure, name), guard).await;
            abort(accepted.stream);
        }
    }
}

/// Records a refused connection for the app that its address belongs to. At an address that nothing explains it may
/// be anybody's, and is only counted.
async fn record(
    worker: &Worker,
    accepted: &Accepted,
    (failure, name): (Failure, &str),
    guard: &mut ConnectionGuard,
) {
    if accepted.unexplained {
        return refused::count(&worker.shared, failure);
    }
    let early = Early::of(accepted).await;
    let app = refused::app_at(
        worker,
        &worker.shared.snapshot.load(),
        accepted.asked.as_ref(),
        accepted.original_dst,
    );
    guard.set_app(&app.id);
    let addresses = (accepted.client, accepted.original_dst);
    refused::record(&worker.shared, early.refused(failure, app, addresses, name)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_is_small() {
        // Once the stages had no boxes of their own, all of them together.
        assert!(size(serve) <= 1024, "{}", size(serve));
    }
}
