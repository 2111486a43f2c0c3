//! Connections that are not inspected: copied without a look, or ended.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::buffer::Input;
use super::dial;
use super::relay::{Relayed, relay};
use super::side::Side;
use super::worker::{Accepted, Worker};
use crate::addr::OriginalDst;
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::record::metrics::Direction;

/// Says what failed, in the failure table's words.
pub(super) fn log_failure(failure: Failure, client: SocketAddr, to: Option<OriginalDst>) {
    let to = to.map(|to| to.to_string());
    tracing::info!(failure = failure.name(), %client, to, "{}", failure.words());
}

/// Copies both directions without looking: the client sees the origin's own certificate.
pub(super) async fn untouched(
    worker: &Rc<Worker>,
    accepted: Accepted,
    bytes: Vec<u8>,
    guard: &mut ConnectionGuard,
) {
    let origin = match worker.dialer.dial_or_take(&accepted.ready, accepted.original_dst).await {
        Ok(origin) => origin,
        Err(error) => {
            worker.shared.recorder.metrics.upstream_failure(dial::failure_name(&error));
            abort(accepted.stream);
            return;
        }
    };
    let mut client = Side::new(accepted.stream);
    client.input = Input::with_bytes(bytes);
    let silence = worker.shared.limits().timeouts.tunnel;
    relay_counted(client, Side::new(origin), silence, guard).await;
}

/// Relays to the end, or to a silence of that length, and counts; what broke on one side breaks on the other, as it would have without us.
pub(super) async fn relay_counted(
    mut client: Side<TcpStream>,
    mut origin: Side<TcpStream>,
    silence: Duration,
    guard: &ConnectionGuard,
) {
    let mut relayed = Relayed::default();
    let ended = relay(&mut client, &mut origin, silence, &mut relayed).await;
    guard.relayed(Direction::ToOrigin, relayed.to_origin);
    guard.relayed(Direction::ToClient, relayed.to_client);
    if ended.is_err() {
        abort(client.stream);
        abort(origin.stream);
    }
}

/// Closes with a reset: the other end sees a failure, not an orderly end.
pub(super) fn abort(stream: TcpStream) {
    // Lost is at most the reset itself.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Writes what is left to say and closes in order.
pub(super) async fn say_and_close(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}
