//! Connecting to the origin: only ever to the original destination the kernel recorded, marked as the agent's own.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::addr::OriginalDst;
use crate::steering::OwnSockets;

/// A connection to the origin that was made before it was known what it is for. Serves once.
#[derive(Debug, Default)]
pub struct Ready(RefCell<Option<TcpStream>>);

impl Ready {
    pub fn new(origin: TcpStream) -> Self {
        Self(RefCell::new(Some(origin)))
    }
}

/// One worker thread's way out.
pub struct Dialer {
    /// Absent where the kernel steers nothing.
    own: Option<RefCell<OwnSockets>>,
    deadline: Duration,
}

impl Dialer {
    pub fn new(own: Option<OwnSockets>, deadline: Duration) -> Self {
        Self { own: own.map(RefCell::new), deadline }
    }

    /// The connection that is ready, else a new one.
    pub async fn dial_or_take(&self, ready: &Ready, to: OriginalDst) -> io::Result<TcpStream> {
        let ready = ready.0.borrow_mut().take();
        match ready {
            Some(origin) => Ok(origin),
            None => self.dial(to).await,
        }
    }

    /// A connection to the original destination that the kernel will not steer back.
    pub async fn dial(&self, to: OriginalDst) -> io::Result<TcpStream> {
        let socket = match to.0 {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(own) = &self.own {
            own.borrow_mut().mark(&socket).map_err(io::Error::other)?;
        }
        socket.set_nodelay(true)?;
        match timeout(self.deadline, socket.connect(to.0)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

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
