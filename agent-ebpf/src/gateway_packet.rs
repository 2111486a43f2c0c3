//! A forwarded packet as TC shows it: addresses, transport protocol, and where its transport header is.
//!
//! IPv4 options are stepped over, IPv6 extension headers followed to a bound. What is read here is untrusted.

use core::mem::MaybeUninit;

use agent_common::abi::Address;
use agent_common::limits::{self, EXTENSION_HEADERS};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;

use crate::skb::{Bytes, load_at};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const ETHERNET: usize = 14;
const TCP_HEADER: usize = 20;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Masks of an offset into a packet's headers, and of a length: what an IPv6 chain of [`EXTENSION_HEADERS`] can come to.
pub const PLACE: u32 = 0x7fff;
pub const LENGTH: u32 = 0xffff;

pub struct Packet {
    pub source: Address,
    pub destination: Address,
    pub v4: bool,
    pub protocol: u8,
    /// Offset of the transport header from the network header.
    pub transport: u32,
    /// Offset of its end from the network header, by that header's word: short frames are padded.
    pub end: u32,
    /// Whether it is the first of several fragments. Later ones are not read at all: without the first they are nothing.
    pub fragmented: bool,
    /// Whether its extension headers are more than are followed, or cut (RFC 7112): what it carries is not known.
    pub obscure: bool,
}

/// Bytes that every packet of interest has: the headers of an Ethernet link and of IPv4, and that of UDP.
const LEAST: usize = 14 + IPV4_HEADER as usize + 8;
/// Bytes of a packet in which all of its headers stand.
const HEADERS: usize = 256;
/// The same with a DNS message or a client's first words behind them.
const WITH_DATA: usize = HEADERS + limits::NET_BYTES;
const _: () = assert!(limits::DNS_MESSAGE <= limits::NET_BYTES);

/// Has the first headers in one piece: drivers put as much in front as they like, and what is not there cannot be read by
/// its place behind the network header. Nearly all packets have them so, and are not touched.
#[inline(always)]
pub fn gather_first(ctx: &TcContext) {
    if ctx.data() + LEAST > ctx.data_end() {
        gather(ctx, HEADERS as u32);
    }
}

/// Bytes of a header, which is put together where it has to be.
#[inline(always)]
pub fn load<'a, const N: usize>(
    ctx: &TcContext,
    at: u32,
    room: &'a mut MaybeUninit<Bytes<N>>,
) -> Option<&'a mut [u8; N]> {
    if load_at(ctx.skb.skb, at, room).is_none() {
        gather(ctx, HEADERS as u32);
        load_at(ctx.skb.skb, at, room)?;
    }
    // SAFETY: one of the two has filled it.
    Some(unsafe { room.assume_init_mut() }.bytes())
}

/// The same for what is in it, as far as it is read.
#[inline(always)]
pub fn gather_data(ctx: &TcContext) {
    if ctx.data() + WITH_DATA > ctx.data_end() {
        gather(ctx, WITH_DATA as u32);
    }
}

#[inline(always)]
fn gather(ctx: &TcContext, most: u32) {
    // A failure shows where something cannot be read.
    let _ = ctx.pull_data(if ctx.len() < most { ctx.len() } else { most });
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

/// A packet with the first bytes behind its network header, where those lie with it in one piece: a segment's header, or
/// what else stands in its place. `None` as with [`read`].
#[inline(always)]
pub fn read_ahead<'a>(
    ctx: &TcContext,
    room: &'a mut MaybeUninit<Bytes<TCP_HEADER>>,
) -> Option<(Packet, Option<&'a mut [u8; TCP_HEADER]>)> {
    let Some(ip) = ipv4_in_place(ctx) else { return Some((read(ctx.skb.skb)?, None)) };
    // SAFETY: the words of two headers, as checked there. The room has place for the second.
    unsafe {
        let word = |at: usize| *ip.add(at);
        let (first, place, protocol) = (u32::from_be(word(0)), u32::from_be(word(1)), u32::from_be(word(2)));
        if place & 0x1fff != 0 {
            return None;
        }
        let to: *mut u32 = room.as_mut_ptr().cast();
        let mut at = 0;
        while at < TCP_HEADER / 4 {
            *to.add(at) = word(IPV4_HEADER as usize / 4 + at);
            at += 1;
        }
        let packet = Packet {
            source: Address::from_v4_word(word(3)),
            destination: Address::from_v4_word(word(4)),
            v4: true,
            protocol: (protocol >> 16) as u8,
            transport: IPV4_HEADER,
            end: end(0, first as u16),
            fragmented: place & 0x2000 != 0,
            obscure: false,
        };
        Some((packet, Some(room.assume_init_mut().bytes())))
    }
}

