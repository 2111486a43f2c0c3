//! Every map, declared once with the reason for its size and what happens when it is full, and the safe wrappers around
//! their raw helpers.
//!
//! No full map ever gives a connection a wrong destination: an entry that is missing means that an address is not known
//! (it is peeked at, or watched), that a connection is dropped by the agent, or that a system call fails.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{addr_of, null_mut, read_volatile, write_volatile};

use agent_common::abi::{
    APP_ID, Address, Asked, Event, FLOW_FRESH, Flow, FlowKey, Heartbeat, Passage, PassageKey, PatternKey,
    Question, Settings, Target,
};
use agent_common::byte_source::Slot;
use agent_common::counter::{self, Counter};
use agent_common::dns::NameBuffer;
use agent_common::domain::KEY_SIZE;
use agent_common::limits;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_map_lookup_elem, bpf_map_update_elem};
use aya_ebpf::helpers::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, SockMap};
use aya_ebpf::programs::TcContext;

/// What userspace ordered: one entry.
#[map]
static PC_SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
/// When the agent was last known to serve: one entry.
#[map]
static PC_HEARTBEAT: Array<Heartbeat> = Array::with_max_entries(1, 0);
/// Which bit stands for which app, by its id. No program reads it: it is here so that the next agent, which takes over the
/// learned addresses, gives the bits in them the same meaning.
#[map]
static PC_APPS: HashMap<[u8; APP_ID], u32> = HashMap::with_max_entries(limits::APPS, BPF_F_NO_PREALLOC);
/// Learned addresses. LRU: a flood of answers pushes out the oldest. An address that was pushed out is unexplained: it is
/// peeked at or, where the guard does not peek, its connections are watched.
#[map]
static PC_TARGETS: LruHashMap<Address, Target> = LruHashMap::with_max_entries(limits::TARGETS, 0);
/// Addresses where the agent found nobody monitored, with the bpf_ktime_get_ns() until which that counts. A map of its
/// own, so that the agent can never overwrite what was learned of an address. LRU: one that is pushed out is peeked at again.
#[map]
static PC_PEEKED: LruHashMap<Address, u64> = LruHashMap::with_max_entries(limits::PEEKED, 0);
/// Patterns of the catalog, reversed; the value is the bit set of the apps the name belongs to.
/// Full: the agent refuses the catalog and keeps the last one.
#[map]
static PC_PATTERNS: LpmTrie<[u8; KEY_SIZE], u64> =
    LpmTrie::with_max_entries(limits::PATTERNS, BPF_F_NO_PREALLOC);
/// Steered connections that the agent has not accepted yet. LRU: what a client abandons ages out. The agent
/// drops a connection whose record was pushed out.
#[map]
static PC_FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(limits::FLOWS, 0);
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
/// What the agent is to act on. Full: the connection stays stopped, and its next segment tells the agent.
#[map]
static PC_EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENT_BYTES, 0);
/// Gateway: the agent's transparent listeners, two for each worker thread (IPv4, IPv6). A socket leaves the map when it
/// closes, so that nothing is steered to an agent that is gone.
#[map]
static PC_LISTENERS: SockMap = SockMap::with_max_entries(limits::GATEWAY_LISTENERS, 0);
/// Gateway: indexes of the inside interfaces.
#[map]
static PC_INSIDE: HashMap<u32, u32> = HashMap::with_max_entries(limits::INSIDE_INTERFACES, 0);
/// Gateway: questions to DNS servers with the time they passed. LRU: a flood of questions makes answers unlearned, which
/// leaves their addresses unexplained; they are then peeked.
#[map]
static PC_QUESTIONS: LruHashMap<Question, u64> = LruHashMap::with_max_entries(limits::QUESTIONS, 0);
/// Gateway: connections with what was decided when they began. LRU: one that is pushed out counts as from before the agent,
/// and is closed or told where its address is a selected app's.
#[map]
static PC_PASSAGES: LruHashMap<PassageKey, Passage> = LruHashMap::with_max_entries(limits::PASSAGES, 0);
/// Gateway: what they said so far, where that came in several segments. LRU: where it was pushed out, a connection is
/// stopped as unreadable, and its next attempt is peeked at.
#[map]
static PC_SAID: LruHashMap<PassageKey, [u8; limits::NET_BYTES]> =
    LruHashMap::with_max_entries(limits::PASSAGE_WORDS, 0);
