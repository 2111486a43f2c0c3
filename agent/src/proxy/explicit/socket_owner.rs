//! Who made a connection from this host: the kernel is asked for the socket (sock_diag(7)), /proc for its process.
//! Needs no privileges; the links of other users' processes cannot be read without, then the process stays unknown.

mod recent;

use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use recent::{recent, remember};
use socket2::{Domain, Protocol, Socket, Type};

use crate::owner::Directory;

/// NETLINK_SOCK_DIAG (linux/netlink.h).
const SOCK_DIAG: i32 = 4;
/// SOCK_DIAG_BY_FAMILY and NLM_F_REQUEST.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
/// Octets of a netlink header, of inet_diag_req_v2, and of inet_diag_msg (linux/inet_diag.h).
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;
/// Where uid and inode stand in an inet_diag_msg.
const UID_AT: usize = 64;
const INODE_AT: usize = 68;
/// For an answer: it has one message, of less than 200 octets.
const ROOM: usize = 1024;
/// The kernel answers at once; nobody waits longer.
const PATIENCE: Duration = Duration::from_millis(100);
/// Processes, and descriptors of one process, that are looked at.
const MOST_PROCESSES: usize = 32_768;
const MOST_DESCRIPTORS: usize = 4096;
/// Longest search for a process.
const SEARCH: Duration = Duration::from_millis(200);

/// Of the processes that held the last sockets, those that are asked at once.
const AT_ONCE: usize = 2;
/// Descriptors of the last of them that are all looked at, if it has no more.
const FEW_DESCRIPTORS: u64 = 64;

thread_local! {
    /// Where this thread asks the kernel. Each question has one answer, which is there when the question is sent.
    static KERNEL: Cell<Option<Socket>> = const { Cell::new(None) };
}

/// The owner of a socket as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOwner {
    pub uid: u32,
    pub inode: u32,
}

/// The owner of this host's TCP socket that is bound to `local` and connected to `remote`.
pub(super) fn owner_of(local: SocketAddr, remote: SocketAddr) -> Option<SocketOwner> {
    // A dual-stack socket that speaks IPv4 is found in the IPv4 table as well.
    ask(&question(local, remote)).ok().and_then(|answer| read(&answer, local, remote))
}

fn ask(question: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = match KERNEL.take() {
        Some(socket) => socket,
        None => {
            let kernel = Some(Protocol::from(SOCK_DIAG));
            let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, kernel)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket
        }
    };
    socket.write_all(question)?;
    let mut answer = vec![0; ROOM];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    // One whose answer did not come is not asked again: it would give that one to the next question.
    KERNEL.set(Some(socket));
    Ok(answer)
}

fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + QUESTION);
    out.extend(u32::try_from(HEADER + QUESTION).unwrap_or_default().to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    out.extend([0; 8]); // sequence number and port: one question, one answer
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    out.push(u8::try_from(family).unwrap_or_default());
    out.push(6); // TCP
    out.extend([0; 2]); // no extensions
    out.extend(u32::MAX.to_ne_bytes()); // any state
    out.extend(identity(local, remote));
    out.extend([0; 4]); // any interface
    out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    out
}

/// Ports and addresses as inet_diag_sockid has them: network order, IPv4 in the first word.
fn identity(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(36);
    for at in [local, remote] {
        out.extend(at.port().to_be_bytes());
    }
    for at in [local, remote] {
        match at.ip() {
            std::net::IpAddr::V4(v4) => {
                out.extend(v4.octets());
                out.extend([0; 12]);
            }
            std::net::IpAddr::V6(v6) => out.extend(v6.octets()),
        }
    }
    out
}

/// The answer must be about the socket that was asked for: the look-up falls back to listeners.
fn read(answer: &[u8], local: SocketAddr, remote: SocketAddr) -> Option<SocketOwner> {
    let kind = answer.get(4..6)?;
    if kind != BY_FAMILY.to_ne_bytes() {
        return None;
    }
    let message = answer.get(HEADER..HEADER + ANSWER)?;
    if message.get(4..40)? != identity(local, remote) {
        return None;
    }
    let number =
        |at: usize| message.get(at..at + 4).and_then(|octets| octets.try_into().ok()).map(u32::from_ne_bytes);
    Some(SocketOwner { uid: number(UID_AT)?, inode: number(INODE_AT)? })
}

