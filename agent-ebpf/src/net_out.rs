//! The net beneath steering: the first words of connections that were left alone, read on their way out. One that names a
//! selected app is stopped before its name leaves, and the agent is told to close it; the next attempt is steered.
//!
//! Nothing is kept of a connection until that is needed: the socket itself says whether anything it sent has arrived yet.
//! A connection whose first segment says whom it is for, which nearly all do, costs a look at that segment.

use agent_common::abi::{
    Address, EVENT_NAME, EVENT_UNREADABLE, Event, GUARD_OFF, IN_DOUBT, Settings, Target,
};
use agent_common::byte_source::Slot;
use agent_common::counter::Counter;
use agent_common::domain::KEY_SIZE;
use agent_common::first_words::{self, Words};
use agent_common::limits::{LEARNED_BY_NET_S, NET_SEGMENTS};
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::helpers::generated::bpf_get_socket_uid;
use aya_ebpf::programs::SkBuffContext;

use crate::dns::NS_PER_S;
use crate::maps::{self, Room, Watched};
use crate::skb::{self, Data, Segment, TCP};
use crate::{connect, liveness};

/// Whether a segment on its way out is refused.
#[inline(always)]
pub fn egress(ctx: &SkBuffContext) -> bool {
    let Some(socket) = skb::socket_of(ctx, TCP) else { return false };
    if let Some(watched) = maps::watched(socket) {
        return match maps::settings() {
            Some(settings) => again(ctx, settings, socket, watched),
            None => false,
        };
    }
    let tcp = skb::tcp(socket);
    if tcp.is_null() {
        return false;
    }
    let first = skb::first_byte(socket, tcp);
    if first == skb::NONE {
        return false;
    }
    match maps::settings() {
        Some(settings) => at_first(ctx, settings, socket, first as u32),
        None => false,
    }
}

/// A segment of a connection of which nothing is held: it may be its first one with data.
#[inline(always)]
fn at_first(ctx: &SkBuffContext, settings: &Settings, socket: *mut bpf_sock, first: u32) -> bool {
    let port = skb::remote_port(socket);
    if settings.guard == GUARD_OFF || settings.steer_apps == 0 || !connect::steered_port(settings, port) {
        return false;
    }
    let segment = skb::segment(ctx);
    if let Some(segment) = &segment
        && (segment.data.length == 0
            || segment.data.sequence != first
            || !segment.destination.is_reachable_from_afar())
    {
        return false;
    }
    // Without an agent nobody would close what is stopped.
    if maps::is_own(socket)
        || !liveness::beats(liveness::now())
        || !skb::is_in_agents_namespace(ctx, settings)
    {
        return false;
    }
    // Only IPv6 extension headers, which the owner of a socket can ask for, have no segment behind them.
    let Some(segment) = segment else {
        maps::count(Counter::NetUnreadable);
        return true;
    };
    maps::count(Counter::Watched);
    read(ctx, settings, socket, &segment, None, Said { first, held: 0, segments: 0, skip: 0 })
}

/// A further segment of a connection whose first words were not whole, or that was stopped.
#[inline(always)]
fn again(
    ctx: &SkBuffContext,
    settings: &Settings,
    socket: *mut bpf_sock,
    watched: &'static mut Watched,
) -> bool {
    if watched.stopped != 0 {
        return true;
    }
    let Some(segment) = skb::segment(ctx) else {
        maps::count(Counter::NetUnreadable);
        return true;
    };
    if segment.data.length == 0 {
        return false;
    }
    if !liveness::beats(liveness::now()) {
        maps::unwatch(socket);
        return false;
    }
    let (first, held, segments) = (watched.first, watched.held as usize, watched.segments);
    // What this segment repeats of what is held already.
    let skip = first.wrapping_add(held as u32).wrapping_sub(segment.data.sequence);
    if skip as i32 >= 0 && skip >= segment.data.length {
        return false;
    }
    read(ctx, settings, socket, &segment, Some(watched), Said { first, held, segments, skip })
}

/// What was said before a segment.
pub struct Said {
    pub first: u32,
    pub held: usize,
    pub segments: u8,
    /// Bytes of the segment that repeat what is held.
    pub skip: u32,
}

/// What to do with a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Catch {
    /// It passes; the next one is looked at as well.
    Wait,
    /// It passes, and so does everything behind it.
    Release,
    /// It names selected apps.
    Name,
    Unreadable,
}

