//! Every packet on its way out of a socket: whether anything in it is to be read, told in a few instructions; and the SYN of a
//! steered socket.
//!
//! Nearly all packets are further segments of connections whose first words were read. What reads the others is in
//! programs of its own, which this one jumps to: one program on the hook costs each packet less than two, and together
//! they are too much for the verifier.

use agent_common::abi::{READS_DATAGRAMS, READS_FIRST_WORDS};
use agent_common::limits::NET_SEGMENTS;
use aya_ebpf::bindings::{bpf_sock, bpf_tcp_sock};
use aya_ebpf::programs::SkBuffContext;

use crate::skb::{self, UDP};
use crate::{maps, syn};

/// Bytes of a connection that arrived, more than it can have said before its first words were read or it was stopped: the
/// SYN, and [`NET_SEGMENTS`] segments of at most GSO_MAX_SIZE each (8 * 65535, Linux 5.19).
const READ_LONG_AGO: u64 = NET_SEGMENTS as u64 * (512 << 10);
const _: () = assert!(READ_LONG_AGO > 1 + NET_SEGMENTS as u64 * 8 * 65535);

/// Comes back where there is nothing to read, and where the agent is gone that would be told of it.
#[inline(always)]
pub fn egress(ctx: &SkBuffContext) {
    // SAFETY: plain field load; the socket, when there is one, is held during the hook.
    let any = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if any.is_null() {
        return;
    }
    // Null for a socket that is not whole, too.
    let tcp = skb::tcp(any);
    if tcp.is_null() {
        datagram(ctx);
    } else {
        segment(ctx, any, tcp);
    }
}

#[inline(always)]
fn segment(ctx: &SkBuffContext, any: *mut bpf_sock, tcp: *mut bpf_tcp_sock) {
    // SAFETY: plain field loads; not null.
    let (arrived, said) = unsafe { ((*tcp).bytes_acked, (*tcp).data_segs_out) };
    let connecting = skb::is_connecting(any);
    // What is being sent is counted already: without data so far only the SYN is of interest, which can carry some.
    if arrived > READ_LONG_AGO || (said == 0 && !connecting) {
        return;
    }
    let Some(socket) = skb::socket(ctx) else { return };
    if connecting {
        syn::egress(socket);
    }
    if maps::watched(socket).is_some() || skb::first_byte(socket, tcp) != skb::NONE {
        maps::read_out(ctx, READS_FIRST_WORDS);
    }
}

#[inline(always)]
fn datagram(ctx: &SkBuffContext) {
    if skb::socket_of(ctx, UDP).is_some() {
        maps::read_out(ctx, READS_DATAGRAMS);
    }
}
