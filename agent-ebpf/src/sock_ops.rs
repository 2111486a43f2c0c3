//! TCP callbacks: when a steered socket has its source port and before its SYN leaves, the record goes to the agent.

use core::ptr::{addr_of, read_volatile};

use agent_common::abi::{Address, FlowKey};
use agent_common::counter::Counter;
use aya_ebpf::bindings::BPF_SOCK_OPS_TCP_CONNECT_CB;
use aya_ebpf::programs::SockOpsContext;

use crate::maps;

const AF_INET: u32 = 2;

#[inline(always)]
pub fn tcp_connect(ctx: &SockOpsContext) {
    if ctx.op() != BPF_SOCK_OPS_TCP_CONNECT_CB {
        return;
    }
    let ops = ctx.ops;
    // SAFETY: plain field load.
    let socket = unsafe { (*ops).__bindgen_anon_2.sk };
    if socket.is_null() {
        return;
    }
    if maps::original(socket).is_none() {
        return;
    }
    let Some(settings) = maps::settings() else { return };
    // remote_port holds the port in network order in its upper half.
    // SAFETY: plain field load.
    let listener_port = u32::from_be(unsafe { (*ops).remote_port }) as u16;
    if listener_port != settings.listener_port_v4 && listener_port != settings.listener_port_v6 {
        maps::forget_original(socket);
        return;
    }
    let Some(record) = maps::take_fresh(socket) else {
        maps::forget_original(socket);
        return;
    };
    // Every variant is read before the branch: LLVM would else merge the loads through a computed context pointer.
    // SAFETY: plain field loads.
    let (v4, v6, port) = unsafe {
        (
            read_volatile(addr_of!((*ops).local_ip4)),
            [
                read_volatile(addr_of!((*ops).local_ip6[0])),
                read_volatile(addr_of!((*ops).local_ip6[1])),
                read_volatile(addr_of!((*ops).local_ip6[2])),
                read_volatile(addr_of!((*ops).local_ip6[3])),
            ],
            read_volatile(addr_of!((*ops).local_port)),
        )
    };
    let mapped = ctx.family() == AF_INET || record.original.is_v4();
    let client = if mapped { Address::from_v4_word(v4) } else { Address::from_words(v6) };
    let key = FlowKey { client, client_port: port as u16, listener_port };
    let stored = maps::store_flow(&key, &record);
    maps::count(if stored { Counter::FlowStored } else { Counter::StoreFailed });
}
