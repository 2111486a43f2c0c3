//! TCP sockets of the agent's network namespace, listed and closed through NETLINK_SOCK_DIAG.
//!
//! Listing needs CONFIG_INET_DIAG (inet_diag and tcp_diag, loaded by the kernel when asked for). Closing needs
//! CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY (Linux 4.5; on in the kernels of Debian, Fedora and Ubuntu).

mod wire;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use wire::Message;

const NETLINK_SOCK_DIAG: i32 = 4;
/// One datagram of the kernel: it fills at most this much, however large the buffer (netlink_dump, Linux 4.4).
const DATAGRAM: usize = 32_768;
/// How long the kernel may take for one datagram.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sockets read from one list, whatever the caller does with them.
pub const MOST_LISTED: usize = 1 << 20;
/// The number of the one request on a socket.
const SEQUENCE: u32 = 1;

/// States in which data of an app can still come or go (net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Established = 1,
    SynSent = 2,
    /// This side has said all it wants to say, and may still listen.
    FinWait1 = 4,
    FinWait2 = 5,
    /// The other side has said all.
    CloseWait = 8,
}

impl State {
    /// Every state listed.
    pub const ALL: [State; 5] =
        [State::Established, State::SynSent, State::FinWait1, State::FinWait2, State::CloseWait];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }
}

/// What names one socket to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId {
    pub local: SocketAddr,
    /// IPv4-mapped addresses of IPv6 sockets are IPv4 here.
    pub remote: SocketAddr,
    /// Index of the interface the socket is bound to; 0: none.
    pub interface: u32,
    /// As bpf_get_socket_cookie() gives it; never given to another socket while the host runs.
    pub cookie: u64,
}

/// A TCP socket with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    pub id: SocketId,
    pub state: State,
    /// Owner of the socket.
    pub uid: u32,
    /// In the socket's link below /proc/PID/fd; 0 once no process holds it.
    pub inode: u32,
}

/// Hands every TCP socket of both families with a peer at one of `ports` (all, when there is none) to `each`, until it
/// breaks or [`MOST_LISTED`] were read. The list is no snapshot: what comes and goes meanwhile may be in it or not.
pub fn list_tcp(ports: &[u16], mut each: impl FnMut(Connection) -> ControlFlow<()>) -> io::Result<()> {
    let mut left = MOST_LISTED;
    for v4 in [true, false] {
        let request = wire::dump_request(SEQUENCE, v4, &State::ALL, ports);
        let complete = converse(&request, |message| match message {
            Message::Connection(connection) => {
                left = left.saturating_sub(1);
                if left == 0 || each(connection).is_break() {
                    return Ok(ControlFlow::Break(false));
                }
                Ok(ControlFlow::Continue(()))
            }
            // An answer without a list is the refusal of the request.
            Message::Done(code) | Message::Answer(code) => result(code).map(|()| ControlFlow::Break(true)),
            Message::Other => Ok(ControlFlow::Continue(())),
        })?;
        if !complete {
            break;
        }
    }
    Ok(())
}

/// Closes one TCP socket: its owner gets ECONNABORTED, its peer a reset. A socket that is gone already is no error.
///
/// EPERM without CAP_NET_ADMIN in the namespace, EOPNOTSUPP where the kernel was built without it. The interface that a
/// socket may be bound to belongs to its name; here it is found out.
pub fn destroy(local: SocketAddr, remote: SocketAddr, cookie: u64) -> io::Result<()> {
    let mut id = SocketId { local, remote, interface: 0, cookie };
    if request_destroy(&id)? {
        return Ok(());
    }
    // Gone, or bound to an interface: the kernel's list knows which.
    let mut found = None;
    list_tcp(&[remote.port()], |connection| {
        if connection.id.cookie != cookie {
            return ControlFlow::Continue(());
        }
        found = Some(connection.id.interface);
        ControlFlow::Break(())
    })?;
    match found {
        Some(interface) => {
            id.interface = interface;
            request_destroy(&id).map(drop)
        }
        None => Ok(()),
    }
}

