//! The network namespace the agent lives in, as the kernel names it to its programs.
#![allow(unsafe_code, reason = "the option is not wrapped by any socket library in use")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// SO_NETNS_COOKIE, Linux 5.14 (asm-generic/socket.h).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Cookie of this process's network namespace, as bpf_get_netns_cookie() gives it.
pub(super) fn own_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the value and its length are live for the call, and the kernel writes at most eight bytes.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if failed == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
