//! The signer's loop: one thread, few connections, one question at a time. It opens nothing and remembers nothing.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::Socket;

use super::protocol::{Ask, Denial, PACKET_MAX, Reply};
use crate::tls::authority::Issuing;
use crate::tls::name;

/// Connections served at a time; the agent keeps fewer (`client::IDLE`). Those beyond wait in the listener's queue.
const CONNECTIONS: usize = 64;
/// Leaves signed at once, and then a second: as many as the agent keeps, and far more new names than people visit.
const BURST: u32 = 4096;
const RATE: u32 = 512;
/// One line a second about refused questions is enough to be noticed.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Why the signer ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    #[error("standard input is no listening socket: systemd or the agent starts this")]
    NoListener,
    #[error("waiting for questions: {0}")]
    Io(#[from] io::Error),
}

/// What is asked of the signer, and by whom it may be.
pub struct Signer {
    /// The authority in use, and the one that is to follow it.
    issuing: Vec<Issuing>,
    /// Who may ask, beside root.
    peer: u32,
    allowance: Allowance,
    complained: Option<Instant>,
}

impl Signer {
    pub fn new(issuing: Vec<Issuing>, peer: u32) -> Self {
        Self { issuing, peer, allowance: Allowance::new(Instant::now()), complained: None }
    }

    fn answer(&mut self, packet: &[u8], now: SystemTime, instant: Instant) -> Vec<u8> {
        let reply = match Ask::read(packet) {
            None => Err(Denial::Malformed),
            Some(Ask::Ping { issuer }) => self.of(&issuer).map(|_| Reply::Ready.write()),
            Some(Ask::Sign { issuer, key, name }) => self.sign(&issuer, key, name, now, instant),
        };
        reply.unwrap_or_else(|denial| {
            self.complain(instant, || tracing::warn!("no certificate: {denial}"));
            Reply::Denied(denial).write()
        })
    }

    fn sign(
        &mut self,
        issuer: &[u8; 32],
        key: &[u8],
        name: &str,
        now: SystemTime,
        instant: Instant,
    ) -> Result<Vec<u8>, Denial> {
        let issuing = self.of(issuer)?;
        let name = name::normalise(name).map_err(|_| Denial::NotPermitted)?;
        if !issuing.permits(&name) {
            return Err(Denial::NotPermitted);
        }
        if issuing.not_after() <= now {
            return Err(Denial::Expired);
        }
        if !self.allowance.take(instant) {
            return Err(Denial::TooMany);
        }
        let (certificate, not_after) = self.of(issuer)?.sign(&name, key, now).map_err(|_| Denial::Failed)?;
        tracing::debug!(name, "signed");
        Ok(Reply::Leaf { not_after, certificate: &certificate }.write())
    }

    fn of(&self, issuer: &[u8; 32]) -> Result<&Issuing, Denial> {
        self.issuing.iter().find(|issuing| issuing.fingerprint() == issuer).ok_or(Denial::OtherIssuer)
    }

    fn complain(&mut self, now: Instant, say: impl FnOnce()) {
        if self.complained.is_none_or(|last| now.duration_since(last) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            say();
        }
    }
}

/// Answers on a listening socket of packets, after it gave up everything else; `ready` is called before. Never returns but
/// with a fault.
pub fn serve(
    listener: OwnedFd,
    signer: Signer,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<Infallible, ServeFault> {
    let listener = Socket::from(listener);
    if !listener.is_listener().unwrap_or(false) {
        return Err(ServeFault::NoListener);
    }
    ready()?;
    super::confine::close_behind()?;
    Ok(answer(&listener, signer)?)
}

/// The loop itself.
pub(super) fn answer(listener: &Socket, mut signer: Signer) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Socket> = Vec::new();
    let mut packet = [0; PACKET_MAX];
    loop {
        let ready = wait(listener, &connections)?;
        // From behind, so that what is taken out moves nobody who is still to be asked.
        for at in (0..connections.len()).rev() {
            if !ready.get(at + 1).copied().unwrap_or(false) {
                continue;
            }
            let Some(connection) = connections.get_mut(at) else { continue };
            let goes_on = match connection.read(&mut packet) {
                Ok(0) => false,
                Ok(length) => {
                    let asked = packet.get(..length).unwrap_or_default();
                    let answer = signer.answer(asked, SystemTime::now(), Instant::now());
                    // A peer that does not take its answers is none of ours.
                    connection.write_all(&answer).is_ok()
                }
                Err(error) => {
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
                }
            };
            if !goes_on {
                connections.swap_remove(at);
            }
        }
        if ready.first().copied().unwrap_or(false)
            && connections.len() < CONNECTIONS
            && let Some(connection) = accept(listener, &mut signer)?
        {
            connections.push(connection);
        }
    }
}

/// Which of listener and connections have something; the listener only while there is room.
fn wait(listener: &Socket, connections: &[Socket]) -> io::Result<Vec<bool>> {
    let listening = if connections.len() < CONNECTIONS { PollFlags::POLLIN } else { PollFlags::empty() };
    let mut polled = vec![PollFd::new(listener.as_fd(), listening)];
    polled.extend(connections.iter().map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)));
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().map(|one| one.any().unwrap_or(false)).collect())
}

/// A connection of the agent's; others are closed without a word. Which user connected was fixed by the kernel then.
fn accept(listener: &Socket, signer: &mut Signer) -> io::Result<Option<Socket>> {
    let connection = match listener.accept() {
        Ok((connection, _)) => connection,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            std::thread::sleep(Duration::from_millis(10));
            return Ok(None);
        }
        // The peer may have gone again.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let peer = getsockopt(&connection, PeerCredentials).map_err(io::Error::from)?;
    if peer.uid() != 0 && peer.uid() != signer.peer {
        let (uid, pid) = (peer.uid(), peer.pid());
        signer.complain(Instant::now(), || {
            tracing::warn!(uid, pid, "refused a client that is not the agent");
        });
        return Ok(None);
    }
    connection.set_nonblocking(true)?;
    Ok(Some(connection))
}

/// A bucket of [`BURST`] that fills by [`RATE`] a second.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let seconds = now.duration_since(self.since).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(RATE);
            self.left = self.left.saturating_add(more).min(BURST);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, at| (0..2 * BURST).filter(|_| allowance.take(at)).count();
        assert_eq!(taken(&mut allowance, start), BURST as usize);
        assert_eq!(taken(&mut allowance, start + Duration::from_secs(2)), 2 * RATE as usize);
        assert_eq!(taken(&mut allowance, start + Duration::from_secs(9999)), BURST as usize);
    }
}
