//! Datagrams on their way out: questions to DNS servers are noted, those for service bindings of selected apps refused,
//! and so is QUIC from sockets that were connected before the hooks were there.

use agent_common::abi::Settings;
use agent_common::counter::Counter;
use agent_common::dns;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::programs::SkBuffContext;

use crate::connect::QUIC_PORT;
use crate::dns::{DNS_PORT, note_question};
use crate::maps::{self, Room};
use crate::skb::{self, Datagram, UDP};
use crate::{interest, liveness};

/// Whether a datagram on its way out is refused.
#[inline(always)]
pub fn egress(ctx: &SkBuffContext) -> bool {
    let Some(socket) = skb::socket_of(ctx, UDP) else { return false };
    let refused = reason(ctx, socket);
    if let Some(counter) = refused {
        maps::count(counter);
    }
    refused.is_some()
}

#[inline(always)]
fn reason(ctx: &SkBuffContext, socket: *mut bpf_sock) -> Option<Counter> {
    let datagram = skb::datagram(ctx)?;
    if datagram.destination_port == DNS_PORT {
        return question(ctx, socket, &datagram);
    }
    if datagram.destination_port == QUIC_PORT {
        return quic(ctx, socket, &datagram);
    }
    None
}

#[inline(always)]
fn question(ctx: &SkBuffContext, socket: *mut bpf_sock, datagram: &Datagram) -> Option<Counter> {
    if !dns::is_question(&datagram.head) {
        return None;
    }
    let settings = maps::settings()?;
    let asked = match maps::asked(socket) {
        Some(asked) => asked,
        None if !skb::is_in_agents_namespace(ctx, settings) => return None,
        None => match maps::asking(socket) {
            Some(asked) => asked,
            None => {
                maps::count(Counter::StoreFailed);
                return None;
            }
        },
    };
    note_question(asked, datagram);
    let refuse = settings.refuse_quic != 0 && liveness::guards_quic(settings, liveness::now());
    if !refuse || settings.steer_apps == 0 || maps::is_own(socket) {
        return None;
    }
    let (key, room) = maps::take_room()?;
    let refused = asks_for_bindings(settings, datagram, room);
    maps::give_back(key);
    refused.then_some(Counter::HttpsQuestionRefused)
}

/// Whether it is a question for service bindings of a selected app.
#[inline(always)]
fn asks_for_bindings(settings: &Settings, datagram: &Datagram, room: &mut Room) -> bool {
    let Room { opaque, name, bytes, .. } = room;
    let Some(message) = skb::message(datagram, bytes, opaque) else { return false };
    dns::asks_for_bindings(&message, name)
        && maps::apps_of(name.key()).unwrap_or(0) & settings.steer_apps != 0
}

#[inline(always)]
fn quic(ctx: &SkBuffContext, socket: *mut bpf_sock, datagram: &Datagram) -> Option<Counter> {
    let (settings, now) = (maps::settings()?, liveness::now());
    let refused = settings.refuse_quic != 0
        && liveness::guards_quic(settings, now)
        && interest::is_selected(settings, &datagram.destination, now)
        && !maps::is_own(socket)
        && skb::is_in_agents_namespace(ctx, settings);
    refused.then_some(Counter::QuicRefused)
}
