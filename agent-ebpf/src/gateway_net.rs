//! The net beneath steering on a gateway: the first words of forwarded connections that were left alone, read on their way
//! through. One that names a selected app is closed before its name leaves; the next attempt is steered.
//!
//! There are no sockets of the clients here, so that a map remembers what a socket would know. A closed connection's segment
//! is handed to the agent's transparent listener, which knows nothing of it: the kernel answers the client with a reset.
//!
//! A program of its own, which `pc_gateway_in` jumps to for a connection's first words alone: together they are too much for
//! the verifier.

use core::mem::MaybeUninit;

use agent_common::abi::{
    EVENT_EXISTING, EVENT_EXISTING_CLOSED, EVENT_NAME, EVENT_UNREADABLE, EXISTING_CLOSE, Event,
    GATEWAY_MARK_STEER, IN_DOUBT, PASSAGE_OPEN, PASSAGE_STEERED, PASSAGE_STOPPED, Passage, PassageKey,
    Settings, UNKNOWN_USER,
};
use agent_common::byte_source::Slot;
use agent_common::counter::Counter;
use agent_common::domain::KEY_SIZE;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_sk_release;
use aya_ebpf::helpers::generated::bpf_sk_assign;
use aya_ebpf::programs::TcContext;

use crate::gateway_packet as packet;
use crate::gateway_socket::mark;
use crate::maps::{self, Room};
use crate::net_out::{self, Catch, Said};
use crate::skb::{self, Data, load_at};
use crate::verdict::Forwarded;

/// What a segment is part of, and how it begins.
#[inline(always)]
pub fn key_of(packet: &packet::Packet, header: &[u8; 20]) -> PassageKey {
    PassageKey {
        client: packet.source,
        server: packet.destination,
        client_port: u16::from_be_bytes([header[0], header[1]]),
        server_port: u16::from_be_bytes([header[2], header[3]]),
    }
}

/// Remembers a connection at its SYN: one that is steered, one whose first words are to be read, or neither.
#[inline(always)]
pub fn begin(settings: &Settings, packet: &packet::Packet, header: &[u8; 20], state: u8) {
    let passage = Passage {
        first: sequence(header).wrapping_add(1),
        selection: settings.selection,
        held: 0,
        segments: 0,
        state,
    };
    if !maps::pass(&key_of(packet, header), &passage) {
        maps::count(Counter::StoreFailed);
    }
}

#[inline(always)]
fn sequence(header: &[u8; 20]) -> u32 {
    u32::from_be_bytes([header[4], header[5], header[6], header[7]])
}

#[inline(always)]
pub fn ingress(ctx: &TcContext) -> Forwarded {
    let Some(settings) = maps::settings() else { return Forwarded::LeftAlone };
    packet::gather_data(ctx);
    // Dropped, it comes again.
    let Some((key, room)) = maps::take_room() else { return Forwarded::Dropped(Counter::StoreFailed) };
    let found = segment(ctx.skb.skb, settings, room);
    maps::give_back(key);
    found
}

#[inline(always)]
fn segment(skb: *mut __sk_buff, settings: &Settings, room: &mut Room) -> Forwarded {
    let Some(data) = read(skb, room) else { return Forwarded::LeftAlone };
    let Some(passage) = maps::passage(&room.passage.key) else {
        return existing(skb, settings, room, data.sequence);
    };
    let opaque = &raw mut room.opaque;
    let (state, before) = (passage.state, passage.selection != settings.selection);
    if state == PASSAGE_OPEN {
        return if before { existing(skb, settings, room, data.sequence) } else { Forwarded::LeftAlone };
    }
    if state == PASSAGE_STEERED {
        return Forwarded::LeftAlone;
    }
    if state == PASSAGE_STOPPED {
        return reset(skb, room);
    }
    let (first, held, segments) = (passage.first, passage.held as usize, passage.segments);
    // What this segment repeats of what is held already.
    let skip = first.wrapping_add(held as u32).wrapping_sub(data.sequence);
    if (skip as i32) < 0 {
        return Forwarded::Dropped(Counter::NetOutOfOrder);
    }
    if skip >= data.length {
        return Forwarded::LeftAlone;
    }
    if held == 0 {
        maps::count(Counter::Watched);
    } else if !maps::recall_said(room) {
        return stop(skb, room, 0);
    }
    // What the verifier knows of these, it would follow the search below for once more.
    let said = Said {
        first,
        held,
        segments: maps::launder(opaque, Slot::Next, segments as usize) as u8,
        skip: maps::launder(opaque, Slot::Position, skip as usize) as u32,
    };
    let (catch, apps, held) = net_out::look::<true>(settings, &data, room, &said);
    match catch {
        Catch::Release => {
            if let Some(passage) = maps::passage(&room.passage.key) {
                passage.state = PASSAGE_OPEN;
            }
            maps::forget_said(room);
            Forwarded::LeftAlone
        }
        Catch::Wait => {
            let Some(passage) = maps::passage(&room.passage.key) else { return Forwarded::LeftAlone };
            if !maps::keep_said(room) {
                return Forwarded::Dropped(Counter::StoreFailed);
            }
            passage.held = held as u16;
            passage.segments += 1;
            Forwarded::LeftAlone
        }
        Catch::Name | Catch::Unreadable => stop(skb, room, apps),
    }
}

