//! Layouts of map keys and values. Any change here changes [`ABI_VERSION`]; the loader refuses another version.
//!
//! Addresses are 16 bytes, IPv4 as IPv4-mapped IPv6, in network order; ports are in host order. Padding is explicit,
//! because the kernel compares keys byte by byte.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::domain::{DomainKey, KEY_SIZE};
use crate::limits;

/// Version of every layout in this file.
pub const ABI_VERSION: u32 = 7;
/// Stands in the kernel object, where the loader looks for it. Ends in [`ABI_VERSION`].
pub const ABI_TAG: &[u8; 16] = b"portcullis-abi-7";
const _: () = assert!(ABI_TAG[15] == b'0' + ABI_VERSION as u8);

/// Places of the programs that read what goes out of a host's sockets, and how many there are.
pub const READS_FIRST_WORDS: u32 = 0;
pub const READS_DATAGRAMS: u32 = 1;
pub const READERS: u32 = 2;

/// `::ffff:0:0/96` as the third 32-bit word in memory.
const MAPPED_WORD: u32 = 0xffff_u32.to_be();

/// An address as four words, each in network order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Address([u32; 4]);

impl Address {
    /// From the kernel's words (network order).
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// From the kernel's IPv4 word (network order).
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Self {
        Self([0, 0, MAPPED_WORD, word])
    }

    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED_WORD
    }

    /// Whether the address can be another host's. The others (unspecified, loopback, link-local, multicast) are never an
    /// app's: an answer that says so would make the agent, as root, dial services that trust their own host.
    #[inline(always)]
    pub const fn is_reachable_from_afar(&self) -> bool {
        let last = u32::from_be(self.0[3]);
        if self.is_v4() {
            let first = last >> 24;
            return first != 0 && first != 127 && first < 224 && last >> 16 != 0xa9fe;
        }
        let first = u32::from_be(self.0[0]) >> 16;
        let low = self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0;
        !low && first & 0xffc0 != 0xfe80 && first & 0xff00 != 0xff00
    }

    pub const fn from_ip(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [0; 4];
        let mut i = 0;
        while i < 4 {
            words[i] =
                u32::from_ne_bytes([octets[4 * i], octets[4 * i + 1], octets[4 * i + 2], octets[4 * i + 3]]);
            i += 1;
        }
        Self(words)
    }

    /// IPv4-mapped addresses come back as IPv4.
    pub fn to_ip(self) -> IpAddr {
        if self.is_v4() {
            return IpAddr::V4(Ipv4Addr::from(self.0[3].to_ne_bytes()));
        }
        let mut octets = [0; 16];
        for (to, word) in octets.chunks_exact_mut(4).zip(self.0) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        IpAddr::V6(Ipv6Addr::from(octets))
    }
}

/// What a learned address belongs to.
///
/// `apps` has bit `index % 64` set for every app of the catalog with a name that resolved to this address: addresses
/// of content networks are shared, and one bit per app lets a policy edit switch steering with a single word. With
/// more than 63 apps bits are shared, which steers more than needed; the agent reads the SNI before it decides.
/// The bit left over is [`IN_DOUBT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Target {
    pub apps: u64,
    /// Time of CLOCK_MONOTONIC after which the entry counts for nothing.
    pub expires_ns: u64,
}

/// Bit of an app in [`Target::apps`] and [`Settings::steer_apps`].
pub const fn app_bit(index: usize) -> u64 {
    1 << (index % 63)
}

/// In [`Target::apps`]: somebody's first words there could not be read in the kernel. No answer explains such an address.
pub const IN_DOUBT: u64 = 1 << 63;

/// Key of the pattern trie: a prefix of a [`DomainKey`], `bits` long.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PatternKey {
    pub bits: u32,
    pub bytes: [u8; KEY_SIZE],
}

impl PatternKey {
    pub fn of(key: &DomainKey) -> Self {
        let mut bytes = [0; KEY_SIZE];
        let used = key.as_bytes();
        bytes[..used.len()].copy_from_slice(used);
        Self { bits: used.len() as u32 * 8, bytes }
    }
}

