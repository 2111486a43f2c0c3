//! Packets that come from the inside: TCP to steered addresses goes to the agent's transparent listener, QUIC to the
//! addresses of selected apps is refused.
//!
//! A packet for the agent is given its socket (bpf_sk_assign, Linux 5.7) and a mark; a routing rule for the mark sends it
//! to local delivery, so that the accepted socket's own address is the original destination. A refused packet gets
//! another mark, and a rule that makes the kernel answer with an ICMP error: a client is told at once.

use core::mem::{MaybeUninit, zeroed};

use agent_common::abi::{
    Address, EXISTING_LEAVE, FAIL_CLOSED, GATEWAY_MARK_REFUSE, GATEWAY_MARK_STEER, GUARD_OFF, PASSAGE_OPEN,
    PASSAGE_READING, PASSAGE_STEERED, Settings,
};
use agent_common::counter::Counter;
use agent_common::limits::GATEWAY_LISTENERS;
use aya_ebpf::bindings::{
    __sk_buff, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
    bpf_fib_lookup as FibLookup,
};
use aya_ebpf::helpers::bpf_sk_release;
use aya_ebpf::helpers::generated::{bpf_fib_lookup, bpf_sk_assign, bpf_tcp_check_syncookie};
use aya_ebpf::programs::TcContext;

use crate::dns::DNS_PORT;
use crate::gateway_packet::{self as packet, Packet, TCP, UDP};
use crate::gateway_socket::{LISTEN, TIME_WAIT, claim, lookup, mark};
use crate::interest::{self, Interest};
use crate::skb::load_at;
use crate::verdict::Forwarded;
use crate::{gateway_dns, gateway_net, liveness, maps};

const QUIC_PORT: u16 = 443;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const FIN_RST_SYN_ACK: u8 = 0x17;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Bits of a VLAN's number in its tag; 0 is a priority alone.
const VLAN_ID: u32 = 0x0fff;

#[inline(always)]
pub fn ingress(ctx: &TcContext) -> Forwarded {
    let skb = ctx.skb.skb;
    let Some(settings) = maps::settings() else { return Forwarded::LeftAlone };
    packet::gather_first(ctx);
    let mut room = MaybeUninit::uninit();
    let Some((packet, header)) = packet::read_ahead(ctx, &mut room) else { return Forwarded::LeftAlone };
    if packet.obscure {
        return unfollowed(settings, &packet);
    }
    if packet.protocol != TCP && packet.protocol != UDP {
        return Forwarded::LeftAlone;
    }
    let mut room = MaybeUninit::uninit();
    let ports = match &header {
        Some([a, b, c, d, ..]) => [*a, *b, *c, *d],
        None => match packet::load(ctx, packet.transport, &mut room) {
            Some(ports) => *ports,
            None => return unfollowed(settings, &packet),
        },
    };
    let ports = &ports;
    let port = u16::from_be_bytes([ports[2], ports[3]]);
    if packet.protocol == UDP {
        return datagram(ctx, settings, &packet, ports, port);
    }
    if !settings.ports.contains(&port) || port == 0 {
        // An origin may stand on the inside, too.
        if !packet.fragmented {
            claim(skb, settings, &packet, ports);
        }
        return Forwarded::LeftAlone;
    }
    // SAFETY: plain field loads.
    let (tagged, tag) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci) };
    if tagged != 0 && tag & VLAN_ID != 0 {
        return Forwarded::Counted(Counter::VlanTagged);
    }
    if packet.fragmented {
        return unfollowed(settings, &packet);
    }
    let mut room = MaybeUninit::uninit();
    let header = match header {
        Some(header) => header,
        None => match packet::load(ctx, packet.transport, &mut room) {
            Some(header) => header,
            None => return unfollowed(settings, &packet),
        },
    };
    segment(ctx, settings, &packet, ports, header)
}