/// The process of `owner.uid` that holds the socket, if it is one that held the last ones, and where it would hold this
/// one: at most some fifty links of two processes are read, and those of the last one all if they are few, which a thread that
/// serves connections may do.
pub(crate) fn recent_process_with(owner: SocketOwner) -> Option<Arc<Directory>> {
    let recent: Vec<_> = recent().iter().take(AT_ONCE).cloned().collect();
    let guessed = recent.iter().find_map(|last| {
        if last.process.uid() != Some(owner.uid) {
            return None;
        }
        let found = last.guesses().find(|number| last.process.socket(*number) == Some(owner.inode))?;
        Some((last.process.clone(), found))
    });
    let (process, descriptor) = guessed.or_else(|| {
        let last = &recent.first()?.process;
        let is_small = (1..=FEW_DESCRIPTORS).contains(&last.descriptors());
        is_small.then(|| held_by(last.clone(), owner))?
    })?;
    remember(process.clone(), descriptor);
    Some(process)
}

/// The process of `owner.uid` that holds the socket. Reads /proc: not for a thread that serves connections.
pub(crate) fn process_with(owner: SocketOwner) -> Option<Arc<Directory>> {
    // Programs make several connections: whoever held the last ones is asked first. What it holds is read anew.
    let recent: Vec<_> = recent().iter().map(|last| last.process.clone()).collect();
    let holder = recent.into_iter().find_map(|process| held_by(process, owner));
    let (process, descriptor) = holder.or_else(|| search(owner))?;
    remember(process.clone(), descriptor);
    Some(process)
}

/// The process, and the descriptor under which it holds the socket.
fn held_by(process: Arc<Directory>, owner: SocketOwner) -> Option<(Arc<Directory>, u32)> {
    if process.uid() != Some(owner.uid) {
        return None;
    }
    // Listed in their order; a connection that was just made is among the last.
    let listed = process.listed(MOST_DESCRIPTORS).ok()?;
    let descriptor = listed.into_iter().rev().find(|number| process.socket(*number) == Some(owner.inode))?;
    Some((process, descriptor))
}

fn search(owner: SocketOwner) -> Option<(Arc<Directory>, u32)> {
    let until = Instant::now() + SEARCH;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut processes: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // One that was not looked for before has often been started just now, and the last numbers are of those.
    processes.sort_unstable();
    for pid in processes.into_iter().rev().take(MOST_PROCESSES) {
        if Instant::now() > until {
            return None;
        }
        let Ok(process) = Directory::open(pid) else { continue };
        if let Some(found) = held_by(Arc::new(process), owner) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found_by_its_addresses() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, client) = listener.accept().unwrap();
            assert_eq!(client, stream.local_addr().unwrap());
            let owner = owner_of(client, accepted.local_addr().unwrap()).unwrap();
            assert_eq!(owner.uid, nix::unistd::geteuid().as_raw());
            // Looked for, and then remembered.
            let pid = |process: Option<Arc<Directory>>| process.map(|process| process.pid());
            assert_eq!(pid(process_with(owner)), Some(std::process::id()));
            assert_eq!(pid(process_with(owner)), Some(std::process::id()));
            // At once, too, unless other tests of this process have other descriptors now.
            assert!(pid(recent_process_with(owner)).is_none_or(|pid| pid == std::process::id()));
            assert!(recent_process_with(SocketOwner { inode: 0, ..owner }).is_none());
            // Nobody has that one; the listener on the other port is not taken for it.
            assert_eq!(
                owner_of(listener.local_addr().unwrap(), client),
                owner_of(listener.local_addr().unwrap(), client)
            );
            let mut other = client;
            other.set_port(1);
            assert_eq!(owner_of(other, accepted.local_addr().unwrap()), None);
        }
    }

    #[test]
    fn an_answer_about_another_socket_is_none() {
        let (local, remote) = ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:3128".parse().unwrap());
        let mut answer = vec![0; HEADER + ANSWER];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + 4..HEADER + 40].copy_from_slice(&identity(local, remote));
        answer[HEADER + UID_AT] = 9;
        assert_eq!(read(&answer, local, remote).map(|owner| owner.uid.to_ne_bytes()[0]), Some(9));
        assert_eq!(read(&answer, remote, local), None);
        assert_eq!(read(&answer[..HEADER + ANSWER - 1], local, remote), None);
        answer[4] = 2; // NLMSG_ERROR
        assert_eq!(read(&answer, local, remote), None);
    }
}