/// Finds the record of a steered connection: the accepted socket's peer, and the port it was accepted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct FlowKey {
    pub client: Address,
    pub client_port: u16,
    pub listener_port: u16,
}

impl FlowKey {
    pub fn new(client: SocketAddr, listener_port: u16) -> Self {
        Self { client: Address::from_ip(client.ip()), client_port: client.port(), listener_port }
    }
}

/// The connection was steered because no DNS answer explains its address, not because the address is an app's.
pub const FLOW_UNEXPLAINED: u16 = 1;
/// In the socket's record: set from the steered connect() until its SYN. The agent never sees it.
pub const FLOW_FRESH: u16 = 2;

/// A steered connection as the connect hook saw it: where it was going and who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Flow {
    pub original: Address,
    pub original_port: u16,
    /// [`FLOW_UNEXPLAINED`] and, in the socket's record, [`FLOW_FRESH`].
    pub flags: u16,
    /// Process id (thread group) in the initial pid namespace.
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    pub cgroup: u64,
    pub socket_cookie: u64,
    /// Time of CLOCK_MONOTONIC of the connect(), to a tick.
    pub time_ns: u64,
    /// Name of the *thread*, NUL padded.
    pub comm: [u8; 16],
}

impl Flow {
    /// Whether nothing is known of the address but that somebody wants to go there.
    pub const fn is_unexplained(&self) -> bool {
        self.flags & FLOW_UNEXPLAINED != 0
    }

    pub fn original_dst(&self) -> SocketAddr {
        SocketAddr::new(self.original.to_ip(), self.original_port)
    }
}

/// What the kernel saw that the agent has to act on: a connection that it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// One of the `EVENT_*` values.
    pub kind: u32,
    /// Bytes of `name` in use, the end mark included; 0 without a name.
    pub name_length: u32,
    /// Bits of the selected apps that the name belongs to.
    pub apps: u64,
    /// 0: the socket is on another host.
    pub socket_cookie: u64,
    /// Where the connection goes, and the socket's own end.
    pub original: Address,
    pub local: Address,
    pub original_port: u16,
    pub local_port: u16,
    /// Owner of the socket.
    pub uid: u32,
    /// The name reversed, as a key of [`crate::domain`]. What stands behind its length is not part of it.
    pub name: [u8; KEY_SIZE],
}

/// A connection that was left alone names a selected app: it is stopped and to be closed.
pub const EVENT_NAME: u32 = 1;
/// The first words of a connection that was left alone cannot be read: it is stopped and to be closed.
pub const EVENT_UNREADABLE: u32 = 2;
/// Gateway: a connection to a selected app from before it could be steered; it was closed, or goes on.
pub const EVENT_EXISTING_CLOSED: u32 = 3;
pub const EVENT_EXISTING: u32 = 4;
/// Owner of a socket that is on another host.
pub const UNKNOWN_USER: u32 = u32::MAX;

impl Event {
    pub const EMPTY: Self = Self {
        kind: 0,
        name_length: 0,
        apps: 0,
        socket_cookie: 0,
        original: Address([0; 4]),
        local: Address([0; 4]),
        original_port: 0,
        local_port: 0,
        uid: 0,
        name: [0; KEY_SIZE],
    };

    /// The name as it is written, lower case, in `room`; empty without a name.
    pub fn name<'a>(&self, room: &'a mut [u8; KEY_SIZE]) -> &'a [u8] {
        let length = (self.name_length as usize).saturating_sub(1).min(KEY_SIZE);
        for (to, from) in room.iter_mut().zip(self.name[..length].iter().rev()) {
            *to = *from;
        }
        &room[..length]
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.to_ip(), self.local_port)
    }

    pub fn original_dst(&self) -> SocketAddr {
        SocketAddr::new(self.original.to_ip(), self.original_port)
    }
}

/// Per socket that asked a DNS server: whom and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Asked {
    pub servers: [Address; limits::ASKED_SERVERS],
    /// Place of the next server.
    pub next: u32,
    /// Ids of questions at the place of their low bits, [`ASKED_OPEN`] set while no answer came.
    pub questions: [u32; limits::ASKED_QUESTIONS],
}