/// A fragment or a chain of headers that hides what is in it. TCP never needs that (path MTU discovery); who does it wants
/// to be read differently by two readers.
#[inline(always)]
fn unfollowed(settings: &Settings, packet: &Packet) -> Forwarded {
    if packet.protocol == UDP {
        return Forwarded::LeftAlone;
    }
    match interest(settings, &packet.destination) {
        Interest::App | Interest::Unexplained => Forwarded::Dropped(Counter::FragmentDropped),
        Interest::None | Interest::NotSelected | Interest::Expired => Forwarded::LeftAlone,
    }
}

#[inline(always)]
fn datagram(ctx: &TcContext, settings: &Settings, packet: &Packet, ports: &[u8; 4], port: u16) -> Forwarded {
    let skb = ctx.skb.skb;
    if port == DNS_PORT {
        gateway_dns::note_question(ctx, packet, u16::from_be_bytes([ports[0], ports[1]]));
        return Forwarded::LeftAlone;
    }
    if port != QUIC_PORT || settings.refuse_quic == 0 {
        return Forwarded::LeftAlone;
    }
    // Without an agent there is nobody to fall back to, unless that is wanted.
    if settings.fail != FAIL_CLOSED && !is_served(packet.v4) {
        return Forwarded::LeftAlone;
    }
    if let Interest::App = interest(settings, &packet.destination) {
        mark(skb, GATEWAY_MARK_REFUSE);
        return Forwarded::Counted(Counter::QuicRefused);
    }
    Forwarded::LeftAlone
}

/// A TCP segment to a steered port.
#[inline(always)]
fn segment(
    ctx: &TcContext,
    settings: &Settings,
    packet: &Packet,
    ports: &[u8; 4],
    header: &mut [u8; 20],
) -> Forwarded {
    let skb = ctx.skb.skb;
    let flags = header[13] & FIN_RST_SYN_ACK;
    let mut before = false;
    if flags & (SYN | RST) == 0 {
        match stage(settings, packet, header) {
            // Most segments there are: what was left alone when it began has no socket here to be looked for.
            Stage::LeftAlone => return Forwarded::LeftAlone,
            Stage::Reading => {
                if has_data(packet, header) {
                    maps::read_on(ctx);
                }
                return Forwarded::LeftAlone;
            }
            Stage::Steered => {}
            Stage::Before => before = settings.existing != EXISTING_LEAVE,
        }
    }
    // A connection that the agent has stays the agent's, whatever policies and answers say meanwhile.
    match assign_established(skb, packet, ports, flags == SYN) {
        Found::Assigned => {
            mark(skb, GATEWAY_MARK_STEER);
            return Forwarded::LeftAlone;
        }
        Found::Failed => return Forwarded::Dropped(Counter::AssignFailed),
        Found::Absent => {}
    }
    // The third packet of a handshake may be without a socket, too: under a flood of SYNs the kernel answers with cookies.
    // It may be lost, and come with the first data.
    if flags != SYN && flags & ACK == 0 {
        return Forwarded::LeftAlone;
    }
    let counter = match interest(settings, &packet.destination) {
        Interest::None => return left_alone(ctx, settings, packet, header, None),
        Interest::NotSelected => {
            return left_alone(ctx, settings, packet, header, Some(Counter::NotSelected));
        }
        Interest::Expired => return left_alone(ctx, settings, packet, header, Some(Counter::Expired)),
        Interest::App => Counter::Steered,
        Interest::Unexplained => Counter::Peeked,
    };
    if flags == SYN && !is_forwarded(skb, packet) {
        return Forwarded::Counted(Counter::NotForwarded);
    }
    let mut ip = [0u8; 40];
    if packet.v4 {
        let mut room = MaybeUninit::uninit();
        let Some(short) = load_at::<20>(skb, 0, &mut room) else { return Forwarded::LeftAlone };
        ip[..20].copy_from_slice(short);
    } else {
        let mut room = MaybeUninit::uninit();
        let Some(whole) = load_at::<40>(skb, 0, &mut room) else { return Forwarded::LeftAlone };
        ip = *whole;
    }
    // A connection that began is its listener's, which the next agent may have by the time the client goes on.
    let found = if flags == SYN && !liveness::beats(liveness::now()) {
        Found::Absent
    } else {
        assign_listener(skb, settings, packet, &mut ip, header, flags != SYN)
    };
    match found {
        Found::Assigned => {
            mark(skb, GATEWAY_MARK_STEER);
            if flags != SYN {
                return Forwarded::LeftAlone;
            }
            // Always: what an earlier connection of these two sockets left behind says that this one is not the agent's.
            gateway_net::begin(settings, packet, header, PASSAGE_STEERED);
            Forwarded::Counted(counter)
        }
        Found::Absent if flags != SYN => {
            if before && matches!(counter, Counter::Steered) && (flags == ACK || has_data(packet, header)) {
                maps::read_on(ctx);
            }
            Forwarded::LeftAlone
        }
        // The listener goes with the agent's process, at once, unless the service manager has it too.
        Found::Absent if counter as u32 == Counter::Steered as u32 && settings.fail == FAIL_CLOSED => {
            mark(skb, GATEWAY_MARK_REFUSE);
            Forwarded::Counted(Counter::RefusedWithoutAgent)
        }
        Found::Absent => {
            // Let pass once, let pass to its end: not taken for one from before, nor read.
            if settings.existing != EXISTING_LEAVE || settings.guard != GUARD_OFF {
                gateway_net::begin(settings, packet, header, PASSAGE_OPEN);
            }
            Forwarded::Counted(Counter::PassedWithoutAgent)
        }
        Found::Failed => Forwarded::Dropped(Counter::AssignFailed),
    }
}

