//! Learns addresses from the DNS answers the host receives, before the client's recv() can see them.

use agent_common::abi::{ASKED_OPEN, Address, Asked, Target};
use agent_common::counter::Counter;
use agent_common::dns::{self, Answers, NameBuffer, Skip};
use agent_common::limits::{ASKED_QUESTIONS, ASKED_SERVERS, LEARNED_GRACE_S, LEARNED_TTL_MAX_S};
use aya_ebpf::programs::SkBuffContext;

use crate::skb::{self, Datagram, Message, UDP};
use crate::{liveness, maps};

pub const DNS_PORT: u16 = 53;
pub const NS_PER_S: u64 = 1_000_000_000;

#[inline(always)]
pub fn ingress(ctx: &SkBuffContext) {
    // Most packets are of TCP, which the socket says without a look at them.
    let Some(socket) = skb::socket_of(ctx, UDP) else { return };
    let Some(datagram) = skb::datagram(ctx) else { return };
    if datagram.source_port != DNS_PORT || !dns::is_answer(&datagram.head) {
        return;
    }
    let Some(asked) = maps::asked(socket) else {
        maps::count(Counter::DnsUnasked);
        return;
    };
    if !answers(asked, &datagram) {
        maps::count(Counter::DnsForged);
        return;
    }
    maps::count(Counter::DnsAnswer);
    let Some(scratch) = maps::scratch() else { return };
    let Some(message) = skb::message(&datagram, scratch.message, scratch.opaque) else {
        maps::count(Counter::DnsTooLong);
        return;
    };
    learn(&message, scratch.name);
}

/// Takes the addresses of one whole message.
#[inline(always)]
pub fn learn(message: &Message<'_>, name: &mut NameBuffer) {
    let now = liveness::now();
    let mut learner = Learner { apps: 0, now };
    if let Err(Skip::Malformed) = dns::parse(message, name, &mut learner) {
        maps::count(Counter::DnsMalformed);
    }
}

/// Remembers whom a socket asks and the number of the question.
#[inline(always)]
pub fn note_question(asked: &mut Asked, datagram: &Datagram) {
    let to = datagram.destination;
    let known =
        asked.servers[0] == to || asked.servers[1] == to || asked.servers[2] == to || asked.servers[3] == to;
    if !known {
        let at = asked.next as usize & (ASKED_SERVERS - 1);
        asked.servers[at] = to;
        asked.next = at as u32 + 1;
    }
    let id = dns::id(&datagram.head);
    asked.questions[id as usize & (ASKED_QUESTIONS - 1)] = id as u32 | ASKED_OPEN;
}

/// Whether a datagram is the answer to an open question, which it closes, from a server that was asked.
#[inline(always)]
fn answers(asked: &mut Asked, datagram: &Datagram) -> bool {
    let from = datagram.source;
    if asked.servers[0] != from
        && asked.servers[1] != from
        && asked.servers[2] != from
        && asked.servers[3] != from
    {
        return false;
    }
    let id = dns::id(&datagram.head);
    let question = &mut asked.questions[id as usize & (ASKED_QUESTIONS - 1)];
    let open = *question == id as u32 | ASKED_OPEN;
    if open {
        *question = 0;
    }
    open
}

/// Takes the addresses of one answer, with the apps its name belongs to.
struct Learner {
    apps: u64,
    now: u64,
}

impl Answers for Learner {
    #[inline(always)]
    fn question(&mut self, name: &NameBuffer) -> bool {
        if let Some(apps) = maps::apps_of(name.key()) {
            maps::count(Counter::DnsMatched);
            self.apps = apps;
        }
        // Addresses of names outside the catalog are remembered too, without any app: the answer explains them.
        true
    }

    #[inline(always)]
    fn address(&mut self, address: Address, ttl: u32) {
        if !address.is_reachable_from_afar() {
            maps::count(Counter::DnsAddressRefused);
            return;
        }
        let ttl = if ttl > LEARNED_TTL_MAX_S { LEARNED_TTL_MAX_S } else { ttl };
        let expires_ns = self.now + (ttl as u64 + LEARNED_GRACE_S) * NS_PER_S;
        // Content networks give one address to several apps: an unexpired entry keeps its bits.
        let mut target = Target { apps: self.apps, expires_ns };
        if let Some(known) = maps::target(&address)
            && known.expires_ns > self.now
        {
            target.apps |= known.apps;
            if known.expires_ns > expires_ns {
                target.expires_ns = known.expires_ns;
            }
        }
        let learned = maps::learn(&address, &target);
        maps::count(if learned { Counter::DnsAddress } else { Counter::StoreFailed });
    }
}
