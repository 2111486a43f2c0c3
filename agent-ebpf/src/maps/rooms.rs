//! Room for what does not fit the stack of 512 bytes: messages that are read, names, numbers on their way to the verifier.

use core::mem::offset_of;
use core::ptr::{read_volatile, write_volatile};

use agent_common::abi::PassageKey;
use agent_common::byte_source::Slot;
use agent_common::dns::NameBuffer;
use agent_common::limits;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray};

use super::sockets::Watched;

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

/// Copies NET_BYTES. By hand: the helper for it is not to be had where the kernel is locked down (confidentiality).
#[inline(always)]
pub(super) unsafe fn copy(from: *const u32, to: *mut u32) {
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
