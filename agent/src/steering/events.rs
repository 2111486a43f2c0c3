//! What the kernel wants the agent to act on: connections that it stopped and cannot close itself.
#![allow(unsafe_code, reason = "an event is read from the ring's bytes; the ring's descriptor is registered")]

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use agent_common::abi::{EVENT_NAME, Event};
use agent_common::domain::KEY_SIZE;
use anyhow::{Context, Result};
use aya::maps::{Map, MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use super::sock_diag;

/// The ring of events, read by one task.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

/// A connection that was left alone and then stopped in the kernel, by what its client said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Where it was going.
    pub original_dst: SocketAddr,
    /// The socket's own address.
    pub local: SocketAddr,
    /// Names the socket while it is open.
    pub cookie: u64,
    /// Owner of the socket.
    pub uid: u32,
    /// The name it is for, lower case; `None` when its first words could not be read.
    pub name: Option<String>,
}

impl Events {
    /// To be called within a runtime.
    pub(super) fn new(data: MapData) -> Result<Self> {
        let ring = RingBuf::try_from(Map::RingBuf(data))?;
        // SAFETY: the ring owns its descriptor, gives always the same one, and is not taken out again: it stays open for as
        // long as it is registered.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(io::Error::from).context("waiting for the kernel's events")?;
        Ok(Self { ring })
    }

    /// The next event. Those that arrived while nobody waited are still there, as far as the ring has room.
    pub async fn next(&mut self) -> io::Result<Stopped> {
        loop {
            if let Some(stopped) = self.take() {
                return Ok(stopped);
            }
            let mut guard = self.ring.readable_mut().await?;
            // Cleared before looking again: an event that comes in between makes it ready once more.
            guard.clear_ready_matching(Ready::READABLE);
            drop(guard);
            if let Some(stopped) = self.take() {
                return Ok(stopped);
            }
        }
    }

    fn take(&mut self) -> Option<Stopped> {
        let ring = self.ring.get_mut();
        loop {
            if let Some(stopped) = stopped(&ring.next()?) {
                return Some(stopped);
            }
        }
    }
}

impl Stopped {
    /// Inode of its socket, by which processes hold it; `None` when it is gone. Blocks for a netlink exchange.
    pub fn inode(&self) -> io::Result<Option<u32>> {
        let mut found = None;
        sock_diag::list_tcp(&[self.original_dst.port()], |connection| {
            if connection.id.cookie != self.cookie {
                return ControlFlow::Continue(());
            }
            found = Some(connection.inode);
            ControlFlow::Break(())
        })?;
        // A socket that no process holds any more has none.
        Ok(found.filter(|inode| *inode != 0))
    }

    /// Closes its socket: the client sees at once that the connection was aborted. Blocks for a netlink exchange.
    pub fn close(&self) -> io::Result<()> {
        sock_diag::destroy(self.local, self.original_dst, self.cookie)
    }
}

/// `None` for bytes that are no event of this version.
pub(super) fn stopped(bytes: &[u8]) -> Option<Stopped> {
    if bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: there are as many bytes, and every pattern of them is a valid Event of integers.
    let event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
    let mut room = [0; KEY_SIZE];
    let name = String::from_utf8_lossy(event.name(&mut room)).into_owned();
    let named = event.kind == EVENT_NAME && !name.is_empty();
    Some(Stopped {
        original_dst: event.original_dst(),
        local: event.local(),
        cookie: event.socket_cookie,
        uid: event.uid,
        name: named.then_some(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::abi::{Address, EVENT_UNREADABLE};
    use agent_common::domain::DomainKey;

    fn bytes_of(event: &Event) -> Vec<u8> {
        let at: *const Event = event;
        // SAFETY: the bytes of a live value of integers without padding.
        unsafe { std::slice::from_raw_parts(at.cast::<u8>(), size_of::<Event>()) }.to_vec()
    }

    #[test]
    fn an_event_carries_the_name_as_it_is_written() {
        let key = DomainKey::name(b"Files.corp.test").unwrap();
        let mut event = Event { kind: EVENT_NAME, local_port: 4000, ..Event::EMPTY };
        event.local = Address::from_ip("192.0.2.7".parse().unwrap());
        event.name_length = key.as_bytes().len() as u32;
        event.name = [b'x'; KEY_SIZE];
        event.name[..key.as_bytes().len()].copy_from_slice(key.as_bytes());
        event.uid = 1000;
        let seen = stopped(&bytes_of(&event)).unwrap();
        assert_eq!((seen.name.as_deref(), seen.uid), (Some("files.corp.test"), 1000));
        assert_eq!(seen.local, "192.0.2.7:4000".parse().unwrap());
    }

    #[test]
    fn what_the_kernel_could_not_have_written_is_no_name_and_no_panic() {
        let event = Event { kind: EVENT_NAME, name_length: u32::MAX, ..Event::EMPTY };
        assert_eq!(stopped(&bytes_of(&event)).unwrap().name.map(|name| name.len()), Some(KEY_SIZE));
        let event = Event { kind: EVENT_UNREADABLE, ..Event::EMPTY };
        assert_eq!(stopped(&bytes_of(&event)).unwrap().name, None);
        assert_eq!(stopped(&bytes_of(&event)[1..]), None);
    }
}
