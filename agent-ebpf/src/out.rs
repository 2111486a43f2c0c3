//! Every packet on its way out of a socket: whether anything in it is to be read, told in a few instructions.
//!
//! Nearly all packets are further segments of connections whose first words were read. What reads the others is in
//! programs of its own, which this one jumps to: one program on the hook costs each packet less than two, and together
//! they are too much for the verifier.

use agent_common::abi::{READS_DATAGRAMS, READS_FIRST_WORDS};
use agent_common::limits::NET_SEGMENTS;
use aya_ebpf::helpers::bpf_tcp_sock;
use aya_ebpf::programs::SkBuffContext;

use crate::maps;
use crate::skb::{self, UDP};

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
    // SAFETY: not null. Null for what is not TCP, and for a socket that is not whole.
    let tcp = unsafe { bpf_tcp_sock(any) };
    // SAFETY: plain field load; not null.
    if !tcp.is_null() && unsafe { (*tcp).bytes_acked } > READ_LONG_AGO {
        return;
    }
    let Some(socket) = skb::socket(ctx) else { return };
    if !tcp.is_null() {
        if maps::watched(socket).is_some() || skb::first_byte(socket) != skb::NONE {
            maps::read_out(ctx, READS_FIRST_WORDS);
        }
        return;
    }
    // SAFETY: plain field load from a whole socket.
    if unsafe { (*socket).protocol } == UDP as u32 {
        maps::read_out(ctx, READS_DATAGRAMS);
    }
}
