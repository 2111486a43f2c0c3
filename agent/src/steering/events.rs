//! What the kernel wants the agent to act on: connections that it stopped and cannot close itself.
#![allow(unsafe_code, reason = "an event is read from the ring's bytes; the ring's descriptor is registered")]

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use agent_common::abi::{EVENT_EXISTING, EVENT_EXISTING_CLOSED, EVENT_NAME, Event, UNKNOWN_USER};
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

/// A connection that was left alone and that the kernel then stopped, or wants to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Where it was going.
    pub original_dst: SocketAddr,
    /// The socket's own address.
    pub local: SocketAddr,
    /// Names the socket while it is open; `None`: it is on another host, and the kernel has closed the connection.
    pub cookie: Option<u64>,
    /// Owner of the socket.
    pub uid: Option<u32>,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its first words are for this name, lower case.
    Name(String),
    /// Its first words could not be read.
    Unreadable,
    /// It is from before it could be steered, and goes to an address of a selected app.
    Existing { closed: bool },
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
        let Some(cookie) = self.cookie else { return Ok(None) };
        let mut found = None;
        sock_diag::list_tcp(&[self.original_dst.port()], |connection| {
            if connection.id.cookie != cookie {
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
        match self.cookie {
            Some(cookie) => sock_diag::destroy(self.local, self.original_dst, cookie),
            None => Ok(()),
        }
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
    let why = match event.kind {
        EVENT_NAME if !name.is_empty() => Why::Name(name),
        EVENT_EXISTING => Why::Existing { closed: false },
        EVENT_EXISTING_CLOSED => Why::Existing { closed: true },
        _ => Why::Unreadable,
    };
    Some(Stopped {
        original_dst: event.original_dst(),
        local: event.local(),
        cookie: (event.socket_cookie != 0).then_some(event.socket_cookie),
        uid: (event.uid != UNKNOWN_USER).then_some(event.uid),
        why,
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
        assert_eq!(
            (seen.why, seen.uid, seen.cookie),
            (Why::Name("files.corp.test".into()), Some(1000), None)
        );
        assert_eq!(seen.local, "192.0.2.7:4000".parse().unwrap());
    }

    #[test]
    fn what_the_kernel_could_not_have_written_is_no_name_and_no_panic() {
        let event = Event { kind: EVENT_NAME, name_length: u32::MAX, ..Event::EMPTY };
        let Why::Name(name) = stopped(&bytes_of(&event)).unwrap().why else { panic!("no name") };
        assert_eq!(name.len(), KEY_SIZE);
        let event = Event { kind: EVENT_UNREADABLE, ..Event::EMPTY };
        assert_eq!(stopped(&bytes_of(&event)).unwrap().why, Why::Unreadable);
        for (kind, closed) in [(EVENT_EXISTING, false), (EVENT_EXISTING_CLOSED, true)] {
            let event = Event { kind, uid: UNKNOWN_USER, socket_cookie: 7, ..Event::EMPTY };
            let seen = stopped(&bytes_of(&event)).unwrap();
            assert_eq!((seen.why, seen.uid, seen.cookie), (Why::Existing { closed }, None, Some(7)));
        }
        assert_eq!(stopped(&bytes_of(&event)[1..]), None);
    }
}
