//! The net beneath steering: the first words of connections that were left alone. One that names a selected app is
//! stopped before its name leaves, and the agent is told to close it; the next attempt is steered.

use agent_common::abi::{
    Address, EVENT_NAME, EVENT_UNREADABLE, Event, FLOW_PEEKED, IN_DOUBT, Settings, Target, WATCH_READING,
    WATCH_SILENT, WATCH_STOPPED, WATCH_TOLD, Watched,
};
use agent_common::counter::Counter;
use agent_common::first_words::{self, Words};
use agent_common::limits::{LEARNED_BY_NET_S, NET_SEGMENTS};
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::SkBuffContext;

use crate::dns::NS_PER_S;
use crate::liveness;
use crate::maps::{self, FirstWords};
use crate::skb::{self, Segment, TCP};

/// Whether a segment on its way out is refused.
#[inline(always)]
pub fn egress(ctx: &SkBuffContext) -> bool {
    let Some(socket) = skb::socket_of(ctx, TCP) else { return false };
    match maps::watched(socket) {
        Some(watched) => tcp(ctx, socket, watched),
        None => false,
    }
}

/// What to do with a segment.
enum Catch {
    /// It passes; the next one is looked at as well.
    Wait,
    /// It passes, and so does everything behind it.
    Release,
    /// It names selected apps.
    Name(u64),
    Unreadable,
}

#[inline(always)]
fn tcp(ctx: &SkBuffContext, socket: *mut bpf_sock, watched: &'static mut Watched) -> bool {
    let Some(settings) = maps::settings() else { return false };
    // Only IPv6 extension headers, which the owner of a socket can ask for, have no segment behind them.
    let Some(segment) = skb::segment(ctx) else {
        maps::count(Counter::NetUnreadable);
        return true;
    };
    if segment.length == 0 {
        return false;
    }
    if segment.destination_port != watched.flow.original_port {
        // The socket was connected elsewhere since.
        maps::unwatch(socket);
        return false;
    }
    if watched.state < WATCH_STOPPED {
        if !liveness::beats() {
            // Nobody would close what is stopped.
            maps::unwatch(socket);
            return false;
        }
        let (apps, counter) = match look(settings, &segment, watched, socket) {
            Catch::Wait => return false,
            Catch::Release => {
                maps::unwatch(socket);
                return false;
            }
            Catch::Name(apps) => (apps, Counter::NetStopped),
            Catch::Unreadable => (0, Counter::NetUnreadable),
        };
        learn(&watched.flow.original, if apps == 0 { IN_DOUBT } else { apps });
        watched.apps = apps;
        watched.state = WATCH_STOPPED;
        maps::count(counter);
    }
    if watched.state == WATCH_STOPPED {
        tell(&segment, watched, socket);
    }
    true
}

/// Adds a segment to the first words and reads them.
#[inline(always)]
fn look(settings: &Settings, segment: &Segment, watched: &mut Watched, socket: *mut bpf_sock) -> Catch {
    if watched.state == WATCH_SILENT {
        watched.state = WATCH_READING;
        watched.first = segment.sequence;
    }
    // What this segment repeats of what is held already.
    let skip = watched.first.wrapping_add(watched.held as u32).wrapping_sub(segment.sequence);
    if skip as i32 >= 0 && skip >= segment.length {
        return Catch::Wait;
    }
    watched.segments += 1;
    if (skip as i32) < 0 || watched.segments > NET_SEGMENTS {
        return Catch::Unreadable;
    }
    let Some(words) = maps::first_words(socket) else { return Catch::Unreadable };
    let FirstWords { opaque, name, bytes } = words;
    let Some(held) = skb::gather(segment, skip, bytes, watched.held as usize, opaque) else {
        return Catch::Unreadable;
    };
    watched.held = held as u16;
    match first_words::read(&skb::gathered(bytes, held, opaque), name) {
        Words::More => Catch::Wait,
        Words::Name => match maps::apps_of(name.key()).unwrap_or(0) & settings.steer_apps {
            0 => Catch::Release,
            apps => Catch::Name(apps),
        },
        // The host of a request is not read. At an address that only a look at other words explains, that look must not
        // have earned it a way past the agent.
        Words::Request if watched.flow.flags & FLOW_PEEKED != 0 => Catch::Unreadable,
        Words::Nameless | Words::Request | Words::Other => Catch::Release,
        Words::Unreadable => Catch::Unreadable,
    }
}

/// From now on the address belongs to these apps, beside those it belonged to.
#[inline(always)]
fn learn(address: &Address, apps: u64) {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
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

/// Tells the agent to close the socket, as often as it takes until the event finds room.
#[inline(always)]
fn tell(segment: &Segment, watched: &mut Watched, socket: *mut bpf_sock) {
    let words = maps::first_words(socket);
    if maps::tell(|event| fill(event, segment, watched, words.as_deref())) {
        watched.state = WATCH_TOLD;
    }
}

#[inline(always)]
fn fill(event: &mut Event, segment: &Segment, watched: &Watched, words: Option<&FirstWords>) {
    event.kind = if watched.apps != 0 { EVENT_NAME } else { EVENT_UNREADABLE };
    event.apps = watched.apps;
    event.flow = watched.flow;
    event.local = segment.source;
    event.local_port = segment.source_port;
    event._pad = [0; 3];
    match words {
        Some(words) if watched.apps != 0 => {
            event.name_length = words.name.key().bits / 8;
            event.name = words.name.key().bytes;
        }
        _ => {
            event.name_length = 0;
            event.name = [0; agent_common::domain::KEY_SIZE];
        }
    }
}
