//! connect() and sendto(): a TCP connection to a steered address goes to the agent's listener, one that is left alone is
//! watched, QUIC is refused.

use core::ptr::{addr_of, read_volatile};

use agent_common::abi::{Address, FLOW_FRESH, FLOW_UNEXPLAINED, Flow, Settings};
use agent_common::counter::Counter;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::bpf_get_current_comm;
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_netns_cookie,
    bpf_get_socket_cookie, bpf_setsockopt,
};
use aya_ebpf::programs::SockAddrContext;

use crate::interest::{self, Interest};
use crate::verdict::Reason;
use crate::{liveness, maps};

const TCP: u32 = 6;
const UDP: u32 = 17;
pub const QUIC_PORT: u16 = 443;
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
/// Bytes of an interface name, and of the empty name that unbinds.
const INTERFACE_NAME: usize = 16;

/// The destination as the hook's context shows it.
struct Destination {
    address: Address,
    port: u16,
}

#[inline(always)]
pub fn connect4(ctx: &SockAddrContext) -> Reason {
    let addr = ctx.sock_addr;
    // SAFETY: the context is valid for the whole program; these are plain field loads.
    let (word, port) = unsafe { ((*addr).user_ip4, (*addr).user_port) };
    let to = Destination { address: Address::from_v4_word(word), port: port_of(port) };
    match steer(ctx, &to, true) {
        Ok(settings) => {
            // SAFETY: user_ip4 and user_port are writable in this hook.
            unsafe {
                (*addr).user_ip4 = settings.listener_v4;
                (*addr).user_port = settings.listener_port_v4.to_be() as u32;
            }
            Reason::Steered
        }
        Err(reason) => reason,
    }
}

#[inline(always)]
pub fn connect6(ctx: &SockAddrContext) -> Reason {
    let addr = ctx.sock_addr;
    let to = destination6(addr);
    let v4 = to.address.is_v4();
    match steer(ctx, &to, v4) {
        Ok(settings) => {
            // SAFETY: user_ip6 and user_port are writable in this hook.
            unsafe {
                if v4 {
                    (*addr).user_ip6[3] = settings.listener_v4;
                    (*addr).user_port = settings.listener_port_v4.to_be() as u32;
                } else {
                    (*addr).user_ip6[0] = settings.listener_v6[0];
                    (*addr).user_ip6[1] = settings.listener_v6[1];
                    (*addr).user_ip6[2] = settings.listener_v6[2];
                    (*addr).user_ip6[3] = settings.listener_v6[3];
                    (*addr).user_port = settings.listener_port_v6.to_be() as u32;
                }
            }
            Reason::Steered
        }
        Err(reason) => reason,
    }
}

#[inline(always)]
pub fn sendmsg4(ctx: &SockAddrContext) -> Reason {
    // SAFETY: plain field loads from the hook's context.
    let (word, port) = unsafe { ((*ctx.sock_addr).user_ip4, (*ctx.sock_addr).user_port) };
    sendmsg(ctx, &Destination { address: Address::from_v4_word(word), port: port_of(port) })
}

#[inline(always)]
pub fn sendmsg6(ctx: &SockAddrContext) -> Reason {
    sendmsg(ctx, &destination6(ctx.sock_addr))
}

/// An unconnected datagram: refused when it is QUIC to a steered address.
#[inline(always)]
fn sendmsg(ctx: &SockAddrContext, to: &Destination) -> Reason {
    let Some(settings) = maps::settings() else { return Reason::NotLearned };
    let now = liveness::now();
    let interest = interest::of(settings, &to.address, now);
    if !interest.is_steered() {
        return interest.reason();
    }
    match is_ours(ctx, settings, to) {
        Ok(()) => datagram(settings, to.port, interest, now),
        Err(reason) => reason,
    }
}

#[inline(always)]
fn destination6(addr: *mut bpf_sock_addr) -> Destination {
    // SAFETY: plain field loads; volatile, so that LLVM does not merge them into a copy from a computed context pointer,
    // which the verifier refuses.
    unsafe {
        let words = [
            read_volatile(addr_of!((*addr).user_ip6[0])),
            read_volatile(addr_of!((*addr).user_ip6[1])),
            read_volatile(addr_of!((*addr).user_ip6[2])),
            read_volatile(addr_of!((*addr).user_ip6[3])),
        ];
        Destination { address: Address::from_words(words), port: port_of((*addr).user_port) }
    }
}

/// user_port holds the port in network order in its low half.
#[inline(always)]
fn port_of(user_port: u32) -> u16 {
    u16::from_be(user_port as u16)
}

