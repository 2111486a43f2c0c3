//! Learns addresses from the DNS answers that leave the gateway to the inside, before the client can see them.
//!
//! Only from answers that an inside client asked for through the gateway and that did not themselves come from the
//! inside: a client can send itself, or a neighbour, whatever it likes from port 53.

use core::mem::MaybeUninit;

use agent_common::abi::Question;
use agent_common::counter::Counter;
use agent_common::dns::is_answer;
use agent_common::limits::ANSWER_WITHIN_S;
use aya_ebpf::programs::TcContext;

use crate::dns::{self, DNS_PORT, NS_PER_S};
use crate::gateway_packet::{self as packet, Packet, UDP};
use crate::{liveness, maps, skb};

const UDP_HEADER: u32 = 8;

#[inline(always)]
pub fn egress(ctx: &TcContext) {
    if packet::is_no_datagram(ctx) {
        return;
    }
    let skb = ctx.skb.skb;
    // SAFETY: plain field load. Zero for what the gateway itself sends.
    let came_from = unsafe { (*skb).ingress_ifindex };
    packet::gather_first(ctx);
    let Some(packet) = packet::read(skb) else { return };
    if packet.protocol != UDP || packet.fragmented {
        return;
    }
    let mut room = MaybeUninit::uninit();
    let Some(port) = skb::load_at(skb, packet.transport, &mut room) else { return };
    if u16::from_be_bytes(*port) != DNS_PORT {
        return;
    }
    packet::gather_data(ctx);
    let mut room = MaybeUninit::uninit();
    let Some(bytes) = skb::load_at::<{ UDP_HEADER as usize + 12 }>(skb, packet.transport, &mut room) else {
        return;
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut head = [0u8; 12];
    head.copy_from_slice(&bytes[UDP_HEADER as usize..]);
    if !is_answer(&head) {
        return;
    }
    if came_from != 0 && maps::is_inside(came_from) {
        maps::count(Counter::DnsFromInside);
        return;
    }
    let question = Question {
        client: packet.destination,
        server: packet.source,
        client_port: port(2),
        id: u16::from_be_bytes([head[0], head[1]]),
    };
    let now = liveness::now();
    match maps::asked_at(&question) {
        Some(asked) if now.wrapping_sub(asked) < ANSWER_WITHIN_S * NS_PER_S => {}
        _ => {
            maps::count(Counter::DnsUnasked);
            return;
        }
    }
    maps::count(Counter::DnsAnswer);
    // The datagram's own length, not the packet's: short frames are padded.
    let length = (port(4) as usize).wrapping_sub(UDP_HEADER as usize);
    let Some(scratch) = maps::scratch() else { return };
    let at = packet.transport + UDP_HEADER;
    let Some(message) = skb::message_at(skb, at, length, scratch.message, scratch.opaque) else {
        maps::count(Counter::DnsTooLong);
        return;
    };
    dns::learn(&message, scratch.name);
}

/// Remembers a question on its way out.
#[inline(always)]
pub fn note_question(ctx: &TcContext, packet: &Packet, client_port: u16) {
    let mut room = MaybeUninit::uninit();
    let Some(id) = packet::load(ctx, packet.transport + UDP_HEADER, &mut room) else { return };
    let question = Question {
        client: packet.source,
        server: packet.destination,
        client_port,
        id: u16::from_be_bytes(*id),
    };
    maps::note_question(&question, liveness::now());
}
