//! The agent's end: asks the signer, over connections that are kept. Never longer than a deadline, never blocking a thread.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls_pki_types::CertificateDer;
use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::{Ask, Denial, PACKET_MAX, Reply};

/// Connections kept between questions: as many as ask at a time, one a worker thread, and some to spare.
const IDLE: usize = 16;
/// Longest wait for an answer, connecting included. A signer that is started anew answers well within it.
const DEADLINE: Duration = Duration::from_secs(2);
/// After a question without an answer the next ones fail at once for this long: those who wait for the same name would
/// otherwise wait one after another.
const PAUSE: Duration = Duration::from_millis(250);
/// Further attempts at a question whose connection was closed.
const TRIES: u32 = 2;
/// Between two attempts at a signer whose queue is full.
const AGAIN: Duration = Duration::from_millis(5);

/// Why the signer gave no leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    #[error("the signer does not answer at {path}: {why}")]
    Silent { path: PathBuf, why: String },
    #[error("the signer refuses: {0}")]
    Denied(Denial),
    #[error("the signer's answer makes no sense; are both of the same version?")]
    Nonsense,
}

/// A way to the signer; for all threads.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// Packets, each a message, whatever the type is called.
    idle: Mutex<Vec<UnixStream>>,
    /// Until when nobody is asked, and why.
    pause: Mutex<Option<(Instant, SignFault)>>,
}

impl Client {
    /// Nothing is connected to before the first question.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), pause: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A leaf of the authority whose issuing certificate has this fingerprint, and when it ends.
    pub async fn sign(
        &self,
        issuer: [u8; 32],
        key: &[u8],
        name: &str,
    ) -> Result<(CertificateDer<'static>, SystemTime), SignFault> {
        let answer = self.ask(&Ask::Sign { issuer, key, name }).await?;
        match Reply::read(&answer) {
            Some(Reply::Leaf { not_after, certificate }) => {
                Ok((CertificateDer::from(certificate.to_vec()), not_after))
            }
            Some(Reply::Denied(denial)) => Err(SignFault::Denied(denial)),
            Some(Reply::Ready) | None => Err(SignFault::Nonsense),
        }
    }

    /// Whether it is there and holds the key of this issuing certificate.
    pub async fn ping(&self, issuer: [u8; 32]) -> Result<(), SignFault> {
        match Reply::read(&self.ask(&Ask::Ping { issuer }).await?) {
            Some(Reply::Ready) => Ok(()),
            Some(Reply::Denied(denial)) => Err(SignFault::Denied(denial)),
            Some(Reply::Leaf { .. }) | None => Err(SignFault::Nonsense),
        }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Result<Vec<u8>, SignFault> {
        if let Some((until, fault)) = &*self.pause.lock().unwrap_or_else(PoisonError::into_inner)
            && Instant::now() < *until
        {
            return Err(fault.clone());
        }
        let packet = ask.write();
        let answered = tokio::time::timeout(DEADLINE, self.exchange(&packet)).await;
        let why = match answered {
            Ok(Ok(answer)) => {
                *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Ok(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("nothing within {} s", DEADLINE.as_secs()),
        };
        let fault = SignFault::Silent { path: self.path.clone(), why };
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now() + PAUSE, fault.clone()));
        Err(fault)
    }

    async fn exchange(&self, packet: &[u8]) -> io::Result<Vec<u8>> {
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut tries = 0;
        loop {
            let connection = match kept.take() {
                Some(kept) => kept,
                None => self.connect().await?,
            };
            match self.converse(connection, packet).await {
                // The signer ended with the connection. The others that are kept were to it as well, and the next one
                // answers this question: signing twice does no harm.
                Err(_) if tries < TRIES => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    tries += 1;
                }
                answered => return answered,
            }
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let address = SockAddr::unix(&self.path)?;
        loop {
            let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&address) {
                Ok(()) => return Ok(OwnedFd::from(socket).into()),
                // Its queue is full (unix(7)); the deadline ends this.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One question and its answer; the connection is kept for the next one, which may be another runtime's.
    async fn converse(&self, mut connection: UnixStream, packet: &[u8]) -> io::Result<Vec<u8>> {
        // Room for one packet is always there: nothing else is under way on this connection.
        connection.write_all(packet)?;
        let waiting = tokio::net::UnixStream::from_std(connection)?;
        let mut answer = vec![0; PACKET_MAX];
        let length = loop {
            waiting.readable().await?;
            match waiting.try_read(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.truncate(length);
        let connection = waiting.into_std()?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(answer)
    }
}