/// Decides on a connect() and, when it is to be steered, stores its record in the socket.
#[inline(always)]
fn steer(ctx: &SockAddrContext, to: &Destination, v4: bool) -> Result<&'static Settings, Reason> {
    let Some(settings) = maps::settings() else { return Err(Reason::NotLearned) };
    let now = liveness::now();
    let interest = interest::of(settings, &to.address, now);
    let socket = socket(ctx);
    if maps::watched(socket).is_some() {
        // What an earlier connection of this socket said counts for nothing.
        maps::unwatch(socket);
    }
    // What is not steered is left alone; where there is a guard, its first words are read on their way out.
    if !interest.is_steered() {
        return Err(interest.reason());
    }
    is_ours(ctx, settings, to)?;
    // SAFETY: plain field load.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    if protocol == UDP {
        return Err(datagram(settings, to.port, interest, now));
    }
    if protocol != TCP {
        return Err(Reason::LeftAlone(Counter::OtherProtocol));
    }
    if !steered_port(settings, to.port) {
        return Err(match interest {
            Interest::App => Reason::LeftAlone(Counter::OtherPort),
            _ => Reason::NotLearned,
        });
    }
    if !v4 && settings.listener_port_v6 == 0 {
        return Err(Reason::LeftAlone(Counter::NoListener));
    }
    liveness::check(ctx, settings, v4, matches!(interest, Interest::App), now)?;
    let mut flow = flow_of(ctx, to, now);
    if let Interest::Unexplained = interest {
        flow.flags |= FLOW_UNEXPLAINED;
        maps::count(Counter::Peeked);
    }
    if !maps::set_original(socket, &mut flow) {
        return Err(Reason::Refused(Counter::StoreFailed));
    }
    unbind_from_device(ctx, socket);
    Ok(settings)
}

/// Whether connections of this socket to this place are the agent's concern at all; else why not.
#[inline(always)]
fn is_ours(ctx: &SockAddrContext, settings: &Settings, to: &Destination) -> Result<(), Reason> {
    if !to.address.is_reachable_from_afar() || settings.steer_apps == 0 {
        return Err(Reason::NotLearned);
    }
    if maps::is_own(socket(ctx)) {
        return Err(Reason::LeftAlone(Counter::OwnConnection));
    }
    // SAFETY: the context is the hook's own.
    let namespace = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    if namespace != settings.network_namespace {
        return Err(Reason::LeftAlone(Counter::OtherNetworkNamespace));
    }
    Ok(())
}

#[inline(always)]
fn datagram(settings: &Settings, port: u16, interest: Interest, now: u64) -> Reason {
    match interest {
        Interest::App if port == QUIC_PORT && settings.refuse_quic != 0 => {
            if liveness::guards_quic(settings, now) {
                Reason::QuicRefused
            } else {
                Reason::PassedWithoutAgent
            }
        }
        Interest::App => Reason::LeftAlone(Counter::OtherPort),
        _ => interest.reason(),
    }
}

#[inline(always)]
pub fn steered_port(settings: &Settings, port: u16) -> bool {
    let p = &settings.ports;
    port != 0
        && (port == p[0]
            || port == p[1]
            || port == p[2]
            || port == p[3]
            || port == p[4]
            || port == p[5]
            || port == p[6]
            || port == p[7])
}

#[inline(always)]
fn flow_of(ctx: &SockAddrContext, to: &Destination, now: u64) -> Flow {
    // SAFETY: helpers without pointers, or with the hook's own context.
    let (process, user, cgroup, cookie) = unsafe {
        (
            bpf_get_current_pid_tgid(),
            bpf_get_current_uid_gid(),
            bpf_get_current_cgroup_id(),
            bpf_get_socket_cookie(ctx.as_ptr()),
        )
    };
    let mut flow = Flow {
        original: to.address,
        original_port: to.port,
        flags: FLOW_FRESH,
        pid: (process >> 32) as u32,
        uid: user as u32,
        gid: (user >> 32) as u32,
        cgroup,
        socket_cookie: cookie,
        time_ns: now,
        comm: [0; 16],
    };
    // SAFETY: sixteen writable bytes on the stack. A failure leaves the name empty.
    unsafe { bpf_get_current_comm(flow.comm.as_mut_ptr().cast(), flow.comm.len() as u32) };
    flow
}

#[inline(always)]
fn socket(ctx: &SockAddrContext) -> *mut bpf_sock {
    // SAFETY: sk is always set in these hooks.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }
}

/// A socket bound to an interface could not reach the loopback listener: it would hang until its timeout.
#[inline(always)]
fn unbind_from_device(ctx: &SockAddrContext, socket: *mut bpf_sock) {
    // SAFETY: plain field load from the context's socket.
    if unsafe { (*socket).bound_dev_if } == 0 {
        return;
    }
    let mut none = [0u8; INTERFACE_NAME];
    // SAFETY: sixteen readable bytes on the stack, the hook's own context.
    let failed = unsafe {
        bpf_setsockopt(
            ctx.as_ptr(),
            SOL_SOCKET,
            SO_BINDTODEVICE,
            none.as_mut_ptr().cast(),
            INTERFACE_NAME as i32,
        )
    };
    if failed != 0 {
        maps::count(Counter::StoreFailed);
    }
}