/// Gateway: the program that reads first words, at 0. Empty once the agent is gone: nobody would be told.
#[map]
static PC_NET: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
static PC_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);
/// Room for the DNS message being read, which does not fit the 512-byte stack.
///
/// Twice the longest message: LLVM drops the masks it can prove redundant from a comparison of two unknown numbers, and
/// the verifier of 6.1 does not follow such proofs. It then sees an index of up to 4095 plus a few, which must fit, too.
pub type MessageBuffer = [u8; 2 * limits::DNS_MESSAGE];
#[map]
static PC_MESSAGE: PerCpuArray<MessageBuffer> = PerCpuArray::with_max_entries(1, 0);
#[map]
static PC_NAME: PerCpuArray<NameBuffer> = PerCpuArray::with_max_entries(1, 0);
/// The same for packets on their way out. A program there can be interrupted by another one on the same CPU, or another
/// task can come in between, so there are several rooms and each is taken by one at a time. All taken: the packet is not
/// sent, and TCP sends it again; a DNS question passes unread.
#[map]
static PC_ROOMS: PerCpuArray<Room> = PerCpuArray::with_max_entries(ROOMS, 0);
const ROOMS: u32 = 3;
/// Which rooms are taken, by processor and number. A map, because only its insertion is atomic here: Rust has no
/// compare-and-swap for this target. Room for all of 1024 processors.
#[map]
static PC_TAKEN: HashMap<u32, u32> = HashMap::with_max_entries(1024 * ROOMS, 0);
/// Where numbers are laundered so that the verifier forgets their history.
#[map]
static PC_OPAQUE: PerCpuArray<[u64; Slot::COUNT]> = PerCpuArray::with_max_entries(1, 0);

/// Bytes being read, the name found in them, and where numbers are laundered meanwhile.
#[repr(C)]
pub struct Room {
    pub opaque: [u64; Slot::COUNT],
    pub name: NameBuffer,
    pub bytes: MessageBuffer,
    /// Gateway: the connection that is read.
    pub passage: Passing,
}

/// Kept here, and not on the stack, so that the verifier does not follow it.
#[repr(C)]
pub struct Passing {
    pub key: PassageKey,
    /// Not zero: the segment opens the connection.
    pub syn: u8,
}
const _: () = assert!(limits::NET_BYTES == limits::DNS_MESSAGE, "one mask serves both");

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

/// The settings, when steering is enabled.
#[inline(always)]
pub fn settings() -> Option<&'static Settings> {
    let settings = PC_SETTINGS.get(0)?;
    // SAFETY: userspace rewrites the entry as a whole while programs run; a volatile read keeps this one load.
    let enabled = unsafe { read_volatile(&settings.enabled) };
    (enabled != 0).then_some(settings)
}

/// Time of the last heartbeat; `None` while there was none.
#[inline(always)]
pub fn heartbeat() -> Option<u64> {
    let heartbeat = PC_HEARTBEAT.get(0)?;
    // SAFETY: userspace rewrites the entry meanwhile; an aligned word is read at once.
    let time = unsafe { read_volatile(&heartbeat.time_ns) };
    (time != 0).then_some(time)
}

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(cell) = PC_COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU cell; programs of this kind do not migrate while they run.
        unsafe { *cell += 1 };
    }
}

