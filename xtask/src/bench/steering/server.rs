//! The far end of the loads: one port for each.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context as _, Result};

use super::SITE;
use super::load::{DATAGRAM, PIECE};

pub(super) const CONNECTIONS: u16 = 5443;
pub(super) const EXCHANGES: u16 = 5444;
pub(super) const TURNS: u16 = 5445;
pub(super) const BYTES_IN: u16 = 5446;
pub(super) const BYTES_OUT: u16 = 5447;
pub(super) const CONNECTIONS_UNWATCHED: u16 = 5448;
pub(super) const DATAGRAMS: u16 = 5449;
/// The ports that the agent is told to look at.
pub(super) const WATCHED: [u16; 5] = [CONNECTIONS, EXCHANGES, TURNS, BYTES_IN, BYTES_OUT];

/// Listens on every port, says so, and serves until it is ended.
pub(super) fn serve() -> Result<()> {
    let services: [(u16, fn(TcpStream)); 6] = [
        (CONNECTIONS, drop),
        (CONNECTIONS_UNWATCHED, drop),
        (EXCHANGES, answer),
        (TURNS, echo),
        (BYTES_IN, swallow),
        (BYTES_OUT, pour),
    ];
    for (port, service) in services {
        let listener =
            TcpListener::bind((SITE.1, port)).with_context(|| format!("cannot listen on {port}"))?;
        // One connection after the other: the clients take turns.
        thread::spawn(move || listener.incoming().flatten().for_each(service));
    }
    let socket = UdpSocket::bind((SITE.1, DATAGRAMS))?;
    println!("{{}}");
    let mut bytes = [0; DATAGRAM];
    loop {
        // What cannot be answered is missed by the client, who waits for it.
        if let Ok((length, from)) = socket.recv_from(&mut bytes)
            && let Some(received) = bytes.get(..length)
        {
            let _ = socket.send_to(received, from);
        }
    }
}

/// A client that went away ends its service, no more.
fn answer(mut connection: TcpStream) {
    let mut bytes = [0; 4096];
    if connection.read(&mut bytes).is_ok() {
        let _ = connection.write_all(b"y");
        // Until the client closes: a reset of ours would overtake the byte.
        let _ = connection.read(&mut bytes);
    }
}

fn echo(mut connection: TcpStream) {
    let _ = connection.set_nodelay(true);
    let mut byte = [0];
    while connection.read_exact(&mut byte).is_ok() && connection.write_all(&byte).is_ok() {}
}

fn swallow(mut connection: TcpStream) {
    let mut bytes = vec![0; PIECE];
    while connection.read(&mut bytes).is_ok_and(|read| read > 0) {}
}

fn pour(mut connection: TcpStream) {
    let bytes = vec![0; PIECE];
    while connection.write_all(&bytes).is_ok() {}
}
