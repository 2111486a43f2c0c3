//! A forwarded packet as TC shows it: addresses, transport protocol, and where its transport header is.
//!
//! IPv4 options are stepped over, IPv6 extension headers followed to a bound. What is read here is untrusted.

use agent_common::abi::Address;
use agent_common::limits::EXTENSION_HEADERS;
use aya_ebpf::bindings::__sk_buff;

use crate::skb::load_at;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

pub struct Packet {
    pub source: Address,
    pub destination: Address,
    pub v4: bool,
    pub protocol: u8,
    /// Offset of the transport header from the network header.
    pub transport: u32,
    /// Whether it is the first of several fragments. Later ones are not read at all: without the first they are nothing.
    pub fragmented: bool,
    /// Whether its extension headers are more than are followed, or cut (RFC 7112): what it carries is not known.
    pub obscure: bool,
}

/// `None`: neither IPv4 nor IPv6, a later fragment, or cut.
#[inline(always)]
pub fn read(skb: *mut __sk_buff) -> Option<Packet> {
    // SAFETY: plain field load.
    let protocol = u16::from_be(unsafe { (*skb).protocol } as u16);
    if protocol == IPV4 {
        ipv4(skb)
    } else if protocol == IPV6 {
        ipv6(skb)
    } else {
        None
    }
}

#[inline(always)]
fn ipv4(skb: *mut __sk_buff) -> Option<Packet> {
    let mut ip = [0u8; IPV4_HEADER as usize];
    load_at(skb, 0, &mut ip)?;
    let offset = (u16::from_be_bytes([ip[6], ip[7]])) & 0x1fff;
    if offset != 0 {
        return None;
    }
    let transport = (ip[0] & 15) as u32 * 4;
    if transport < IPV4_HEADER {
        return None;
    }
    Some(Packet {
        source: Address::from_v4_word(word(&ip, 12)),
        destination: Address::from_v4_word(word(&ip, 16)),
        v4: true,
        protocol: ip[9],
        transport,
        fragmented: ip[6] & 0x20 != 0,
        obscure: false,
    })
}

#[inline(always)]
fn ipv6(skb: *mut __sk_buff) -> Option<Packet> {
    let mut ip = [0u8; IPV6_HEADER as usize];
    load_at(skb, 0, &mut ip)?;
    let (mut protocol, mut transport, mut fragmented) = (ip[6], IPV6_HEADER, false);
    let mut i = 0;
    while i < EXTENSION_HEADERS {
        i += 1;
        if !is_extension(protocol) {
            break;
        }
        let mut extension = [0u8; 4];
        if load_at(skb, transport, &mut extension).is_none() {
            break;
        }
        if protocol == FRAGMENT {
            let place = u16::from_be_bytes([extension[2], extension[3]]);
            if place & 0xfff8 != 0 {
                return None;
            }
            fragmented |= place & 1 != 0;
            transport += 8;
        } else if protocol == AUTHENTICATION {
            transport += (extension[1] as u32 + 2) * 4;
        } else {
            transport += (extension[1] as u32 + 1) * 8;
        }
        protocol = extension[0];
    }
    Some(Packet {
        source: Address::from_words([word(&ip, 8), word(&ip, 12), word(&ip, 16), word(&ip, 20)]),
        destination: Address::from_words([word(&ip, 24), word(&ip, 28), word(&ip, 32), word(&ip, 36)]),
        v4: false,
        protocol,
        transport,
        fragmented,
        obscure: is_extension(protocol),
    })
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    protocol == HOP_BY_HOP
        || protocol == ROUTING
        || protocol == FRAGMENT
        || protocol == DESTINATION_OPTIONS
        || protocol == AUTHENTICATION
}

/// Four octets as they stand in memory.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
