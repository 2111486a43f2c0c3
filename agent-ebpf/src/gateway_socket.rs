//! The socket of this host that a forwarded packet belongs to: one of the agent's, whose own address is another host's.

use core::mem::{MaybeUninit, zeroed};

use agent_common::abi::{GATEWAY_MARK_MASK, GATEWAY_MARK_STEER, Settings};
use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::bpf_sk_release;
use aya_ebpf::helpers::generated::bpf_skc_lookup_tcp;
use aya_ebpf::programs::TcContext;

use crate::gateway_packet::{self as packet, Packet, TCP};
use crate::maps;
use crate::skb::load_at;

/// enum bpf_tcp_state
pub const TIME_WAIT: u32 = 6;
pub const LISTEN: u32 = 10;
/// The network namespace the interface is in.
const CURRENT_NETNS: u64 = u64::MAX;

/// An answer on its way in from anywhere but the inside: to a connection that the agent made with a client's address it is
/// marked, and a routing rule for the mark has it delivered here instead of forwarded.
#[inline(always)]
pub fn ingress(ctx: &TcContext) {
    let skb = ctx.skb.skb;
    let Some(settings) = maps::settings() else { return };
    packet::gather_first(ctx);
    let mut room = MaybeUninit::uninit();
    let Some((packet, header)) = packet::read_ahead(ctx, &mut room) else { return };
    if packet.protocol != TCP || packet.obscure || packet.fragmented {
        return;
    }
    let ports = match header {
        Some([a, b, c, d, ..]) => Some([*a, *b, *c, *d]),
        None => load_at(skb, packet.transport, &mut MaybeUninit::uninit()).copied(),
    };
    if let Some(ports) = ports {
        claim(skb, settings, &packet, &ports);
    }
}

/// Marks a segment from an origin's port that belongs to a connection of this host; whether it does.
#[inline(always)]
pub fn claim(skb: *mut __sk_buff, settings: &Settings, packet: &Packet, ports: &[u8; 4]) -> bool {
    let from = u16::from_be_bytes([ports[0], ports[1]]);
    if settings.gateway_dials_as_client == 0 || from == 0 || !settings.ports.contains(&from) {
        return false;
    }
    let socket = lookup(skb, packet, ports);
    if socket.is_null() {
        return false;
    }
    // SAFETY: not null, and referenced by the look-up; not used afterwards.
    let listens = unsafe {
        let listens = (*socket).state == LISTEN;
        bpf_sk_release(socket.cast());
        listens
    };
    if !listens {
        mark(skb, GATEWAY_MARK_STEER);
    }
    !listens
}

/// The socket whose own end is the packet's destination, with a reference that must be released; null when there is none.
/// It may be a request or a remnant, of which only the state can be read.
#[inline(always)]
pub fn lookup(skb: *mut __sk_buff, packet: &Packet, ports: &[u8; 4]) -> *mut bpf_sock {
    let (source, destination) = (packet.source.words(), packet.destination.words());
    let from = u16::from_ne_bytes([ports[0], ports[1]]);
    let to = u16::from_ne_bytes([ports[2], ports[3]]);
    // SAFETY: integers only.
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    // SAFETY: the tuple is whole and as long as said.
    unsafe {
        let size = if packet.v4 {
            let v4 = &mut tuple.__bindgen_anon_1.ipv4;
            (v4.saddr, v4.daddr, v4.sport, v4.dport) = (source[3], destination[3], from, to);
            size_of_val(v4)
        } else {
            let v6 = &mut tuple.__bindgen_anon_1.ipv6;
            (v6.saddr, v6.daddr, v6.sport, v6.dport) = (source, destination, from, to);
            size_of_val(v6)
        };
        bpf_skc_lookup_tcp(skb.cast(), &mut tuple, size as u32, CURRENT_NETNS, 0)
    }
}

/// Sets our bits of the packet's mark; the others are somebody else's.
#[inline(always)]
pub fn mark(skb: *mut __sk_buff, bits: u32) {
    // SAFETY: the field is readable and writable at TC.
    unsafe { (*skb).mark = (*skb).mark & !GATEWAY_MARK_MASK | bits };
}
