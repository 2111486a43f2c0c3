//! Messages of NETLINK_SOCK_DIAG as bytes: requests written, replies read strictly. Does no I/O.
//!
//! Layouts: linux/netlink.h (`nlmsghdr`), linux/inet_diag.h (`inet_diag_req_v2`, `inet_diag_msg`,
//! `inet_diag_bc_op`). Numbers are in the byte order of the machine, ports and addresses in network order.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Connection, SocketId, State};

/// `nlmsghdr`.
const HEADER: usize = 16;
/// `inet_diag_msg`.
const INET_DIAG_MSG: usize = 72;
/// Replies and attributes begin at multiples of this.
const ALIGN: usize = 4;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// NLM_F_ROOT | NLM_F_MATCH.
const NLM_F_DUMP: u16 = 0x300;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_JMP: u8 = 1;
/// Remote port equals; Linux 4.16.
const INET_DIAG_BC_D_EQ: u8 = 12;
/// `inet_diag_bc_op`; a comparison is two of them, the second holds the port.
const OP: u16 = 4;

/// Why a reply cannot be read. Nothing of it is used then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A message ends before its header says, or its header does not fit.
    Truncated,
    /// A message says it is shorter than its own header.
    Length,
    /// A socket of a family that was not asked for.
    Family(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated => f.write_str("a message of the kernel is cut off"),
            Malformed::Length => f.write_str("a message of the kernel is shorter than its header"),
            Malformed::Family(family) => write!(f, "a socket of address family {family} was not asked for"),
        }
    }
}

/// One message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    Connection(Connection),
    /// The list is complete; a negative errno when it is not.
    Done(i32),
    /// The answer to a request: zero, or a negative errno.
    Answer(i32),
    /// Of another request, or of a kind that says nothing here.
    Other,
}

/// Asks for all TCP sockets of a family in these states whose remote port is one of `ports`; with no port, for all.
pub fn dump_request(sequence: u32, v4: bool, states: &[State], ports: &[u16]) -> Vec<u8> {
    let states = states.iter().fold(0u32, |mask, state| mask | 1 << *state as u8);
    let mut body = diag_request(if v4 { AF_INET } else { AF_INET6 }, states, None);
    let filter = remote_port_filter(ports);
    if !filter.is_empty() {
        body.extend(((ALIGN + filter.len()) as u16).to_ne_bytes());
        body.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        body.extend(filter);
    }
    message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, &body)
}

/// Asks for the end of one socket.
pub fn destroy_request(sequence: u32, id: &SocketId) -> Vec<u8> {
    // A v6 socket with v4-mapped addresses is found by its IPv4 addresses: the kernel hashes it under them.
    let v4 = id.local.is_ipv4() && id.remote.is_ipv4();
    let body = diag_request(if v4 { AF_INET } else { AF_INET6 }, u32::MAX, Some(id));
    message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, sequence, &body)
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // Port id of the sender: the kernel knows it.
    message.extend([0; 4]);
    message.extend_from_slice(body);
    message
}

