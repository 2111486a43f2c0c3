//! The SYN of a steered socket on its way out: the socket has its source port then, and the record goes to the agent.

use core::ptr::{addr_of, read_volatile};

use agent_common::abi::{Address, FlowKey};
use agent_common::counter::Counter;
use aya_ebpf::bindings::bpf_sock;

use crate::{maps, skb};

/// A SYN that is sent again finds its record taken and changes nothing.
#[inline(always)]
pub fn egress(socket: *mut bpf_sock) {
    if maps::original(socket).is_none() {
        return;
    }
    let Some(settings) = maps::settings() else { return };
    let listener_port = skb::remote_port(socket);
    if listener_port != settings.listener_port_v4 && listener_port != settings.listener_port_v6 {
        maps::forget_original(socket);
        return;
    }
    let Some(record) = maps::take_fresh(socket) else { return };
    // Every variant is read before the branch: LLVM would else merge the loads through a computed pointer.
    // SAFETY: plain field loads from a whole socket. The IPv4 word is there for IPv4-mapped sockets, too.
    let (v4, v6, port) = unsafe {
        (
            read_volatile(addr_of!((*socket).src_ip4)),
            [
                read_volatile(addr_of!((*socket).src_ip6[0])),
                read_volatile(addr_of!((*socket).src_ip6[1])),
                read_volatile(addr_of!((*socket).src_ip6[2])),
                read_volatile(addr_of!((*socket).src_ip6[3])),
            ],
            read_volatile(addr_of!((*socket).src_port)),
        )
    };
    let client = if record.original.is_v4() { Address::from_v4_word(v4) } else { Address::from_words(v6) };
    let key = FlowKey { client, client_port: port as u16, listener_port };
    let stored = maps::store_flow(&key, &record);
    maps::count(if stored { Counter::FlowStored } else { Counter::StoreFailed });
}
