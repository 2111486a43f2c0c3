//! Entry points of the kernel programs. Each one calls its hook and turns the reason it gets into a verdict.
//!
//! The programs decide only: leave alone, steer, refuse what userspace told them to. They never judge content.
#![no_std]
#![no_main]

mod connect;
mod dns;
mod gateway;
mod gateway_dns;
mod gateway_net;
mod gateway_packet;
mod gateway_socket;
mod interest;
mod liveness;
mod maps;
mod net_out;
mod out;
mod peer_name;
mod skb;
mod syn;
mod udp_out;
mod verdict;

use aya_ebpf::macros::{cgroup_skb, cgroup_sock_addr, classifier};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, TcContext};

#[cgroup_sock_addr(connect4)]
pub fn pc_connect4(ctx: SockAddrContext) -> i32 {
    verdict::of_connect(connect::connect4(&ctx))
}

#[cgroup_sock_addr(connect6)]
pub fn pc_connect6(ctx: SockAddrContext) -> i32 {
    verdict::of_connect(connect::connect6(&ctx))
}

#[cgroup_sock_addr(sendmsg4)]
pub fn pc_sendmsg4(ctx: SockAddrContext) -> i32 {
    verdict::of_connect(connect::sendmsg4(&ctx))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn pc_sendmsg6(ctx: SockAddrContext) -> i32 {
    verdict::of_connect(connect::sendmsg6(&ctx))
}

#[cgroup_sock_addr(getpeername4)]
pub fn pc_peername4(ctx: SockAddrContext) -> i32 {
    peer_name::getpeername4(&ctx);
    verdict::PASS
}

#[cgroup_sock_addr(getpeername6)]
pub fn pc_peername6(ctx: SockAddrContext) -> i32 {
    peer_name::getpeername6(&ctx);
    verdict::PASS
}

#[cgroup_skb(ingress)]
pub fn pc_dns_in(ctx: SkBuffContext) -> i32 {
    dns::ingress(&ctx);
    verdict::PASS
}

#[cgroup_skb(egress)]
pub fn pc_out(ctx: SkBuffContext) -> i32 {
    out::egress(&ctx);
    verdict::PASS
}

// Not attached: the one above jumps to these.
#[cgroup_skb(egress)]
pub fn pc_net_out(ctx: SkBuffContext) -> i32 {
    verdict::of_packet(net_out::egress(&ctx))
}

#[cgroup_skb(egress)]
pub fn pc_udp_out(ctx: SkBuffContext) -> i32 {
    verdict::of_packet(udp_out::egress(&ctx))
}

#[classifier]
pub fn pc_gateway_in(ctx: TcContext) -> i32 {
    verdict::of_forwarded(gateway::ingress(&ctx))
}

#[classifier]
pub fn pc_gateway_net(ctx: TcContext) -> i32 {
    verdict::of_forwarded(gateway_net::ingress(&ctx))
}

#[classifier]
pub fn pc_gateway_dns(ctx: TcContext) -> i32 {
    gateway_dns::egress(&ctx);
    verdict::NEXT
}

#[classifier]
pub fn pc_gateway_back(ctx: TcContext) -> i32 {
    gateway_socket::ingress(&ctx);
    verdict::NEXT
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: every path is bounded and the profile aborts. The verifier would refuse a call.
    loop {}
}

/// What the loader compares with its own.
#[used]
#[unsafe(link_section = "abi")]
#[unsafe(no_mangle)]
static PC_ABI: [u8; 16] = *agent_common::abi::ABI_TAG;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
