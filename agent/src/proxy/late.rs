//! A client that stays silent at an unexplained address: the server may speak first, but the client's first words are
//! still peeked at when they come, so that waiting earns nobody a way past the agent.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::buffer::Input;
use super::dial;
use super::relay::UNTOUCHED_IDLE;
use super::side::Side;
use super::untouched::{abort, log_failure, relay_counted};
use super::worker::{Accepted, Worker};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::{Direction, Path};
use crate::tls::{self, PeekDeadlines, Peeked, ServerName};

/// Bytes of the server copied at a time while the client is silent.
const GREETING: usize = 4096;
/// How long the rest of a hello may take once it has begun.
const HELLO: Duration = Duration::from_secs(10);

/// Relays the server's words until the client says something, then decides.
pub(super) async fn serve(worker: &Rc<Worker>, accepted: Accepted, guard: &mut ConnectionGuard) {
    let Accepted { stream: mut client, client: address, original_dst, .. } = accepted;
    let mut origin = match worker.dialer.dial(original_dst).await {
        Ok(origin) => origin,
        Err(error) => {
            worker.shared.recorder.metrics.upstream_failure(dial::failure_name(&error));
            return abort(client);
        }
    };
    let deadlines = PeekDeadlines { first_byte: UNTOUCHED_IDLE, total: UNTOUCHED_IDLE + HELLO };
    let Some(peeked) = greet(&mut client, &mut origin, deadlines, guard).await else {
        return abort(client);
    };
    let Some(bytes) = unmonitored(worker, peeked) else {
        log_failure(Failure::ClientHelloTimeout, address.0, Some(original_dst));
        return abort(client);
    };
    guard.set_path(Path::Spliced);
    let mut client = Side::new(client);
    client.input = Input::with_bytes(bytes);
    relay_counted(client, Side::new(origin), guard).await;
}

/// Copies from the origin until the client's first words are clear; `None` when a connection broke.
async fn greet(
    client: &mut tokio::net::TcpStream,
    origin: &mut tokio::net::TcpStream,
    deadlines: PeekDeadlines,
    guard: &ConnectionGuard,
) -> Option<Peeked> {
    let (mut from_client, mut to_client) = client.split();
    let mut peeked = pin!(tls::peek(&mut from_client, deadlines));
    let mut greeting = [0; GREETING];
    let mut origin_open = true;
    loop {
        tokio::select! {
            peeked = &mut peeked => return Some(peeked),
            read = origin.read(&mut greeting), if origin_open => match read.ok()? {
                0 => {
                    to_client.shutdown().await.ok()?;
                    origin_open = false;
                }
                count => {
                    to_client.write_all(greeting.get(..count)?).await.ok()?;
                    guard.relayed(Direction::ToClient, count as u64);
                }
            },
        }
    }
}

/// The bytes to send on, when the client's first words are not for a monitored app.
fn unmonitored(worker: &Worker, peeked: Peeked) -> Option<Vec<u8>> {
    match peeked {
        Peeked::Tls { hello, bytes } => {
            let snapshot = worker.shared.snapshot.load();
            let monitored = match &hello.server_name {
                ServerName::Name(name) => {
                    snapshot.catalog.lookup(name).is_some_and(|app| snapshot.policies.selects(app))
                }
                ServerName::Absent | ServerName::Unusable => false,
            };
            (!monitored).then_some(bytes)
        }
        Peeked::Plain { bytes } | Peeked::Closed { bytes } => Some(bytes),
        Peeked::Malformed { .. } | Peeked::TooLarge { .. } | Peeked::TimedOut { .. } => None,
    }
}