#[inline(always)]
fn has_data(packet: &Packet, header: &[u8; 20]) -> bool {
    packet.end > packet.transport + packet::tcp_header(header)
}

/// Where a connection that is not the agent's stands when its client says something.
enum Stage {
    LeftAlone,
    /// Its first words are not read yet, or it was stopped.
    Reading,
    /// The agent had it, or is to have it.
    Steered,
    /// It began before anybody was asked about it.
    Before,
}

#[inline(always)]
fn stage(settings: &Settings, packet: &Packet, header: &[u8; 20]) -> Stage {
    match maps::passage(&gateway_net::key_of(packet, header)) {
        Some(passage) if passage.state == PASSAGE_STEERED => Stage::Steered,
        Some(passage) if passage.state != PASSAGE_OPEN => Stage::Reading,
        Some(passage) if passage.selection == settings.selection => Stage::LeftAlone,
        Some(_) | None => Stage::Before,
    }
}

/// One count a connection, not one a packet. It is remembered when it begins.
#[inline(always)]
fn left_alone(
    ctx: &TcContext,
    settings: &Settings,
    packet: &Packet,
    header: &[u8; 20],
    counter: Option<Counter>,
) -> Forwarded {
    if header[13] & FIN_RST_SYN_ACK != SYN {
        return Forwarded::LeftAlone;
    }
    if let Some(counter) = counter {
        maps::count(counter);
    }
    let reads = settings.guard != GUARD_OFF;
    let asked = reads || settings.existing != EXISTING_LEAVE;
    if !asked || settings.steer_apps == 0 || !packet.destination.is_reachable_from_afar() {
        return Forwarded::LeftAlone;
    }
    gateway_net::begin(settings, packet, header, if reads { PASSAGE_READING } else { PASSAGE_OPEN });
    // A SYN can carry data (RFC 7413).
    if reads && has_data(packet, header) {
        maps::read_on(ctx);
    }
    Forwarded::LeftAlone
}

/// As on a host, but nothing is of interest while no app is selected: the agent may be going.
#[inline(always)]
fn interest(settings: &Settings, to: &Address) -> Interest {
    if settings.steer_apps == 0 || !to.is_reachable_from_afar() {
        return Interest::None;
    }
    interest::of(settings, to, liveness::now())
}

enum Found {
    Assigned,
    Absent,
    Failed,
}

