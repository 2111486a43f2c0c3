//! What a gateway knows of the packets that pass it.

use core::ffi::c_void;
use core::ptr::addr_of;

use agent_common::abi::{Passage, PassageKey, Question};
use agent_common::counter::Counter;
use agent_common::limits;
use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_map_update_elem};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruHashMap, ProgramArray, SockMap};
use aya_ebpf::programs::TcContext;

use super::count;
use super::rooms::{Room, copy};

/// The agent's transparent listeners, two for each worker thread (IPv4, IPv6). A socket leaves the map when it
/// closes, so that nothing is steered to an agent that is gone.
#[map]
static PC_LISTENERS: SockMap = SockMap::with_max_entries(limits::GATEWAY_LISTENERS, 0);
/// Indexes of the inside interfaces.
#[map]
static PC_INSIDE: HashMap<u32, u32> = HashMap::with_max_entries(limits::INSIDE_INTERFACES, 0);
/// Questions to DNS servers with the time they passed. LRU: a flood of questions makes answers unlearned, which
/// leaves their addresses unexplained; they are then peeked.
#[map]
static PC_QUESTIONS: LruHashMap<Question, u64> = LruHashMap::with_max_entries(limits::QUESTIONS, 0);
/// Connections with what was decided when they began. LRU: one that is pushed out counts as from before the agent,
/// and is closed or told where its address is a selected app's.
#[map]
static PC_PASSAGES: LruHashMap<PassageKey, Passage> = LruHashMap::with_max_entries(limits::PASSAGES, 0);
/// What they said so far, where that came in several segments. LRU: where it was pushed out, a connection is
/// stopped as unreadable, and its next attempt is peeked at.
#[map]
static PC_SAID: LruHashMap<PassageKey, [u8; limits::NET_BYTES]> =
    LruHashMap::with_max_entries(limits::PASSAGE_WORDS, 0);
/// The program that reads first words, at 0. Empty once the agent is gone: nobody would be told.
#[map]
static PC_NET: ProgramArray = ProgramArray::with_max_entries(1, 0);

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

/// When this question passed, by CLOCK_MONOTONIC.
#[inline(always)]
pub fn asked_at(question: &Question) -> Option<u64> {
    // SAFETY: the entry may be overwritten meanwhile; one word is read.
    unsafe { PC_QUESTIONS.get(question) }.copied()
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
