//! What the peer's kernel has of that which was written to a connection.
#![allow(unsafe_code, reason = "the option is not wrapped by any socket library in use")]

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

use super::Prefixed;

/// Where `tcpi_bytes_acked` stands in `struct tcp_info`, and its end (linux/tcp.h, Linux 4.1).
const BYTES_ACKED: usize = 120;
const LENGTH: usize = BYTES_ACKED + size_of::<u64>();

/// A connection that can tell.
pub trait Acknowledged {
    /// Octets of the stream below that the peer's kernel has acknowledged so far. `None` where nobody can tell.
    fn acknowledged(&self) -> Option<u64> {
        None
    }
}

impl Acknowledged for TcpStream {
    fn acknowledged(&self) -> Option<u64> {
        bytes_acked(self).ok()
    }
}

impl<S: Acknowledged> Acknowledged for Prefixed<S> {
    fn acknowledged(&self) -> Option<u64> {
        self.get_ref().acknowledged()
    }
}

#[cfg(test)]
impl Acknowledged for tokio::io::DuplexStream {}

fn bytes_acked(socket: &TcpStream) -> io::Result<u64> {
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
    match info.get(BYTES_ACKED..LENGTH).and_then(|octets| octets.try_into().ok()) {
        Some(octets) if failed == 0 && length as usize == LENGTH => Ok(u64::from_ne_bytes(octets)),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_the_peer_has_is_counted_and_what_it_has_no_room_for_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let before = ours.acknowledged().unwrap();
        ours.write_all(&[0; 1000]).await.unwrap();
        theirs.read_exact(&mut [0; 1000]).await.unwrap();
        assert_eq!(ours.acknowledged().unwrap() - before, 1000);
        // Until neither kernel takes more.
        let mut written = 1000;
        while let Ok(count) = ours.try_write(&[0; 65_536]) {
            written += count as u64;
        }
        let held = ours.acknowledged().unwrap() - before;
        assert!(held < written, "{held} of {written}");
        theirs.read_exact(&mut vec![0; written as usize - 1000]).await.unwrap();
        assert_eq!(ours.acknowledged().unwrap() - before, written);
    }
}
