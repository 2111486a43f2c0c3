//! getpeername(): a steered socket keeps showing the address its program asked for.

use core::ptr::{addr_of, read_volatile};

use agent_common::abi::{Flow, Settings};
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::maps;

#[inline(always)]
pub fn getpeername4(ctx: &SockAddrContext) {
    let addr = ctx.sock_addr;
    if let Some(flow) = steered(addr) {
        // SAFETY: both fields are writable in this hook.
        unsafe {
            (*addr).user_ip4 = flow.original.words()[3];
            (*addr).user_port = flow.original_port.to_be() as u32;
        }
    }
}

#[inline(always)]
pub fn getpeername6(ctx: &SockAddrContext) {
    let addr = ctx.sock_addr;
    if let Some(flow) = steered(addr) {
        let words = flow.original.words();
        // SAFETY: the fields are writable in this hook.
        unsafe {
            (*addr).user_ip6[0] = words[0];
            (*addr).user_ip6[1] = words[1];
            (*addr).user_ip6[2] = words[2];
            (*addr).user_ip6[3] = words[3];
            (*addr).user_port = flow.original_port.to_be() as u32;
        }
    }
}

/// The record of the socket, when its peer has the agent's port: a socket that was steered once and then connected elsewhere
/// shows its real peer, unless that is the same port of another host, or the listener by hand.
#[inline(always)]
fn steered(addr: *mut bpf_sock_addr) -> Option<&'static Flow> {
    let settings: &Settings = maps::settings()?;
    // SAFETY: plain field loads from the hook's context.
    let (port, socket) = unsafe {
        (u16::from_be(read_volatile(addr_of!((*addr).user_port)) as u16), (*addr).__bindgen_anon_1.sk)
    };
    if port != settings.listener_port_v4 && port != settings.listener_port_v6 {
        return None;
    }
    maps::original(socket)
}