#[inline(always)]
pub fn target(address: &Address) -> Option<Target> {
    // SAFETY: the entry may be overwritten meanwhile; both words are read at once and either state is valid.
    unsafe { PC_TARGETS.get(address) }.copied()
}

#[inline(always)]
pub fn learn(address: &Address, target: &Target) -> bool {
    PC_TARGETS.insert(address, target, 0).is_ok()
}

/// The agent's transparent listener at this index of the socket map, with a reference that must be released.
#[inline(always)]
pub fn listener(index: u32) -> *mut c_void {
    // SAFETY: the map is a socket map and the key a u32 on the stack.
    unsafe { bpf_map_lookup_elem(addr_of!(PC_LISTENERS) as *mut c_void, addr_of!(index) as *const c_void) }
}

#[inline(always)]
pub fn is_inside(interface: u32) -> bool {
    // SAFETY: only whether the entry is there is of interest.
    unsafe { PC_INSIDE.get(interface) }.is_some()
}

/// Remembers a question that passed the gateway.
#[inline(always)]
pub fn note_question(question: &Question, now: u64) {
    if PC_QUESTIONS.insert(question, now, 0).is_err() {
        count(Counter::StoreFailed);
    }
}

/// When this question passed, by bpf_ktime_get_ns().
#[inline(always)]
pub fn asked_at(question: &Question) -> Option<u64> {
    // SAFETY: the entry may be overwritten meanwhile; one word is read.
    unsafe { PC_QUESTIONS.get(question) }.copied()
}

/// Until when the agent's look at an address counts.
#[inline(always)]
pub fn peeked_until(address: &Address) -> u64 {
    // SAFETY: the entry may be overwritten meanwhile; it is one word.
    unsafe { PC_PEEKED.get(address) }.copied().unwrap_or(0)
}

#[inline(always)]
pub fn store_flow(key: &FlowKey, flow: &Flow) -> bool {
    PC_FLOWS.insert(key, flow, 0).is_ok()
}

/// Bit set of the apps that a name's key belongs to.
#[inline(always)]
pub fn apps_of(key: &PatternKey) -> Option<u64> {
    // SAFETY: the key is a whole PatternKey in a map value; the trie's value is a u64. The typed wrapper wants the key
    // on the stack, where it does not fit.
    let value =
        unsafe { bpf_map_lookup_elem(addr_of!(PC_PATTERNS) as *mut c_void, addr_of!(*key) as *const c_void) }
            as *const u64;
    if value.is_null() {
        return None;
    }
    // SAFETY: not null, and map values live until the program ends.
    Some(unsafe { *value })
}

/// The scratch memory of this CPU for reading one DNS message.
pub struct Scratch {
    pub message: &'static mut MessageBuffer,
    pub name: &'static mut NameBuffer,
    pub opaque: *mut [u64; Slot::COUNT],
}

#[inline(always)]
pub fn scratch() -> Option<Scratch> {
    let message = PC_MESSAGE.get_ptr_mut(0)?;
    let name = PC_NAME.get_ptr_mut(0)?;
    let opaque = PC_OPAQUE.get_ptr_mut(0)?;
    // SAFETY: per-CPU values, used by one program that is not re-entered on its CPU.
    unsafe { Some(Scratch { message: &mut *message, name: &mut *name, opaque }) }
}

/// Writes a number to map memory and reads it back: the verifier then knows nothing about it.
#[inline(always)]
pub fn launder(opaque: *mut [u64; Slot::COUNT], slot: Slot, value: usize) -> usize {
    // SAFETY: the slot is below COUNT and the pointer is this CPU's map value.
    unsafe {
        let cell = (opaque as *mut u64).add(slot as usize);
        write_volatile(cell, value as u64);
        read_volatile(cell) as usize
    }
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
    // SAFETY: not null; storage lives as long as its socket, which is locked during the hook.
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

/// Remembers a connection through the gateway.
#[inline(always)]
pub fn pass(key: &PassageKey, passage: &Passage) -> bool {
    PC_PASSAGES.insert(key, passage, 0).is_ok()
}

#[inline(always)]
pub fn passage(key: &PassageKey) -> Option<&'static mut Passage> {
    // SAFETY: an LRU entry may be given to another connection meanwhile, which then has its first words read wrongly once:
    // they are read anew when they are sent again. Map memory stays valid until the program ends.
    PC_PASSAGES.get_ptr_mut(key).map(|found| unsafe { &mut *found })
}

