//! The listening sockets between two runs: the service manager keeps them (sd_notify(3) `FDSTORE=1`) and hands them to
//! the next process (sd_listen_fds(3)), so that connections made meanwhile wait in their queues.
#![allow(unsafe_code, reason = "descriptors that a process is started with have to be claimed by number")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use sd_notify::NotifyState;
use socket2::Socket;

/// Name of our sockets in the service manager's store.
const NAME: &str = "listener";

/// The listening sockets an earlier process left with the service manager. To be called once, before this process opens
/// anything. Descriptors of other kinds are closed.
pub fn listening_sockets() -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for (number, name) in sd_notify::listen_fds_with_names()? {
        // SAFETY: the service manager opened this descriptor for this very process (LISTEN_PID was compared), and this
        // function, which runs once, is the only one that takes it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let socket = Socket::from(descriptor);
        if name == NAME && socket.is_listener().unwrap_or(false) {
            sockets.push(socket.into());
        } else {
            tracing::warn!(name, "a descriptor from the service manager that is not ours is closed");
        }
    }
    Ok(sockets)
}

/// Standard input, as a socket that somebody left there; what is left of it reads nothing.
pub fn standard_input() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

/// Tells the service manager that this process does its work from here on. Without one nothing happens.
pub fn ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Leaves the sockets with the service manager for the next process. Without one nothing happens.
pub fn keep<'a>(sockets: impl Iterator<Item = &'a TcpListener>) -> io::Result<()> {
    for socket in sockets {
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(NAME)], &[socket.as_fd()])?;
    }
    Ok(())
}

/// Has the service manager close what it keeps.
pub fn give_up() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(NAME)])
}
