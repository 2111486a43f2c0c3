//! rtnetlink (rtnetlink(7)): requests with their attributes, and the kernel's answers. Just what routing rules, routes and
//! queueing disciplines take.

use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of an answer that are read at a time; the kernel sends at most 32 KiB.
const ANSWER: usize = 32 * 1024;
/// Bytes of a netlink header, and of an attribute's.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// The kernel answers while it is asked.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const REQUEST: u16 = 1;
const ACK: u16 = 4;
pub(super) const CREATE: u16 = 0x400;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The body of a request: a structure of fixed size, then attributes.
#[derive(Debug, Clone)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn new(fixed: &[u8]) -> Self {
        let mut body = Self(fixed.to_vec());
        body.align();
        body
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        // Values here are numbers and names of interfaces.
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.align();
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// A text that ends in a zero octet.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut octets = value.as_bytes().to_vec();
        octets.push(0);
        self.attribute(kind, &octets)
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// A socket to the kernel's routing tables, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(libc::NETLINK_ROUTE)),
        )?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and hands out every message of the answer, without its header.
    ///
    /// # Errors
    /// What the kernel says, as the error of its number.
    pub(super) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &Body,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let dump = flags & DUMP == DUMP;
        let flags = REQUEST | flags | if dump { 0 } else { ACK };
        let length = u32::try_from(HEADER + body.0.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEADER + body.0.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(&body.0);
        (&self.socket).write_all(&message)?;
        let mut answer = vec![0; ANSWER];
        loop {
            let count = (&self.socket).read(&mut answer)?;
            for (kind, sequence, payload) in Messages(answer.get(..count).unwrap_or_default()) {
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    DONE => return Ok(()),
                    ERROR => return error_of(payload),
                    _ => each(payload),
                }
            }
        }
    }
}

fn error_of(payload: &[u8]) -> io::Result<()> {
    match number(payload, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The messages of one answer: kind, sequence number, payload. Ends at what is cut.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(number(self.0, 0)?).ok()?;
        let message = self.0.get(..length)?;
        let kind = u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]);
        let item = (kind, number(message, 8)?, message.get(HEADER..)?);
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(item)
    }
}

/// The value of the first attribute of a kind, as it stands behind a message's structure. Ends at what is cut.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes([*attributes.first()?, *attributes.get(1)?]));
        let kind = u16::from_ne_bytes([*attributes.get(2)?, *attributes.get(3)?]);
        let value = attributes.get(ATTRIBUTE..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// The number of 32 bits at an offset.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let octets: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_ne_bytes(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_but_not_counted_so() {
        let body = Body::new(&[1, 2, 3, 4]).text(3, "br0").number(6, 9).attribute(21, &[80]);
        let mut expected = vec![1, 2, 3, 4];
        expected.extend([8, 0, 3, 0, b'b', b'r', b'0', 0]);
        expected.extend([8, 0, 6, 0, 9, 0, 0, 0]);
        expected.extend([5, 0, 21, 0, 80, 0, 0, 0]);
        assert_eq!(body.0, expected);
    }

    #[test]
    fn an_answer_that_is_cut_ends_the_walk() {
        let mut bytes = Vec::new();
        for (kind, sequence) in [(16u16, 1u32), (DONE, 1)] {
            bytes.extend(20u32.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 8]);
        }
        assert_eq!(Messages(&bytes).map(|(kind, ..)| kind).collect::<Vec<_>>(), [16, DONE]);
        for end in 0..bytes.len() {
            assert_eq!(Messages(&bytes[..end]).count(), end / 20, "{end}");
        }
        // A length of zero or less than a header is none.
        assert_eq!(Messages(&[0; 32]).count(), 0);
    }

    #[test]
    fn attributes_are_found_and_a_cut_or_empty_one_ends_the_search() {
        let body = Body::new(&[]).text(3, "br0").attribute(21, &[80]).number(10, 9);
        assert_eq!(attribute(&body.0, 10), Some(&9u32.to_ne_bytes()[..]));
        assert_eq!(attribute(&body.0, 21), Some(&[80][..]));
        assert_eq!(attribute(&body.0, 4), None);
        for end in 0..body.0.len() {
            assert_eq!(attribute(&body.0[..end], 10), None, "{end}");
        }
        assert_eq!(attribute(&[0; 8], 0), None);
    }

    #[test]
    fn an_error_is_the_systems() {
        assert!(error_of(&[0; 4]).is_ok());
        let exists = error_of(&(-libc::EEXIST).to_ne_bytes()).unwrap_err();
        assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
        assert!(error_of(&[]).is_err());
    }
}
