//! A client that stays silent at an unexplained address: the server may speak first, but the client's first words are
//! still peeked at when they come, so that waiting earns nobody a way past the agent.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::buffer::Input;
use super::dial;
use super::refused::{self, Refused};
use super::side::Side;
use super::untouched::{abort, log_failure, relay_counted};
use super::who::Early;
use super::worker::{Accepted, Worker};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::{Direction, Path};
use crate::tls::{self, PeekDeadlines, Peeked, ServerName};

/// Bytes of the server copied at a time while the client is silent.
const GREETING: usize = 4096;
/// How long the rest of a hello may take once it has begun.
const HELLO: Duration = Duration::from_secs(10);

/// Relays the server's words until the client says something. When the server had nothing to say, the client's words
/// are for the pipeline to judge, as if they had come at once; else the connection is served here.
pub(super) async fn first_words(
    worker: &Rc<Worker>,
    mut accepted: Accepted,
    guard: &mut ConnectionGuard,
) -> Option<(Accepted, Peeked)> {
    let dialled = worker.dialer.dial_or_take(&accepted.ready, accepted.original_dst).await;
    let mut origin = match dialled {
        Ok(origin) => origin,
        Err(error) => {
            worker.shared.recorder.metrics.upstream_failure(dial::failure_name(&error));
            abort(accepted.stream);
            return None;
        }
    };
    let silence = worker.shared.limits().timeouts.tunnel;
    let deadlines = PeekDeadlines { first_byte: silence, total: silence + HELLO };
    let Some((peeked, greeted)) = greet(&mut accepted.stream, &mut origin, deadlines, guard).await else {
        abort(accepted.stream);
        return None;
    };
    if !greeted && !matches!(peeked, Peeked::TimedOut { .. } | Peeked::Closed { .. }) {
        accepted.ready.keep(origin);
        return Some((accepted, peeked));
    }
    let bytes = match unmonitored(worker, &accepted, peeked).await {
        Ok(bytes) => bytes,
        Err((failure, monitored)) => {
            log_failure(failure, accepted.client.0, Some(accepted.original_dst));
            match monitored {
                Some(monitored) => refused::record(&worker.shared, *monitored).await,
                None => refused::count(&worker.shared, failure),
            }
            abort(accepted.stream);
            return None;
        }
    };
    worker.note_unmonitored(accepted.owner.as_ref(), &bytes);
    guard.set_path(Path::Spliced);
    let mut client = Side::new(accepted.stream);
    client.input = Input::with_bytes(bytes);
    relay_counted(client, Side::new(origin), silence, guard).await;
    None
}

/// Copies from the origin until the client's first words are clear, and says whether the origin said anything; `None`
/// when a connection broke.
async fn greet(
    client: &mut tokio::net::TcpStream,
    origin: &mut tokio::net::TcpStream,
    deadlines: PeekDeadlines,
    guard: &ConnectionGuard,
) -> Option<(Peeked, bool)> {
    let (mut from_client, mut to_client) = client.split();
    let mut peeked = pin!(tls::peek(&mut from_client, deadlines));
    let mut greeting = [0; GREETING];
    let mut origin_open = true;
    let mut greeted = false;
    loop {
        tokio::select! {
            peeked = &mut peeked => return Some((peeked, greeted)),
            read = origin.read(&mut greeting), if origin_open => {
                greeted = true;
                match read.ok()? {
                    0 => {
                        to_client.shutdown().await.ok()?;
                        origin_open = false;
                    }
                    count => {
                        to_client.write_all(greeting.get(..count)?).await.ok()?;
                        guard.relayed(Direction::ToClient, count as u64);
                    }
                }
            }
        }
    }
}

/// The bytes to send on, when the client's first words behind a greeting are not for a monitored app.
async fn unmonitored(
    worker: &Worker,
    accepted: &Accepted,
    peeked: Peeked,
) -> Result<Vec<u8>, (Failure, Option<Box<Refused<'static>>>)> {
    match peeked {
        Peeked::Tls { hello, bytes } => {
            let ServerName::Name(name) = &hello.server_name else { return Ok(bytes) };
            let snapshot = worker.shared.snapshot.load();
            match snapshot.catalog.lookup(name).filter(|app| snapshot.policies.selects(app)) {
                // No app greets before TLS: whoever answers there is none, and gets no hello for one.
                Some(app) => {
                    let failure = Failure::UnknownProtocol;
                    let addresses = (accepted.client, accepted.original_dst);
                    let refused = Early::of(accepted).await.refused(failure, app.clone(), addresses, name);
                    Err((failure, Some(Box::new(refused))))
                }
                None => Ok(bytes),
            }
        }
        Peeked::Plain { bytes } | Peeked::Closed { bytes } => Ok(bytes),
        Peeked::Malformed { .. } => Err((Failure::ClientHelloUnparsable, None)),
        Peeked::TooLarge { .. } => Err((Failure::ClientHelloTooLarge, None)),
        Peeked::TimedOut { .. } => Err((Failure::ClientHelloTimeout, None)),
    }
}
