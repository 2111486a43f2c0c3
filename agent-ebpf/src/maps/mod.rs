//! Every map, declared once with the reason for its size and what happens when it is full, and the safe wrappers around
//! their raw helpers. Here are those of every mode.
//!
//! No full map ever gives a connection a wrong destination: an entry that is missing means that an address is not known
//! (it is peeked at, or watched), that a connection is dropped by the agent, or that a system call fails.

mod gateway;
mod rooms;
mod sockets;

use core::ffi::c_void;
use core::ptr::{addr_of, read_volatile};

use agent_common::abi::{
    APP_ID, Address, Event, Flow, FlowKey, Heartbeat, PatternKey, READERS, Settings, Target,
};
use agent_common::counter::{self, Counter};
use agent_common::domain::KEY_SIZE;
use agent_common::limits;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::helpers::generated::bpf_map_lookup_elem;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use aya_ebpf::programs::SkBuffContext;

pub use gateway::*;
pub use rooms::*;
pub use sockets::*;

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
/// Addresses where the agent found nobody monitored, with the time of CLOCK_MONOTONIC until which that counts. A map of its
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
/// What the agent is to act on. Full: the connection stays stopped, and its next segment tells the agent.
#[map]
static PC_EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENT_BYTES, 0);
/// The programs that read what goes out, by `READS_*`. Empty once the agent is gone, unless its programs stay.
#[map]
static PC_OUT: ProgramArray = ProgramArray::with_max_entries(READERS, 0);
#[map]
static PC_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

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

/// Goes on with a program that reads what goes out, and does not come back where there is one.
#[inline(always)]
pub fn read_out(ctx: &SkBuffContext, reader: u32) {
    // SAFETY: nothing here has to be dropped, and no reference is held.
    unsafe { PC_OUT.tail_call(ctx, reader) };
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