/// Gives the packet to the connection it belongs to, when the agent has it.
#[inline(always)]
fn assign_established(skb: *mut __sk_buff, packet: &Packet, ports: &[u8; 4], syn: bool) -> Found {
    let socket = lookup(skb, packet, ports);
    if socket.is_null() {
        return Found::Absent;
    }
    // SAFETY: not null; the reference is released on every path.
    unsafe {
        let state = (*socket).state;
        // A listener here is a service of the gateway's own. A client that takes up a port again opens a new connection.
        if state == LISTEN || (state == TIME_WAIT && syn) {
            bpf_sk_release(socket.cast());
            return Found::Absent;
        }
        let failed = bpf_sk_assign(skb.cast(), socket.cast(), 0);
        bpf_sk_release(socket.cast());
        if failed == 0 { Found::Assigned } else { Found::Failed }
    }
}

/// Gives the packet to one of the agent's listeners, always the same for one client socket: a SYN cookie is known only to
/// the listener that made it.
#[inline(always)]
fn assign_listener(
    skb: *mut __sk_buff,
    settings: &Settings,
    packet: &Packet,
    ip: &mut [u8; 40],
    header: &mut [u8; 20],
    cookie: bool,
) -> Found {
    let listeners = settings.gateway_listeners;
    if listeners == 0 {
        return Found::Absent;
    }
    let words = packet.source.words();
    let from = u16::from_be_bytes([header[0], header[1]]) as u32;
    let mixed = (words[0] ^ words[1] ^ words[2] ^ words[3] ^ (from << 16 | from)).wrapping_mul(0x9e37_79b1);
    let index = ((mixed >> 16) % listeners) * 2 + !packet.v4 as u32;
    if index >= GATEWAY_LISTENERS {
        return Found::Absent;
    }
    let listener = maps::listener(index);
    if listener.is_null() {
        return Found::Absent;
    }
    // SAFETY: both headers are whole; the reference is released on every path.
    unsafe {
        if cookie {
            let length = if packet.v4 { 20 } else { 40 };
            let known = bpf_tcp_check_syncookie(
                listener,
                ip.as_mut_ptr().cast(),
                length,
                header.as_mut_ptr().cast(),
                20,
            );
            if known != 0 {
                bpf_sk_release(listener);
                return Found::Absent;
            }
        }
        let failed = bpf_sk_assign(skb.cast(), listener, 0);
        bpf_sk_release(listener);
        if failed == 0 { Found::Assigned } else { Found::Failed }
    }
}

/// Whether an agent serves, or one is about to: its heart beats, and it listens. Sockets leave the map when they close.
#[inline(always)]
fn is_served(v4: bool) -> bool {
    if !liveness::beats(liveness::now()) {
        return false;
    }
    let listener = maps::listener(!v4 as u32);
    if listener.is_null() {
        return false;
    }
    // SAFETY: not null, and referenced by the look-up; not used afterwards.
    unsafe { bpf_sk_release(listener) };
    true
}

/// Whether the gateway would forward the packet: what is for itself, or for nowhere, is none of ours.
#[inline(always)]
fn is_forwarded(skb: *mut __sk_buff, packet: &Packet) -> bool {
    let (source, destination) = (packet.source.words(), packet.destination.words());
    // SAFETY: integers only.
    let mut question: FibLookup = unsafe { zeroed() };
    question.l4_protocol = TCP;
    // SAFETY: plain field load.
    question.ifindex = unsafe { (*skb).ifindex };
    if packet.v4 {
        question.family = AF_INET;
        question.__bindgen_anon_3.ipv4_src = source[3];
        question.__bindgen_anon_4.ipv4_dst = destination[3];
    } else {
        question.family = AF_INET6;
        question.__bindgen_anon_3.ipv6_src = source;
        question.__bindgen_anon_4.ipv6_dst = destination;
    }
    // SAFETY: the question is whole and as long as said.
    let found = unsafe { bpf_fib_lookup(skb.cast(), &mut question, size_of::<FibLookup>() as i32, 0) };
    found == BPF_FIB_LKUP_RET_SUCCESS as i64
        || found == BPF_FIB_LKUP_RET_NO_NEIGH as i64
        || found == BPF_FIB_LKUP_RET_FRAG_NEEDED as i64
}
