//! The agent's listening sockets, one set per worker on the same port, and the accept loop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::proxy::connection::serve;
use crate::proxy::worker::Worker;
use crate::steering::OwnSockets;

/// Connections waiting to be accepted, per socket.
const BACKLOG: i32 = 4096;
/// Connections one worker serves at a time, where there are descriptors for them. Beyond it the backlog fills and
/// clients wait.
const CONNECTIONS: usize = 32_768;
/// Descriptors of a connection: the client's, the origin's.
const DESCRIPTORS_EACH: usize = 2;
/// Descriptors for everything else: maps, listeners, the log, the admin side.
const DESCRIPTORS_BESIDE: usize = 256;
/// Pause after an accept that failed for want of descriptors or memory, so that the loop does not spin.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Sockets of all workers, bound before the first program is attached.
pub struct Listeners {
    pub v4: SocketAddr,
    /// Absent where the host has no IPv6.
    pub v6: Option<SocketAddr>,
    per_worker: Vec<Sockets>,
}

/// Connections that each of `workers` may serve with `descriptors` in the whole process.
pub fn connections_each(descriptors: u64, workers: usize) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let each = descriptors.saturating_sub(DESCRIPTORS_BESIDE) / DESCRIPTORS_EACH / workers.max(1);
    each.clamp(1, CONNECTIONS)
}

/// One worker's sockets.
pub struct Sockets {
    v4: std::net::TcpListener,
    v6: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Binds `workers` sockets to each loopback address. Port 0 takes a free one, the same for all workers.
    pub fn bind(listen: SocketAddr, workers: usize) -> io::Result<Self> {
        let host = if listen.is_ipv4() { listen.ip() } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let first = bind(SocketAddr::new(host, listen.port()))?;
        let v4 = first.local_addr()?;
        let wanted_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.port());
        let first_v6 = match bind(wanted_v6) {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        let v6 = first_v6.is_some().then_some(wanted_v6);
        let mut per_worker = vec![Sockets { v4: first, v6: first_v6 }];
        for _ in 1..workers {
            per_worker.push(Sockets { v4: bind(v4)?, v6: v6.map(bind).transpose()? });
        }
        Ok(Self { v4, v6, per_worker })
    }

    /// Marks every socket as the agent's own: by this mark the kernel programs know the agent's network namespace.
    pub fn mark(&self, own: &mut OwnSockets) -> io::Result<()> {
        for sockets in &self.per_worker {
            for socket in std::iter::once(&sockets.v4).chain(&sockets.v6) {
                own.mark(socket).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    pub fn into_sockets(self) -> Vec<Sockets> {
        self.per_worker
    }
}

/// SO_REUSEPORT spreads connections over the workers' sockets by a hash of the addresses.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and serves up to `most` connections at a time until `stop` resolves; then nothing more is accepted, and what runs gets until `drain`.
pub async fn run(
    worker: Rc<Worker>,
    sockets: Sockets,
    most: usize,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()> {
    let v4 = TcpListener::from_std(sockets.v4)?;
    let v6 = sockets.v6.map(TcpListener::from_std).transpose()?;
    let port = v4.local_addr()?.port();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let free = connections.len() < most;
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = v4.accept(), if free => accepted,
            accepted = accept_on(v6.as_ref()), if free && v6.is_some() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                connections.spawn_local(serve(worker.clone(), stream, client, port));
            }
            Err(error) => {
                tracing::warn!("accepting a connection: {error}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    drop((v4, v6));
    let _ = tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn accept_on(listener: Option<&TcpListener>) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_before_descriptors_do() {
        for (descriptors, workers, expected) in
            [(1024, 2, 192), (524_288, 8, 32_752), (u64::MAX, 4, CONNECTIONS), (0, 1, 1)]
        {
            assert_eq!(connections_each(descriptors, workers), expected, "{descriptors} / {workers}");
        }
    }

    #[test]
    fn all_workers_share_one_free_port() {
        let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(listeners.v4.port(), 0);
        assert!(listeners.v6.is_none_or(|v6| v6.port() == listeners.v4.port()));
        assert_eq!(listeners.into_sockets().len(), 3);
    }
}
