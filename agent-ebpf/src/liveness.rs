//! Whether the agent can serve a connection now, and what becomes of a connection when it cannot.
//!
//! Two signs, both needed, on hosts and gateways. The heartbeat stops when the process is dead, frozen, starved or one of its threads is stuck,
//! and is noticed after [`HEARTBEAT_LIMIT_NS`]. The listener goes with the process, at once; it must bear the agent's own
//! mark, so that nobody who takes over the port of a dead agent is handed its connections.

use core::ffi::c_void;

use agent_common::abi::{FAIL_CLOSED, OWN_LISTENER, Settings};
use agent_common::limits::HEARTBEAT_LIMIT_NS;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as TupleV4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as TupleV6,
};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_sk_lookup_tcp, bpf_sk_release};
use aya_ebpf::programs::SockAddrContext;

use crate::maps;
use crate::verdict::Reason;

/// The clock of heartbeats and of what was learned: CLOCK_MONOTONIC in nanoseconds, as it stood at the last tick (Linux 5.11).
/// Nothing here is told in less than a second, and to read the clock itself costs as much as a look into a map.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// To be asked last, about a connection that would be steered to the listener of its family: `Err` when nobody would
/// serve it. `app` says whether it goes to a selected app; what nothing explains is never refused.
#[inline(always)]
pub fn check(
    ctx: &SockAddrContext,
    settings: &Settings,
    v4: bool,
    app: bool,
    now: u64,
) -> Result<(), Reason> {
    if beats(now) && listens(ctx.as_ptr(), settings, v4) {
        return Ok(());
    }
    Err(if app && settings.fail == FAIL_CLOSED {
        Reason::RefusedWithoutAgent
    } else {
        Reason::PassedWithoutAgent
    })
}

/// Whether QUIC to a selected app is still refused: always with `fail = "closed"`, else while the heart beats.
#[inline(always)]
pub fn guards_quic(settings: &Settings, now: u64) -> bool {
    settings.fail == FAIL_CLOSED || beats(now)
}

/// Whether the heartbeat is fresh, by [`now`].
#[inline(always)]
pub fn beats(now: u64) -> bool {
    let Some(heartbeat) = maps::heartbeat() else { return false };
    // A beat may be written while this runs; it is then later than `now`.
    now < heartbeat.saturating_add(HEARTBEAT_LIMIT_NS)
}

/// Whether a socket with the agent's mark listens in the context's network namespace, where steered connections of this
/// family go. `context` is the hook's own, of a kind that may call bpf_sk_lookup_tcp().
#[inline(always)]
pub fn listens(context: *mut c_void, settings: &Settings, v4: bool) -> bool {
    let found = if v4 {
        let mut tuple = TupleV4 {
            saddr: 0,
            daddr: settings.listener_v4,
            sport: 0,
            dport: settings.listener_port_v4.to_be(),
        };
        lookup(context, &mut tuple)
    } else {
        let mut tuple = TupleV6 {
            saddr: [0; 4],
            daddr: settings.listener_v6,
            sport: 0,
            dport: settings.listener_port_v6.to_be(),
        };
        lookup(context, &mut tuple)
    };
    if found.is_null() {
        return false;
    }
    let marked = maps::own_mark(found) == Some(OWN_LISTENER);
    // SAFETY: not null, and referenced by the look-up; not used afterwards.
    unsafe { bpf_sk_release(found.cast::<c_void>()) };
    marked
}

#[inline(always)]
fn lookup<T>(context: *mut c_void, tuple: &mut T) -> *mut bpf_sock {
    // SAFETY: a tuple of one of the two sizes that the helper knows, on the stack; the hook's own context.
    unsafe {
        bpf_sk_lookup_tcp(
            context,
            (tuple as *mut T).cast::<bpf_sock_tuple>(),
            size_of::<T>() as u32,
            BPF_F_CURRENT_NETNS as i64 as u64,
            0,
        )
    }
}
