//! The agent's listening sockets, one set per worker on the same port, and the accept loop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::proxy::connection::serve;
use crate::proxy::worker::Worker;

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
    /// The sockets of an earlier run, when they are what would be bound; else new ones. `Ok((_, false))` says that the
    /// earlier ones did not fit, if there were any.
    pub fn take_over(
        earlier: Vec<std::net::TcpListener>,
        listen: SocketAddr,
        workers: usize,
    ) -> io::Result<(Self, bool)> {
        match Self::fitting(earlier, listen, workers)? {
            Some(listeners) => Ok((listeners, true)),
            None => Ok((Self::bind(listen, workers)?, false)),
        }
    }

    fn fitting(
        earlier: Vec<std::net::TcpListener>,
        listen: SocketAddr,
        workers: usize,
    ) -> io::Result<Option<Self>> {
        let Families { fours, sixes } = Families::of(earlier, false)?;
        let Some(v4) = fours.first().map(std::net::TcpListener::local_addr).transpose()? else {
            return Ok(None);
        };
        let wanted_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.port());
        let asked = (listen.is_ipv6() || listen.ip() == v4.ip()) && [0, v4.port()].contains(&listen.port());
        let same = |sockets: &[std::net::TcpListener], address| {
            sockets.iter().all(|socket| socket.local_addr().is_ok_and(|own| own == address))
        };
        let whole = fours.len() == workers && [0, workers].contains(&sixes.len());
        if !asked || !whole || !same(&fours, v4) || !same(&sixes, wanted_v6) {
            return Ok(None);
        }
        let v6 = (!sixes.is_empty()).then_some(wanted_v6);
        Ok(Some(Self { v4, v6, per_worker: paired(fours, sixes) }))
    }

    /// The same for transparent sockets.
    pub fn take_over_transparent(
        earlier: Vec<std::net::TcpListener>,
        workers: usize,
    ) -> io::Result<(Self, bool)> {
        let Families { fours, sixes } = Families::of(earlier, true)?;
        if fours.len() != workers.max(1) || ![0, fours.len()].contains(&sixes.len()) {
            return Ok((Self::bind_transparent(workers)?, false));
        }
        Ok((Self::of(paired(fours, sixes))?, true))
    }

    /// Every socket of every worker.
    pub fn sockets(&self) -> impl Iterator<Item = &std::net::TcpListener> {
        self.per_worker.iter().flat_map(|sockets| std::iter::once(&sockets.v4).chain(&sockets.v6))
    }

    /// Binds `workers` sockets to each loopback address. Port 0 takes a free one, the same for all workers.
    pub fn bind(listen: SocketAddr, workers: usize) -> io::Result<Self> {
        let host = if listen.is_ipv4() { listen.ip() } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let first = bind(SocketAddr::new(host, listen.port()))?;
        let v4 = first.local_addr()?;
        let wanted_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.port());
        let first_v6 = match bind(wanted_v6) {
            Ok(socket) => Some(socket),
            Err(error) if is_without_v6(&error) => None,
            Err(error) => return Err(error),
        };
        let v6 = first_v6.is_some().then_some(wanted_v6);
        let mut per_worker = vec![Sockets { v4: first, v6: first_v6 }];
        for _ in 1..workers {
            per_worker.push(Sockets { v4: bind(v4)?, v6: v6.map(bind).transpose()? });
        }
        Ok(Self { v4, v6, per_worker })
    }

    /// Transparent sockets for `workers`: they accept connections to any address, once the kernel is told which. Each has
    /// a port of its own, because kernels before 6.6 assign no packet to a socket that shares its port.
    pub fn bind_transparent(workers: usize) -> io::Result<Self> {
        let any_port = |host: IpAddr| SocketAddr::new(host, 0);
        let mut per_worker = Vec::new();
        for _ in 0..workers.max(1) {
            let v4 = bind_with(any_port(Ipv4Addr::LOCALHOST.into()), Port::Transparent)?;
            let v6 = match bind_with(any_port(Ipv6Addr::LOCALHOST.into()), Port::Transparent) {
                Ok(socket) => Some(socket),
                Err(error) if is_without_v6(&error) => None,
                Err(error) => return Err(error),
            };
            per_worker.push(Sockets { v4, v6 });
        }
        Self::of(per_worker)
    }

    fn of(per_worker: Vec<Sockets>) -> io::Result<Self> {
        let first = per_worker.first().ok_or(io::ErrorKind::InvalidInput)?;
        let v4 = first.v4.local_addr()?;
        let v6 = first.v6.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        Ok(Self { v4, v6, per_worker })
    }

    /// Each worker's sockets.
    pub fn pairs(&self) -> impl Iterator<Item = (&std::net::TcpListener, Option<&std::net::TcpListener>)> {
        self.per_worker.iter().map(|sockets| (&sockets.v4, sockets.v6.as_ref()))
    }

    /// Binds `workers` sockets to `listen` as it is, and where that is 127.0.0.1, to ::1 as well: the proxy of explicit
    /// mode. `v4` is then its address, of whatever family.
    pub fn bind_proxy(listen: SocketAddr, workers: usize) -> io::Result<Self> {
        if listen.ip() == Ipv4Addr::LOCALHOST {
            return Self::bind(listen, workers);
        }
        let first = bind(listen)?;
        let address = first.local_addr()?;
        let mut per_worker = vec![Sockets { v4: first, v6: None }];
        for _ in 1..workers {
            per_worker.push(Sockets { v4: bind(address)?, v6: None });
        }
        Ok(Self { v4: address, v6: None, per_worker })
    }

    pub fn into_sockets(self) -> Vec<Sockets> {
        self.per_worker
    }
}