/// Whether a packet is IPv4 and surely no datagram of UDP, without a copy of anything.
#[inline(always)]
pub fn is_no_datagram(ctx: &TcContext) -> bool {
    // SAFETY: the protocol's octet is in the header.
    ipv4_in_place(ctx).is_some_and(|ip| unsafe { *ip.cast::<u8>().add(9) } != UDP)
}

/// The header of IPv4 without options where it lies, with [`TCP_HEADER`] bytes behind it, on a link of Ethernet: to read it
/// there takes a fraction of the time that a copy takes, whose bytes cannot be read before they are written. Of other packets
/// this says nothing.
///
/// Nobody tells what lies before the network header. Where that is nothing (tunnels), a packet begins with the version of
/// IP; so one that is IPv4 and begins with another number is behind a header of Ethernet.
#[inline(always)]
fn ipv4_in_place(ctx: &TcContext) -> Option<*const u32> {
    // SAFETY: plain field load.
    if u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16) != IPV4 {
        return None;
    }
    let data = ctx.data();
    if data + ETHERNET + IPV4_HEADER as usize + TCP_HEADER > ctx.data_end() {
        return None;
    }
    // The kernel aligns network headers to words (NET_IP_ALIGN), or runs where it does not matter.
    let ip = (data + ETHERNET) as *const u32;
    // SAFETY: in the packet, as just checked.
    let (begins, version) = unsafe { (*(data as *const u8) >> 4, *ip.cast::<u8>()) };
    (begins != 4 && version == 0x45).then_some(ip)
}

#[inline(always)]
fn ipv4(skb: *mut __sk_buff) -> Option<Packet> {
    let mut room = MaybeUninit::uninit();
    let ip: &[u8; IPV4_HEADER as usize] = load_at(skb, 0, &mut room)?;
    let offset = (u16::from_be_bytes([ip[6], ip[7]])) & 0x1fff;
    if offset != 0 {
        return None;
    }
    let transport = (ip[0] & 15) as u32 * 4;
    if transport < IPV4_HEADER {
        return None;
    }
    Some(Packet {
        source: Address::from_v4_word(word(ip, 12)),
        destination: Address::from_v4_word(word(ip, 16)),
        v4: true,
        protocol: ip[9],
        transport,
        end: end(0, u16::from_be_bytes([ip[2], ip[3]])),
        fragmented: ip[6] & 0x20 != 0,
        obscure: false,
    })
}

#[inline(always)]
fn ipv6(skb: *mut __sk_buff) -> Option<Packet> {
    let mut room = MaybeUninit::uninit();
    let ip: &[u8; IPV6_HEADER as usize] = load_at(skb, 0, &mut room)?;
    let (mut protocol, mut transport, mut fragmented) = (ip[6], IPV6_HEADER, false);
    let mut i = 0;
    while i < EXTENSION_HEADERS {
        i += 1;
        if !is_extension(protocol) {
            break;
        }
        let mut room = MaybeUninit::uninit();
        let Some(extension) = load_at::<4>(skb, transport, &mut room) else { break };
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
        source: Address::from_words([word(ip, 8), word(ip, 12), word(ip, 16), word(ip, 20)]),
        destination: Address::from_words([word(ip, 24), word(ip, 28), word(ip, 32), word(ip, 36)]),
        v4: false,
        protocol,
        transport,
        end: end(IPV6_HEADER, u16::from_be_bytes([ip[4], ip[5]])),
        fragmented,
        obscure: is_extension(protocol),
    })
}

/// Packets that were put together from several and are longer than the field can say (Linux 5.19, 6.3) have none in it.
#[inline(always)]
fn end(before: u32, length: u16) -> u32 {
    if length == 0 { LENGTH } else { before + length as u32 }
}

/// Length of a TCP header.
#[inline(always)]
pub fn tcp_header(header: &[u8; 20]) -> u32 {
    (header[12] >> 4) as u32 * 4
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
