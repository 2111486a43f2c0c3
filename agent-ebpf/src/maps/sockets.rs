//! What is kept with a socket, and freed by the kernel with it.

use core::ffi::c_void;
use core::ptr::{addr_of, null_mut};

use agent_common::abi::{Asked, FLOW_FRESH, Flow};
use agent_common::limits;
use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::btf_map;

use super::rooms::{Room, copy};

/// Per steered socket: where it was going. Freed by the kernel with the socket. Where the kernel has no memory for it
/// (a socket's is limited by net.core.optmem_max, and its owner can use it up), connect() fails.
#[btf_map]
static PC_ORIGINAL: SkStorage<Flow> = SkStorage::new();
/// Set by the agent on its own sockets before they connect. Only a holder of this map's descriptor can set it, so no
/// mark, user id or cgroup that another process could take on earns the exemption.
#[btf_map]
static PC_OWN: SkStorage<u32> = SkStorage::new();
/// Per socket that was left alone and said its first words in several segments, or was stopped: what it said so far.
/// Removed when they were read. Without memory for it (a socket's is limited, as above) its segments are not sent.
#[btf_map]
static PC_WATCHED: SkStorage<Watched> = SkStorage::new();
/// Sockets of the agent's network namespace that asked a DNS server. Answers are believed there alone, from the servers
/// asked, to open questions: anyone can make a namespace of their own and answer themselves in it, from port 53,
/// whatever they like. What does not fit is not learned from.
#[btf_map]
static PC_ASKED: SkStorage<Asked> = SkStorage::new();

/// Per socket that was left alone: how far its first words were read.
#[repr(C)]
pub struct Watched {
    /// Sequence number of the first byte.
    pub first: u32,
    /// Bytes held.
    pub held: u16,
    pub segments: u8,
    /// 1 once it is stopped and the agent knows.
    pub stopped: u8,
    pub bytes: [u8; limits::NET_BYTES],
}

/// Remembers where a steered socket was going.
#[inline(always)]
pub fn set_original(socket: *mut bpf_sock, flow: &mut Flow) -> bool {
    let created = storage(addr_of!(PC_ORIGINAL), socket, flow, BPF_SK_STORAGE_GET_F_CREATE as u64);
    if created.is_null() {
        return false;
    }
    // SAFETY: not null; an existing entry of an earlier connect() is overwritten.
    unsafe { *created = *flow };
    true
}

#[inline(always)]
pub fn original(socket: *mut bpf_sock) -> Option<&'static Flow> {
    let found = storage::<_, Flow>(addr_of!(PC_ORIGINAL), socket, null_mut(), 0);
    // SAFETY: storage lives as long as its socket, which is locked or referenced during the hook.
    if found.is_null() { None } else { Some(unsafe { &*found }) }
}

/// Takes the record of a steered connect() that has sent no SYN yet, once. A socket that was disconnected and then
/// connected to the listener by hand must not be taken for its earlier connection.
#[inline(always)]
pub fn take_fresh(socket: *mut bpf_sock) -> Option<Flow> {
    let found = storage::<_, Flow>(addr_of!(PC_ORIGINAL), socket, null_mut(), 0);
    if found.is_null() {
        return None;
    }
    // SAFETY: not null; storage lives as long as its socket, which is held, and locked unless its SYN was queued outside.
    unsafe {
        if (*found).flags & FLOW_FRESH == 0 {
            return None;
        }
        (*found).flags &= !FLOW_FRESH;
        Some(*found)
    }
}

/// Forgets an earlier connect() of a socket that now goes elsewhere.
#[inline(always)]
pub fn forget_original(socket: *mut bpf_sock) {
    // SAFETY: the socket comes from the hook's context; deleting what is not there does nothing.
    unsafe { bpf_sk_storage_delete(addr_of!(PC_ORIGINAL) as *mut c_void, socket.cast()) };
}

#[inline(always)]
pub fn is_own(socket: *mut bpf_sock) -> bool {
    own_mark(socket).is_some()
}

/// The agent's mark on a socket, one of `OWN_*`.
#[inline(always)]
pub fn own_mark(socket: *mut bpf_sock) -> Option<u32> {
    let found = storage::<_, u32>(addr_of!(PC_OWN), socket, null_mut(), 0);
    // SAFETY: storage lives as long as its socket, which is locked or referenced during the hook.
    if found.is_null() { None } else { Some(unsafe { *found }) }
}

#[inline(always)]
pub fn watched(socket: *mut bpf_sock) -> Option<&'static mut Watched> {
    let found = storage::<_, Watched>(addr_of!(PC_WATCHED), socket, null_mut(), 0);
    // SAFETY: storage lives as long as its socket, which is locked while it sends; one at a time reads it.
    unsafe { found.as_mut() }
}

/// The same, with an entry of zeros for a socket that had none.
#[inline(always)]
pub fn watch(socket: *mut bpf_sock) -> Option<&'static mut Watched> {
    let created =
        storage::<_, Watched>(addr_of!(PC_WATCHED), socket, null_mut(), BPF_SK_STORAGE_GET_F_CREATE as u64);
    // SAFETY: as above.
    unsafe { created.as_mut() }
}

/// Forgets what a socket said. No reference into the storage may be used behind this.
#[inline(always)]
pub fn unwatch(socket: *mut bpf_sock) {
    // SAFETY: the socket comes from the hook's context; deleting what is not there does nothing.
    unsafe { bpf_sk_storage_delete(addr_of!(PC_WATCHED) as *mut c_void, socket.cast()) };
}

/// Fetches what a socket said before.
#[inline(always)]
pub fn recall(watched: &Watched, room: &mut Room) {
    // SAFETY: NET_BYTES readable and as many writable bytes, in two map values.
    unsafe { copy(watched.bytes.as_ptr().cast(), room.bytes.as_mut_ptr().cast()) };
}

/// Keeps what a socket said until its next segment.
#[inline(always)]
pub fn keep(watched: &mut Watched, room: &Room) {
    // SAFETY: as above.
    unsafe { copy(room.bytes.as_ptr().cast(), watched.bytes.as_mut_ptr().cast()) };
}

/// What a socket asked, when it asked a DNS server before.
#[inline(always)]
pub fn asked(socket: *mut bpf_sock) -> Option<&'static mut Asked> {
    let found = storage::<_, Asked>(addr_of!(PC_ASKED), socket, null_mut(), 0);
    // SAFETY: storage lives as long as its socket. Threads that share it may overwrite each other's notes: a question is
    // then forgotten, and its answer not learned from.
    unsafe { found.as_mut() }
}

/// The same, with an empty entry for a socket that asks for the first time.
#[inline(always)]
pub fn asking(socket: *mut bpf_sock) -> Option<&'static mut Asked> {
    let created =
        storage::<_, Asked>(addr_of!(PC_ASKED), socket, null_mut(), BPF_SK_STORAGE_GET_F_CREATE as u64);
    // SAFETY: as above.
    unsafe { created.as_mut() }
}

#[inline(always)]
fn storage<M, T>(map: *const M, socket: *mut bpf_sock, value: *mut T, flags: u64) -> *mut T {
    // SAFETY: the map is one of those above with value type T, the socket comes from the hook's context.
    unsafe { bpf_sk_storage_get(map as *mut c_void, socket.cast(), value.cast(), flags) as *mut T }
}
