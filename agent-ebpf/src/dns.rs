//! Learns addresses from the DNS answers the host receives, before the client's recv() can see them.

use agent_common::abi::{Address, Target};
use agent_common::counter::Counter;
use agent_common::dns::{self, Answers, NameBuffer, Skip};
use agent_common::limits::{LEARNED_GRACE_S, LEARNED_TTL_MAX_S};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::SkBuffContext;

use crate::maps;
use crate::skb::{self, Message};

pub const DNS_PORT: u16 = 53;
pub const NS_PER_S: u64 = 1_000_000_000;

#[inline(always)]
pub fn ingress(ctx: &SkBuffContext) {
    let Some(datagram) = skb::datagram(ctx) else { return };
    if datagram.source_port != DNS_PORT || !dns::is_answer(&datagram.head) {
        return;
    }
    if !skb::is_asked_for(ctx) {
        maps::count(Counter::DnsUnasked);
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
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut learner = Learner { apps: 0, now };
    if let Err(Skip::Malformed) = dns::parse(message, name, &mut learner) {
        maps::count(Counter::DnsMalformed);
    }
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