/// Fetches what a connection said before; false when it was pushed out.
#[inline(always)]
pub fn recall_said(room: &mut Room) -> bool {
    #[expect(clippy::needless_borrows_for_generic_args, reason = "the key is not copied to the stack")]
    let Some(said) = PC_SAID.get_ptr(&room.passage.key) else { return false };
    // SAFETY: NET_BYTES readable and as many writable bytes, in two map values.
    unsafe { copy(said.cast(), room.bytes.as_mut_ptr().cast()) };
    true
}

/// Keeps what a connection said until its next segment.
#[inline(always)]
pub fn keep_said(room: &Room) -> bool {
    // SAFETY: the room's bytes are more than NET_BYTES, from which the value is taken; the key is whole.
    let failed = unsafe {
        bpf_map_update_elem(
            addr_of!(PC_SAID) as *mut c_void,
            addr_of!(room.passage.key).cast(),
            room.bytes.as_ptr().cast(),
            0,
        )
    };
    failed == 0
}

#[inline(always)]
pub fn forget_said(room: &Room) {
    #[expect(clippy::needless_borrows_for_generic_args, reason = "the key is not copied to the stack")]
    let _ = PC_SAID.remove(&room.passage.key);
}

/// Goes on with the program that reads first words, and does not come back where there is one.
#[inline(always)]
pub fn read_on(ctx: &TcContext) {
    // SAFETY: nothing here has to be dropped, and no reference is held.
    unsafe { PC_NET.tail_call(ctx, 0) };
}

/// Copies NET_BYTES. By hand: the helper for it is not to be had where the kernel is locked down (confidentiality).
#[inline(always)]
unsafe fn copy(from: *const u32, to: *mut u32) {
    let mut word = 0;
    while word < limits::NET_BYTES / 4 {
        // SAFETY: the caller's; both are aligned to words, as the assertions below say.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
        word += 1;
    }
}
const _: () =
    assert!(offset_of!(Watched, bytes).is_multiple_of(4) && offset_of!(Room, bytes).is_multiple_of(4));

/// Takes a room of this CPU, to be given back by its key.
#[inline(always)]
pub fn take_room() -> Option<(u32, &'static mut Room)> {
    // SAFETY: no arguments; the program stays on its processor.
    let processor = unsafe { bpf_get_smp_processor_id() };
    let mut number = 0;
    while number < ROOMS {
        let key = processor * ROOMS + number;
        if PC_TAKEN.insert(key, 0, BPF_NOEXIST as u64).is_ok() {
            let room = PC_ROOMS.get_ptr_mut(number)?;
            // SAFETY: a map value of zeros or of what was left in it; nobody else has it until it is given back.
            return Some((key, unsafe { &mut *room }));
        }
        number += 1;
    }
    None
}

#[inline(always)]
pub fn give_back(key: u32) {
    // It is there, and nobody else takes it away.
    let _ = PC_TAKEN.remove(key);
}

/// Hands an event to the agent; false when the ring is full.
#[inline(always)]
pub fn tell(fill: impl FnOnce(&mut Event)) -> bool {
    let Some(mut room) = PC_EVENTS.reserve::<Event>(0) else {
        count(Counter::EventLost);
        return false;
    };
    // SAFETY: the entry is of this size and only integers; `fill` writes every field.
    fill(unsafe { room.assume_init_mut() });
    room.submit(0);
    true
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