/// The connection's name and the place of its data, without anything that the verifier would follow further down.
#[inline(always)]
fn read(skb: *mut __sk_buff, room: &mut Room) -> Option<Data> {
    let packet = packet::read(skb)?;
    let mut bytes = MaybeUninit::uninit();
    let header: &[u8; 20] = load_at(skb, packet.transport, &mut bytes)?;
    let at = packet.transport + packet::tcp_header(header);
    let length = packet.end.checked_sub(at)?;
    room.passage.key = key_of(&packet, header);
    room.passage.syn = header[13] & skb::SYN;
    let opaque = &raw mut room.opaque;
    let syn = (header[13] & skb::SYN != 0) as u32;
    let sequence = sequence(header).wrapping_add(syn);
    let urgent = maps::launder(opaque, Slot::Code, (header[13] & skb::URG) as usize) != 0;
    Some(Data {
        skb,
        at: maps::launder(opaque, Slot::Start, at as usize) as u32 & packet::PLACE,
        sequence: maps::launder(opaque, Slot::End, sequence as usize) as u32,
        length: maps::launder(opaque, Slot::NameLength, length as usize) as u32 & packet::LENGTH,
        urgent,
    })
}

/// The client's first words name selected apps (`apps`), or cannot be read (0): the connection ends here.
#[inline(always)]
fn stop(skb: *mut __sk_buff, room: &mut Room, apps: u64) -> Forwarded {
    net_out::learn(&room.passage.key.server, if apps == 0 { IN_DOUBT } else { apps });
    let counter = if apps == 0 { Counter::NetUnreadable } else { Counter::NetStopped };
    if room.passage.syn != 0 {
        // Sent with the SYN (RFC 7413): the client sends the SYN again, and that one is steered.
        return Forwarded::Dropped(counter);
    }
    // Where the ring is full, the segment is read again when it is sent again.
    if !maps::tell(|event| fill(event, room, if apps == 0 { EVENT_UNREADABLE } else { EVENT_NAME }, apps)) {
        return Forwarded::Dropped(counter);
    }
    maps::count(counter);
    if let Some(passage) = maps::passage(&room.passage.key) {
        passage.state = PASSAGE_STOPPED;
    }
    reset(skb, room)
}

/// A connection to an address of a selected app from before it could be steered: what it is for is not known any more.
#[inline(always)]
fn existing(skb: *mut __sk_buff, settings: &Settings, room: &mut Room, sequence: u32) -> Forwarded {
    let close = settings.existing == EXISTING_CLOSE;
    let kind = if close { EVENT_EXISTING_CLOSED } else { EVENT_EXISTING };
    if !maps::tell(|event| fill(event, room, kind, 0)) {
        return Forwarded::LeftAlone;
    }
    let passage = Passage {
        first: sequence,
        selection: settings.selection,
        held: 0,
        segments: 0,
        state: if close { PASSAGE_STOPPED } else { PASSAGE_OPEN },
    };
    if !maps::pass(&room.passage.key, &passage) {
        maps::count(Counter::StoreFailed);
    }
    if !close {
        return Forwarded::Counted(Counter::ExistingReported);
    }
    maps::count(Counter::ExistingClosed);
    reset(skb, room)
}

/// Hands the segment to a listener of the agent that does not know the connection.
#[inline(always)]
fn reset(skb: *mut __sk_buff, room: &Room) -> Forwarded {
    let listener = maps::listener(!room.passage.key.server.is_v4() as u32);
    if listener.is_null() {
        // Nobody of this family: the segment is all that can be kept from the origin.
        return Forwarded::Dropped(Counter::AssignFailed);
    }
    // SAFETY: not null; the reference is released on every path.
    let failed = unsafe {
        let failed = bpf_sk_assign(skb.cast(), listener, 0);
        bpf_sk_release(listener);
        failed
    };
    if failed != 0 {
        return Forwarded::Dropped(Counter::AssignFailed);
    }
    mark(skb, GATEWAY_MARK_STEER);
    Forwarded::LeftAlone
}

#[inline(always)]
fn fill(event: &mut Event, room: &Room, kind: u32, apps: u64) {
    let key = &room.passage.key;
    event.kind = kind;
    event.apps = apps;
    event.socket_cookie = 0;
    event.uid = UNKNOWN_USER;
    event.original = key.server;
    event.original_port = key.server_port;
    event.local = key.client;
    event.local_port = key.client_port;
    if apps != 0 {
        event.name_length = room.name.key().bits / 8;
        event.name = room.name.key().bytes;
    } else {
        event.name_length = 0;
        event.name = [0; KEY_SIZE];
    }
}