/// `inet_diag_req_v2`.
fn diag_request(family: u8, states: u32, id: Option<&SocketId>) -> Vec<u8> {
    let mut request = vec![family, IPPROTO_TCP, 0, 0];
    request.extend(states.to_ne_bytes());
    let Some(id) = id else {
        // No address, any interface; the cookie INET_DIAG_NOCOOKIE.
        request.extend([0; 40]);
        request.extend([0xff; 8]);
        return request;
    };
    request.extend(id.local.port().to_be_bytes());
    request.extend(id.remote.port().to_be_bytes());
    for ip in [id.local.ip(), id.remote.ip()] {
        match ip {
            IpAddr::V4(v4) if family == AF_INET => {
                request.extend(v4.octets());
                request.extend([0; 12]);
            }
            IpAddr::V4(v4) => request.extend(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => request.extend(v6.octets()),
        }
    }
    request.extend(id.interface.to_ne_bytes());
    request.extend((id.cookie as u32).to_ne_bytes());
    request.extend(((id.cookie >> 32) as u32).to_ne_bytes());
    request
}

/// A program for the kernel's filter that accepts a socket whose remote port is one of `ports`. The kernel accepts when
/// it arrives exactly at the end of the program, and rejects when it arrives beyond.
fn remote_port_filter(ports: &[u16]) -> Vec<u8> {
    let mut program = Vec::new();
    let Some(last) = ports.len().checked_sub(1) else { return program };
    for (index, port) in ports.iter().enumerate() {
        let mut op = |code: u8, yes: u16, no: u16| {
            program.extend([code, yes as u8]);
            program.extend(no.to_ne_bytes());
        };
        // A comparison that holds goes to the jump behind it, which goes to the end; one that does not hold goes to the
        // next comparison. The last has no jump behind it: its end is the program's.
        op(INET_DIAG_BC_D_EQ, 2 * OP, 3 * OP);
        op(0, 0, *port);
        if index < last {
            let behind = (last - index) as u16;
            op(INET_DIAG_BC_JMP, OP, OP + behind * 3 * OP - OP);
        }
    }
    program
}

/// The messages of one datagram of the kernel, in order. Ends after the first that cannot be read.
pub fn messages(datagram: &[u8], sequence: u32) -> impl Iterator<Item = Result<Message, Malformed>> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        Some(match next(&mut rest, sequence) {
            Ok(message) => Ok(message),
            Err(malformed) => {
                rest = &[];
                Err(malformed)
            }
        })
    })
}

fn next(rest: &mut &[u8], sequence: u32) -> Result<Message, Malformed> {
    let mut header = Reader(rest);
    let length = header.u32()? as usize;
    let kind = header.u16()?;
    let _flags = header.u16()?;
    let of = header.u32()?;
    let _port_id = header.u32()?;
    if length < HEADER {
        return Err(Malformed::Length);
    }
    let body = rest.get(HEADER..length).ok_or(Malformed::Truncated)?;
    // The last message of a datagram may come without its padding.
    *rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    if of != sequence {
        return Ok(Message::Other);
    }
    match kind {
        NLMSG_NOOP => Ok(Message::Other),
        NLMSG_ERROR => Ok(Message::Answer(Reader(body).i32()?)),
        NLMSG_DONE => Ok(Message::Done(Reader(body).i32()?)),
        SOCK_DIAG_BY_FAMILY => connection(body),
        _ => Ok(Message::Other),
    }
}

/// `inet_diag_msg`; attributes behind it are not looked at.
fn connection(body: &[u8]) -> Result<Message, Malformed> {
    let mut read = Reader(body.get(..INET_DIAG_MSG).ok_or(Malformed::Truncated)?);
    let [family, state, _timer, _retransmits] = read.take()?;
    let (local_port, remote_port) = (u16::from_be_bytes(read.take()?), u16::from_be_bytes(read.take()?));
    let (local, remote) = (read.take::<16>()?, read.take::<16>()?);
    let interface = read.u32()?;
    let (low, high) = (read.u32()?, read.u32()?);
    let (_expires, _receive_queue, _write_queue) = (read.u32()?, read.u32()?, read.u32()?);
    let (uid, inode) = (read.u32()?, read.u32()?);
    let address = |octets: [u8; 16]| match (family, octets) {
        (AF_INET, [a, b, c, d, ..]) => Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        (AF_INET6, octets) => Ok(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()),
        (family, _) => Err(Malformed::Family(family)),
    };
    let id = SocketId {
        local: SocketAddr::new(address(local)?, local_port),
        remote: SocketAddr::new(address(remote)?, remote_port),
        interface,
        cookie: u64::from(high) << 32 | u64::from(low),
    };
    // A state that nobody asked for.
    let Some(state) = State::of(state) else { return Ok(Message::Other) };
    Ok(Message::Connection(Connection { id, state, uid, inode }))
}

/// Takes fields from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_ne_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_ne_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_ne_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests;
