//! A site on loopback whose certificate is the authority's: whoever sends it a request over TLS trusts the authority.
//!
//! It answers TLS and, before it, CONNECT, so that programs can be led to it that take no address for a name but a proxy.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Authority, ClientFailure, ClientSide, LeafError, SessionOwner};

/// Connections of one client; browsers open a few.
const CONNECTIONS: usize = 64;
/// A CONNECT request and its fields.
const CONNECT_MAX: usize = 8192;
/// Longest wait for bytes of one connection.
const SILENCE: Duration = Duration::from_secs(10);
/// Between two looks at listener and client.
const POLL: Duration = Duration::from_millis(10);

/// What the site saw of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A request, encrypted: the client has verified the certificate.
    Request,
    /// A handshake that the client ended.
    Refusal(ClientFailure),
    /// No handshake.
    Nothing,
}

/// The site, listening on a port of its own.
pub struct ProofSite {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("the authority may vouch for no name")]
    Nameless,
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error("listening on loopback: {0}")]
    Io(#[from] io::Error),
}

impl ProofSite {
    /// A site for one client; `label` is the first label of its name.
    pub fn open(authority: &Arc<Authority>, label: &str) -> Result<Self, ProofError> {
        let permitted = &authority.certificates().root_facts.permitted;
        // A short one: the whole must be a host name.
        let suffix = permitted.iter().min_by_key(|suffix| suffix.len()).ok_or(ProofError::Nameless)?;
        let name = format!("{label}.portcullis-proof.{suffix}");
        // The client runs as this process does.
        let owner = SessionOwner::User(nix::unistd::geteuid().as_raw());
        let config = ClientSide::new(authority.clone()).config(owner, &name, &[])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, config, name })
    }

    /// The name that the client must ask for. It is in no DNS.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves until a request has come, `ended` says that the client is gone, or `patience` is over.
    pub fn watch(&self, mut ended: impl FnMut() -> bool, patience: Duration) -> Seen {
        let end = Instant::now() + patience;
        let (seen, results) = channel();
        let mut seen = Some(seen);
        let (mut begun, mut verdict) = (0, Seen::Nothing);
        loop {
            while let Some(sender) = &seen
                && let Ok((stream, _)) = self.listener.accept()
            {
                begun += 1;
                self.serve(stream, sender.clone());
                if begun == CONNECTIONS {
                    seen = None;
                }
            }
            loop {
                match results.try_recv() {
                    Ok(Seen::Request) => return Seen::Request,
                    Ok(Seen::Refusal(failure)) => verdict = Seen::Refusal(failure),
                    Ok(Seen::Nothing) => {}
                    Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => break,
                }
            }
            if Instant::now() >= end {
                return verdict;
            }
            if seen.is_some() && ended() {
                // One more round: what the client sent last may still be on its way through a thread.
                seen = None;
                thread::sleep(POLL * 10);
            } else if seen.is_none() {
                return verdict;
            }
            thread::sleep(POLL);
        }
    }

    fn serve(&self, stream: TcpStream, seen: Sender<Seen>) {
        let (config, name) = (self.config.clone(), self.name.clone());
        thread::spawn(move || {
            let result =
                converse(stream, config, &name).unwrap_or_else(|error| match ClientFailure::of(&error) {
                    ClientFailure::Io(_) | ClientFailure::TimedOut => Seen::Nothing,
                    failure => Seen::Refusal(failure),
                });
            // Nobody listens any more once a request has come.
            let _ = seen.send(result);
        });
    }
}

fn converse(mut stream: TcpStream, config: Arc<ServerConfig>, name: &str) -> io::Result<Seen> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut first = [0; 1];
    if stream.peek(&mut first)? == 0 {
        return Ok(Seen::Nothing);
    }
    if first == *b"C" {
        let head = connect_head(&mut stream)?;
        if !head.strip_prefix("CONNECT ").is_some_and(|rest| rest.starts_with(name)) {
            // Something else the client wants of its own accord.
            stream
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(Seen::Nothing);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    }
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = [0; 4096];
    let read = stream.read(&mut request)?;
    if read == 0 {
        return Ok(Seen::Refusal(ClientFailure::Closed));
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n",
    )?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(Seen::Request)
}

fn connect_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::with_capacity(512);
    let mut byte = [0; 1];
    // One at a time: what follows the head is TLS and not ours to take.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == CONNECT_MAX || stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
