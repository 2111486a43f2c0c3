//! What a TCP socket is asked and told: TCP's own counts, and the upper layer protocol `tls` of the kernel, which seals what
//! is written (Documentation/networking/tls.rst).
#![allow(unsafe_code, reason = "two questions to a socket that no socket library in use has")]

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpTlsTx, TcpUlp};
use socket2::{MsgHdr, SockRef};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{KernelKey, Kind, Refusal};
use crate::tls::socket::Progress;

/// Where `tcpi_bytes_acked` stands in `struct tcp_info`, and its end (linux/tcp.h, Linux 4.1).
const BYTES_ACKED: usize = 120;
const LENGTH: usize = BYTES_ACKED + size_of::<u64>();
/// States in which a connection sends (include/net/tcp_states.h).
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
/// Attempts at two counts of the same moment: acknowledgements come in between.
const LOOKS: usize = 8;

/// Octets of a control message's header (`struct cmsghdr`), and of one that carries an octet.
const CONTROL_HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();
const CONTROL: usize = CONTROL_HEADER + size_of::<usize>();

/// The name of the protocol, and then the key. Without the key the kernel sends what it is given as it is.
pub(in crate::tls) fn seal_with(socket: &TcpStream, key: &KernelKey) -> Result<(), Refusal> {
    let name: &[u8] = b"tls";
    match setsockopt(socket, TcpUlp::default(), &name) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Err(Refusal::Unavailable),
        Err(error) => return Err(Refusal::Other(error)),
    }
    match setsockopt(socket, TcpTlsTx, key.info()) {
        Ok(()) => Ok(()),
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOPROTOOPT) => Err(Refusal::Cipher),
        Err(error) => Err(Refusal::Other(error)),
    }
}

/// Asked with a key of another version, which no kernel takes: one that takes no second key at all (before Linux 6.14) says
/// that it is busy without looking at it.
pub(in crate::tls) fn takes_new_key(socket: &TcpStream, current: Kind) -> bool {
    KernelKey::of_another_version(current)
        .is_some_and(|none| setsockopt(socket, TcpTlsTx, none.info()) == Err(Errno::EINVAL))
}

pub(in crate::tls) fn renew(socket: &TcpStream, key: &KernelKey) -> io::Result<()> {
    Ok(setsockopt(socket, TcpTlsTx, key.info())?)
}

pub(in crate::tls) fn poll_record(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    kind: u8,
    content: &[u8],
) -> Poll<io::Result<()>> {
    let control = record_type(kind);
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let sent = socket.try_io(Interest::WRITABLE, || {
            let content = [IoSlice::new(content)];
            let message = MsgHdr::new().with_buffers(&content).with_control(&control);
            SockRef::from(socket).sendmsg(&message, libc::MSG_NOSIGNAL)
        });
        match sent {
            // A record is taken whole.
            Ok(count) if count == content.len() => return Poll::Ready(Ok(())),
            Ok(_) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// A control message that names the type of the record (`TLS_SET_RECORD_TYPE`): length, level, type, and its one octet. The
/// kernel copies it, so it need not be aligned here.
fn record_type(kind: u8) -> [u8; CONTROL] {
    let mut control = [0; CONTROL];
    let length = (CONTROL_HEADER + 1).to_ne_bytes();
    let level = libc::SOL_TLS.to_ne_bytes();
    let option = libc::TLS_SET_RECORD_TYPE.to_ne_bytes();
    let message = length.into_iter().chain(level).chain(option).chain([kind]);
    control.iter_mut().zip(message).for_each(|(to, octet)| *to = octet);
    control
}

/// Octets that the peer's kernel has acknowledged.
pub(in crate::tls) fn acknowledged(socket: &TcpStream) -> io::Result<u64> {
    Ok(info(socket)?.acknowledged)
}

pub(in crate::tls) fn progress(socket: &TcpStream) -> io::Result<Progress> {
    let mut before = info(socket)?;
    for _ in 0..LOOKS {
        let outstanding = outstanding(socket)?;
        let after = info(socket)?;
        if after.acknowledged == before.acknowledged {
            let given = after.acknowledged + outstanding;
            let can_send = matches!(after.state, ESTABLISHED | CLOSE_WAIT);
            return Ok(Progress { given, outstanding, can_send });
        }
        before = after;
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// What is read of `struct tcp_info`.
struct Info {
    state: u8,
    acknowledged: u64,
}

fn info(socket: &TcpStream) -> io::Result<Info> {
    let mut info = [0_u8; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    // SAFETY: the array and its length are live for the call, and the kernel writes at most as many bytes as that.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let [state, ..] = info;
    match info.get(BYTES_ACKED..LENGTH).and_then(|octets| octets.try_into().ok()) {
        Some(octets) if failed == 0 && length as usize == LENGTH => {
            Ok(Info { state, acknowledged: u64::from_ne_bytes(octets) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Octets that TCP was given and the peer has not acknowledged.
fn outstanding(socket: &TcpStream) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which is called TIOCOUTQ here, writes one int to where the pointer points, which is live for the call.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    match u64::try_from(count) {
        Ok(count) if failed == 0 => Ok(count),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_the_peer_has_is_counted_and_what_it_has_no_room_for_is_not() {
        let (mut ours, mut theirs) = pair().await;
        let before = acknowledged(&ours).unwrap();
        ours.write_all(&[0; 1000]).await.unwrap();
        theirs.read_exact(&mut [0; 1000]).await.unwrap();
        assert_eq!(acknowledged(&ours).unwrap() - before, 1000);
        // Until neither kernel takes more.
        let mut written = 1000;
        while let Ok(count) = ours.try_write(&[0; 65_536]) {
            written += count as u64;
        }
        let held = acknowledged(&ours).unwrap() - before;
        assert!(held < written, "{held} of {written}");
        // What TCP has in all does not depend on who acknowledged it.
        let full = progress(&ours).unwrap();
        assert_eq!((full.given - before, full.can_send), (written, true));
        assert!(full.outstanding > 0);
        theirs.read_exact(&mut vec![0; written as usize - 1000]).await.unwrap();
        assert_eq!(acknowledged(&ours).unwrap() - before, written);
        assert_eq!(progress(&ours).unwrap(), Progress { given: full.given, outstanding: 0, can_send: true });
        drop(theirs);
        let error = loop {
            match ours.write(b"x").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(!progress(&ours).unwrap().can_send, "{error}");
    }

    #[test]
    fn the_type_of_a_record_is_a_control_message_as_the_kernel_reads_it() {
        let control = record_type(21);
        let header: Vec<u8> =
            [&(CONTROL_HEADER + 1).to_ne_bytes()[..], &282_i32.to_ne_bytes(), &1_i32.to_ne_bytes(), &[21]]
                .concat();
        assert_eq!(control[..header.len()], header);
        assert_eq!(control.len() % size_of::<usize>(), 0);
    }
}