/// [`destroy`] for a socket whose whole name is known, as from [`list_tcp`].
pub fn destroy_listed(id: &SocketId) -> io::Result<()> {
    request_destroy(id).map(drop)
}

/// Whether there was such a socket.
fn request_destroy(id: &SocketId) -> io::Result<bool> {
    let id = SocketId { local: canonical(id.local), remote: canonical(id.remote), ..*id };
    converse(&wire::destroy_request(SEQUENCE, &id), |message| match message {
        Message::Answer(code) | Message::Done(code) => match result(code) {
            Ok(()) => Ok(ControlFlow::Break(true)),
            // ESTALE: another socket has the addresses now.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {
                Ok(ControlFlow::Break(false))
            }
            Err(error) => Err(error),
        },
        Message::Connection(_) | Message::Other => Ok(ControlFlow::Continue(())),
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn result(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

/// Sends one request on a socket of its own and reads until `each` has what it wants. Blocks for [`PATIENCE`] at most
/// per datagram.
fn converse<T>(request: &[u8], mut each: impl FnMut(Message) -> io::Result<ControlFlow<T>>) -> io::Result<T> {
    // RAW and DGRAM are the same to netlink. Unbound and unconnected, it talks to the kernel; others need CAP_NET_ADMIN
    // to send to it.
    let socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send(request)?;
    let mut buffer = vec![0u8; DATAGRAM];
    loop {
        let length = (&socket).read_datagram(&mut buffer)?;
        let datagram =
            buffer.get(..length).ok_or_else(|| io::Error::other("the kernel's datagram is too long"))?;
        for message in wire::messages(datagram, SEQUENCE) {
            let message =
                message.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))?;
            if let ControlFlow::Break(value) = each(message)? {
                return Ok(value);
            }
        }
    }
}

/// Reading into initialised bytes: socket2's own wants uninitialised ones.
trait ReadDatagram {
    /// Length of the next datagram, at most the buffer's. Interrupted calls are repeated.
    fn read_datagram(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadDatagram for &Socket {
    fn read_datagram(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match io::Read::read(self, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An empty datagram is none of the kernel's: without this a loop would never end.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn find(local: SocketAddr, port: u16) -> Vec<Connection> {
        let mut found = Vec::new();
        list_tcp(&[port], |connection| {
            assert_eq!(connection.id.remote.port(), port, "the kernel's filter");
            if connection.id.local == local {
                found.push(connection);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn own_connections_of_both_families_are_listed_with_their_inode() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            // A host without IPv6 has none to list.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let found = find(canonical(stream.local_addr().unwrap()), port);
            let [one] = found[..] else { panic!("{address}: {found:?}") };
            assert_eq!(one.state, State::Established);
            let link =
                std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&stream)));
            assert_eq!(link.unwrap().to_str(), Some(&*format!("socket:[{}]", one.inode)));
        }
    }

    #[test]
    fn a_list_ends_when_it_is_told_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _streams: Vec<_> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let mut seen = 0;
        list_tcp(&[port], |_| {
            seen += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(seen, 1);
    }

    /// Takes CAP_NET_ADMIN: without it the refusal is what is tested.
    #[test]
    fn a_destroyed_connection_is_aborted_and_a_second_time_is_no_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect(remote).unwrap();
        let local = stream.local_addr().unwrap();
        let found = find(local, remote.port());
        match destroy(local, remote, found[0].id.cookie) {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}"),
            Ok(()) => {
                assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
                destroy(local, remote, found[0].id.cookie).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_cookie_closes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let stream = TcpStream::connect(remote).unwrap();
        let local = stream.local_addr().unwrap();
        let cookie = find(local, remote.port())[0].id.cookie;
        // The kernel compares the cookie before it asks for rights.
        destroy(local, remote, cookie ^ 1).unwrap();
        assert_eq!(find(local, remote.port()).len(), 1);
    }
}
