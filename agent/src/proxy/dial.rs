//! Connecting to the origin: only ever to the original destination the kernel recorded, marked as the agent's own; on a
//! gateway with the client's address, where that is asked for.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::addr::OriginalDst;
use crate::config::Dial;
use crate::reload;
use crate::steering::OwnSockets;

/// One client's way to its origin.
#[derive(Debug, Default)]
pub struct Ready {
    /// A connection that was made before it was known what it is for. Serves once.
    origin: RefCell<Option<TcpStream>>,
    /// The client, where it is another host whose address origins may see.
    client: Option<SocketAddr>,
}

impl Ready {
    /// For a client whose origin was reached already.
    pub fn new(origin: TcpStream) -> Self {
        Self { origin: RefCell::new(Some(origin)), ..Self::default() }
    }

    /// For a client on another host, whose packets come through here.
    pub fn behind(client: SocketAddr) -> Self {
        Self { client: Some(client), ..Self::default() }
    }

    /// Keeps a connection to the origin for whoever dials next.
    pub fn keep(&self, origin: TcpStream) {
        *self.origin.borrow_mut() = Some(origin);
    }
}

/// One worker thread's way out.
pub struct Dialer {
    /// Absent where the kernel steers nothing.
    own: Option<RefCell<OwnSockets>>,
    current: reload::Current,
    dial: Dial,
}

impl Dialer {
    pub fn new(own: Option<OwnSockets>, current: reload::Current, dial: Dial) -> Self {
        Self { own: own.map(RefCell::new), current, dial }
    }

    /// The connection that is ready, else a new one.
    pub async fn dial_or_take(&self, ready: &Ready, to: OriginalDst) -> io::Result<TcpStream> {
        let made = ready.origin.borrow_mut().take();
        match (made, ready.client) {
            (Some(origin), _) => Ok(origin),
            (None, Some(client)) if self.dial == Dial::Client => self.dial_as(client, to).await,
            (None, _) => self.dial(to).await,
        }
    }

    /// From the client's own address and port: the two of them and the origin's are one connection's, which never comes to
    /// the origin from the client itself. Should the port be taken here (by an earlier connection that is not over yet),
    /// any other has to do.
    async fn dial_as(&self, client: SocketAddr, to: OriginalDst) -> io::Result<TcpStream> {
        match self.dial_from(Some(client), to).await {
            Err(error) if is_taken(&error) => self.dial_from(Some(SocketAddr::new(client.ip(), 0)), to).await,
            dialled => dialled,
        }
    }

    /// A connection to the original destination that the kernel will not steer back.
    pub async fn dial(&self, to: OriginalDst) -> io::Result<TcpStream> {
        self.dial_from(None, to).await
    }

    async fn dial_from(&self, from: Option<SocketAddr>, to: OriginalDst) -> io::Result<TcpStream> {
        let socket = match to.0 {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(own) = &self.own {
            own.borrow_mut().mark(&socket).map_err(io::Error::other)?;
        }
        socket.set_nodelay(true)?;
        if let Some(from) = from {
            // Another host's address; answers to it come here because a program tells them apart.
            let options = SockRef::from(&socket);
            match from {
                SocketAddr::V4(_) => options.set_ip_transparent_v4(true)?,
                SocketAddr::V6(_) => options.set_ip_transparent_v6(true)?,
            }
            socket.set_reuseaddr(true)?;
            socket.bind(from)?;
        }
        let deadline = self.current.load().config.limits.timeouts.connect;
        match timeout(deadline, socket.connect(to.0)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// Every name of [`failure_name`].
pub const FAILURES: [&str; 5] = ["refused", "connect-timeout", "unreachable", "reset", "connect"];

/// Stable names of what goes wrong before TLS begins, for the metric `portcullis_upstream_failures_total`.
pub fn failure_name(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::TimedOut => "connect-timeout",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::ConnectionReset => "reset",
        _ => "connect",
    }
}