#[inline(always)]
fn read(
    ctx: &SkBuffContext,
    settings: &Settings,
    socket: *mut bpf_sock,
    segment: &Segment,
    watched: Option<&'static mut Watched>,
    said: Said,
) -> bool {
    let Some((key, room)) = maps::take_room() else { return true };
    let kept = watched.is_some();
    if let Some(watched) = watched {
        maps::recall(watched, room);
    }
    // What the verifier knows of these, it would follow the search below for once more.
    let opaque = &raw mut room.opaque;
    let forget = |value: usize| maps::launder(opaque, Slot::Next, value);
    let kept = forget(kept as usize) != 0;
    let said = Said {
        first: forget(said.first as usize) as u32,
        held: said.held,
        segments: forget(said.segments as usize) as u8,
        skip: said.skip,
    };
    let (catch, apps, held) = look::<false>(settings, &segment.data, room, &said);
    let refused = match catch {
        Catch::Release => {
            if kept {
                maps::unwatch(socket);
            }
            false
        }
        Catch::Wait => match maps::watch(socket) {
            Some(watched) => {
                maps::keep(watched, room);
                watched.first = said.first;
                watched.held = held as u16;
                watched.segments = said.segments + 1;
                false
            }
            None => {
                maps::count(Counter::StoreFailed);
                true
            }
        },
        Catch::Name | Catch::Unreadable => {
            stop(ctx, socket, apps, room);
            true
        }
    };
    maps::give_back(key);
    refused
}

/// From here on the socket sends nothing more, and the agent is told to close it.
#[inline(always)]
fn stop(ctx: &SkBuffContext, socket: *mut bpf_sock, apps: u64, room: &Room) {
    // Read anew: addresses that were kept all the while would make the verifier follow IPv4 and IPv6 apart.
    let Some(segment) = skb::segment(ctx) else { return };
    learn(&segment.destination, if apps == 0 { IN_DOUBT } else { apps });
    // Where the ring is full, the segment is read again when TCP sends it again.
    if maps::tell(|event| fill(ctx, event, &segment, apps, room)) {
        maps::count(if apps == 0 { Counter::NetUnreadable } else { Counter::NetStopped });
        if let Some(watched) = maps::watch(socket) {
            watched.stopped = 1;
        }
    }
}

/// Adds a segment to the first words and reads them: what to do, for which apps, and the bytes that are held then.
#[inline(always)]
pub fn look<const AT_TC: bool>(
    settings: &Settings,
    data: &Data,
    room: &mut Room,
    said: &Said,
) -> (Catch, u64, usize) {
    const UNREADABLE: (Catch, u64, usize) = (Catch::Unreadable, 0, 0);
    if (said.skip as i32) < 0 || data.urgent || said.segments >= NET_SEGMENTS {
        return UNREADABLE;
    }
    let Room { opaque, name, bytes, .. } = room;
    let Some(held) = skb::gather::<AT_TC>(data, said.skip, bytes, said.held, opaque) else {
        return UNREADABLE;
    };
    match first_words::read(&skb::gathered(bytes, held, opaque), name) {
        Words::More => (Catch::Wait, 0, held),
        Words::Name => match maps::apps_of(name.key()).unwrap_or(0) & settings.steer_apps {
            0 => (Catch::Release, 0, held),
            apps => (Catch::Name, apps, held),
        },
        Words::Nameless | Words::Other => (Catch::Release, 0, held),
        Words::Unreadable => UNREADABLE,
    }
}

/// From now on the address belongs to these apps, beside those it belonged to.
#[inline(always)]
pub fn learn(address: &Address, apps: u64) {
    let now = liveness::now();
    let mut target = Target { apps, expires_ns: now + LEARNED_BY_NET_S * NS_PER_S };
    if let Some(known) = maps::target(address)
        && known.expires_ns > now
    {
        target.apps |= known.apps;
        if known.expires_ns > target.expires_ns {
            target.expires_ns = known.expires_ns;
        }
    }
    if !maps::learn(address, &target) {
        maps::count(Counter::StoreFailed);
    }
}

#[inline(always)]
fn fill(ctx: &SkBuffContext, event: &mut Event, segment: &Segment, apps: u64, room: &Room) {
    event.kind = if apps != 0 { EVENT_NAME } else { EVENT_UNREADABLE };
    event.apps = apps;
    // SAFETY: helpers with the hook's own context.
    (event.socket_cookie, event.uid) =
        unsafe { (bpf_get_socket_cookie(ctx.skb.skb.cast()), bpf_get_socket_uid(ctx.skb.skb)) };
    event.original = segment.destination;
    event.original_port = segment.destination_port;
    event.local = segment.source;
    event.local_port = segment.source_port;
    if apps != 0 {
        event.name_length = room.name.key().bits / 8;
        event.name = room.name.key().bytes;
    } else {
        event.name_length = 0;
        event.name = [0; KEY_SIZE];
    }
}