pub const ASKED_OPEN: u32 = 1 << 16;

/// The agent's orders to the kernel, one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Settings {
    pub abi_version: u32,
    /// 0 leaves everything alone: the last thing set on start, the first thing cleared on stop.
    pub enabled: u32,
    /// Apps that a policy selects; an address steers when one of its bits is here.
    pub steer_apps: u64,
    /// SO_NETNS_COOKIE of the agent's namespace.
    pub network_namespace: u64,
    /// 127.0.0.1 and ::1 in network order.
    pub listener_v4: u32,
    /// Host order; 0 when there is no IPv6 listener.
    pub listener_port_v6: u16,
    pub listener_port_v4: u16,
    pub listener_v6: [u32; 4],
    /// TCP ports looked at, host order, unused ones 0.
    pub ports: [u16; limits::STEERED_PORTS],
    /// 1 refuses UDP to port 443 of steered addresses.
    pub refuse_quic: u32,
    /// One of the `GUARD_*` values.
    pub guard: u32,
    /// [`FAIL_OPEN`] or [`FAIL_CLOSED`].
    pub fail: u32,
    /// Gateway: one of the `EXISTING_*` values. On a host userspace looks after them.
    pub existing: u32,
    /// Gateway: listeners of each family in the socket map; 0 when none is there yet.
    pub gateway_listeners: u32,
    /// Gateway: 1 when origins are dialled with the clients' addresses, so that their answers are forwarded unless they are
    /// told apart.
    pub gateway_dials_as_client: u32,
    /// Grows whenever an app is selected that was not before: connections that began under an earlier number were never
    /// asked about.
    pub selection: u32,
    pub reserved: u32,
}

/// What becomes of connections to selected apps that began before they could be steered.
pub const EXISTING_LEAVE: u32 = 0;
pub const EXISTING_REPORT: u32 = 1;
pub const EXISTING_CLOSE: u32 = 2;

/// While the agent does not live, everything goes direct.
pub const FAIL_OPEN: u32 = 0;
/// Then connections to selected apps are refused, and only those.
pub const FAIL_CLOSED: u32 = 1;

/// The agent's sign of life, one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Heartbeat {
    /// CLOCK_MONOTONIC, the clock of the programs: it stands still while the machine is suspended, so an agent is
    /// not taken for dead when it wakes up.
    pub time_ns: u64,
    /// The same moment in milliseconds of Unix time, for people.
    pub unix_ms: u64,
    pub pid: u32,
    /// [`SERVING`] or [`HANDED_OVER`]; for people, the programs do not ask.
    pub state: u32,
}

/// The agent that wrote the heartbeat serves, or served until it failed.
pub const SERVING: u32 = 0;
/// It ended in order, and left everything for the next one.
pub const HANDED_OVER: u32 = 1;

/// Mark on a socket of the agent: it connects to an origin.
pub const OWN_CONNECTION: u32 = 1;
/// Mark on a socket of the agent: steered connections are accepted on it.
pub const OWN_LISTENER: u32 = 2;

/// Bytes of an app's id, padded with zeros. The catalog's ids are no longer.
pub const APP_ID: usize = 64;

/// Only learned addresses of selected apps are steered.
pub const GUARD_OFF: u32 = 0;
/// So are addresses that no DNS answer explains.
pub const GUARD_PEEK: u32 = 1;
/// Every connection to the ports is steered.
pub const GUARD_ALL: u32 = 2;
/// Only learned addresses of selected apps are steered; what is left alone is watched, as with the two before.
pub const GUARD_SNI: u32 = 3;

/// Gateway: the bits of a packet's mark that are ours. Two of 32, which no program we know of uses in its rules.
pub const GATEWAY_MARK_MASK: u32 = 0x0060_0000;
/// The packet is for the agent's listener: a rule sends it to the table that calls every address local.
pub const GATEWAY_MARK_STEER: u32 = 0x0020_0000;
/// The packet is refused: a rule makes the kernel answer it with an ICMP error.
pub const GATEWAY_MARK_REFUSE: u32 = 0x0040_0000;