/// Sockets of an earlier run by their family, in the order in which they were kept.
struct Families {
    fours: Vec<std::net::TcpListener>,
    sixes: Vec<std::net::TcpListener>,
}

impl Families {
    /// Those that are transparent, or those that are not: what is left over was another mode's.
    fn of(sockets: Vec<std::net::TcpListener>, transparent: bool) -> io::Result<Self> {
        let mut families = Self { fours: Vec::new(), sixes: Vec::new() };
        for socket in sockets {
            socket.set_nonblocking(true)?;
            let v4 = socket.local_addr()?.is_ipv4();
            let about = SockRef::from(&socket);
            let is = if v4 { about.ip_transparent_v4()? } else { about.ip_transparent_v6()? };
            if is == transparent {
                let list = if v4 { &mut families.fours } else { &mut families.sixes };
                list.push(socket);
            }
        }
        Ok(families)
    }
}

/// As many of the second family as of the first, or none.
fn paired(fours: Vec<std::net::TcpListener>, sixes: Vec<std::net::TcpListener>) -> Vec<Sockets> {
    let mut sixes = sixes.into_iter();
    fours.into_iter().map(|v4| Sockets { v4, v6: sixes.next() }).collect()
}

/// SO_REUSEPORT spreads connections over the workers' sockets by a hash of the addresses.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    bind_with(address, Port::Shared)
}

fn is_without_v6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// How a listener has its port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    /// With the other workers' sockets.
    Shared,
    /// For itself, and accepting connections to any address (needs CAP_NET_ADMIN).
    Transparent,
}

fn bind_with(address: SocketAddr, port: Port) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    match port {
        Port::Shared => socket.set_reuse_port(true)?,
        Port::Transparent if address.is_ipv6() => socket.set_ip_transparent_v6(true)?,
        Port::Transparent => socket.set_ip_transparent_v4(true)?,
    }
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
                // However many arrive at once, between two of them those that are served have a turn.
                tokio::task::yield_now().await;
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
    fn sockets_of_an_earlier_run_are_taken_over_when_they_fit() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let earlier = |workers| -> (SocketAddr, Vec<std::net::TcpListener>) {
            let listeners = Listeners::bind(any, workers).unwrap();
            let sockets = listeners.sockets().map(|socket| socket.try_clone().unwrap()).collect();
            (listeners.v4, sockets)
        };
        let (address, mut sockets) = earlier(2);
        sockets.reverse();
        let (listeners, taken) = Listeners::take_over(sockets, any, 2).unwrap();
        assert!(taken && listeners.v4 == address && listeners.sockets().count() >= 2);

        // Another number of workers, another port asked for, a socket missing, none at all.
        let (_, sockets) = earlier(2);
        assert!(!Listeners::take_over(sockets, any, 3).unwrap().1);
        let (address, sockets) = earlier(1);
        let other = Listeners::bind(any, 1).unwrap().v4;
        assert_ne!(address, other);
        assert!(!Listeners::take_over(sockets, other, 1).unwrap().1);
        let (_, mut sockets) = earlier(2);
        sockets.pop();
        sockets.remove(0);
        assert!(!Listeners::take_over(sockets, any, 2).unwrap().1);
        assert!(!Listeners::take_over(Vec::new(), any, 1).unwrap().1);
        // A host's are none of a gateway's.
        assert!(Families::of(earlier(2).1, true).unwrap().fours.is_empty());
    }

    #[test]
    fn all_workers_share_one_free_port() {
        let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(listeners.v4.port(), 0);
        assert!(listeners.v6.is_none_or(|v6| v6.port() == listeners.v4.port()));
        assert_eq!(listeners.into_sockets().len(), 3);
    }
}