/// A connection through the gateway, as it was when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct PassageKey {
    pub client: Address,
    pub server: Address,
    pub client_port: u16,
    pub server_port: u16,
}

/// What was decided about it, and how far its first words were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Passage {
    /// Sequence number of the client's first byte.
    pub first: u32,
    /// [`Settings::selection`] when it began.
    pub selection: u32,
    /// Bytes held of what it said.
    pub held: u16,
    pub segments: u8,
    /// One of the `PASSAGE_*` values.
    pub state: u8,
}

/// Its first words are being read.
pub const PASSAGE_READING: u8 = 0;
/// They are read, or nobody asks.
pub const PASSAGE_OPEN: u8 = 1;
/// It is closed, and the agent knows.
pub const PASSAGE_STOPPED: u8 = 2;
/// It was given to the agent.
pub const PASSAGE_STEERED: u8 = 3;

/// A question that a client behind the gateway sent to a DNS server: answers are believed to those who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Question {
    pub client: Address,
    pub server: Address,
    pub client_port: u16,
    /// The question's number, in host order (RFC 1035 section 4.1.1).
    pub id: u16,
}

const _: () = {
    assert!(size_of::<Question>() == 36 && size_of::<PassageKey>() == 36 && size_of::<Passage>() == 12);
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Target>() == 16);
    assert!(size_of::<PatternKey>() == 4 + KEY_SIZE);
    assert!(size_of::<FlowKey>() == 20);
    assert!(size_of::<Flow>() == 16 + 4 + 12 + 24 + 16);
    assert!(size_of::<Event>() == 24 + 32 + 8 + KEY_SIZE);
    assert!(size_of::<Asked>() == 16 * limits::ASKED_SERVERS + 4 + 4 * limits::ASKED_QUESTIONS);
    assert!(size_of::<Settings>() == 8 + 16 + 8 + 16 + 16 + 8 + 8 + 8 + 8);
    assert!(size_of::<Heartbeat>() == 24);
};

#[cfg(feature = "user")]
#[allow(unsafe_code, reason = "aya's Pod marker is an unsafe trait")]
mod pod {
    use super::{Address, Flow, FlowKey, Heartbeat, Settings, Target};
    // SAFETY: each is repr(C), Copy, of integers only, and without implicit padding (sizes asserted above).
    unsafe impl aya::Pod for Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Target {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Flow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Heartbeat {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_and_v4_is_mapped() {
        for text in ["192.0.2.7", "::1", "2001:db8::1", "fd18::10"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from_ip(ip).to_ip(), ip);
        }
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(Address::from_ip(v4), Address::from_ip(mapped));
        assert_eq!(Address::from_v4_word(u32::from_ne_bytes([192, 0, 2, 7])), Address::from_ip(v4));
        assert!(Address::from_ip(mapped).is_v4());
        assert!(!Address::from_ip("::1".parse().unwrap()).is_v4());
    }

    #[test]
    fn only_addresses_of_other_hosts_are_learned() {
        let of = |text: &str| Address::from_ip(text.parse().unwrap()).is_reachable_from_afar();
        for far in [
            "198.18.0.10",
            "10.0.0.1",
            "192.168.1.1",
            "169.253.0.1",
            "223.255.255.255",
            "fd18::10",
            "2606::1",
        ] {
            assert!(of(far), "{far}");
        }
        for near in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!of(near), "{near}");
        }
    }

    #[test]
    fn a_flow_key_ignores_how_the_listener_spelled_the_address() {
        let plain = FlowKey::new("127.0.0.1:4000".parse().unwrap(), 9);
        let mapped = FlowKey::new("[::ffff:127.0.0.1]:4000".parse().unwrap(), 9);
        assert_eq!(plain, mapped);
    }

    #[test]
    fn app_bits_wrap_instead_of_overflowing() {
        assert_eq!(app_bit(0), 1);
        assert_eq!(app_bit(62), 1 << 62);
        assert_eq!(app_bit(63), 1);
        assert!((0..200).all(|index| app_bit(index) != IN_DOUBT));
    }
}
