//! The only raw packet reads: headers onto the stack, a UDP payload into this CPU's scratch memory.

use agent_common::byte_source::{ByteSource, Slot};
use agent_common::limits::DNS_MESSAGE;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::SkBuffContext;

use crate::maps::{self, MessageBuffer};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: usize = 8;

/// A UDP datagram, seen from its network header.
pub struct Datagram {
    skb: *mut __sk_buff,
    /// Offset of the UDP payload.
    payload: u32,
    pub source_port: u16,
    /// First twelve bytes of the payload.
    pub head: [u8; 12],
}

/// A whole UDP datagram with at least twelve bytes of payload; fragments and IPv6 extension headers are not followed.
#[inline(always)]
pub fn datagram(ctx: &SkBuffContext) -> Option<Datagram> {
    let skb = ctx.skb.skb;
    // SAFETY: plain field load.
    let protocol = u16::from_be(unsafe { (*skb).protocol } as u16);
    let mut ip = [0u8; 20];
    let udp = if protocol == IPV4 {
        load(skb, 0, &mut ip)?;
        let fragment = (ip[6] & 0x3f) | ip[7];
        if ip[9] != UDP || fragment != 0 {
            return None;
        }
        (ip[0] & 15) as u32 * 4
    } else if protocol == IPV6 {
        load(skb, 0, &mut ip)?;
        if ip[6] != UDP {
            return None;
        }
        IPV6_HEADER
    } else {
        return None;
    };
    let mut bytes = [0u8; UDP_HEADER + 12];
    load(skb, udp, &mut bytes)?;
    let mut head = [0u8; 12];
    head.copy_from_slice(&bytes[UDP_HEADER..]);
    Some(Datagram {
        skb,
        payload: udp + UDP_HEADER as u32,
        source_port: u16::from_be_bytes([bytes[0], bytes[1]]),
        head,
    })
}

/// Whether the socket that receives this has asked a DNS server before.
#[inline(always)]
pub fn is_asked_for(ctx: &SkBuffContext) -> bool {
    // SAFETY: plain field load; the socket, when there is one, is held during the hook.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    !socket.is_null() && maps::has_asked(socket)
}

#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, at: u32, into: &mut [u8; N]) -> Option<()> {
    // SAFETY: N writable bytes; the helper checks the packet's bounds.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), at, into.as_mut_ptr().cast(), N as u32) };
    (failed == 0).then_some(())
}

/// The payload, copied to scratch memory. `None` when it is longer than what is read.
#[inline(always)]
pub fn message<'a>(
    datagram: &Datagram,
    buffer: &'a mut MessageBuffer,
    opaque: *mut [u64; Slot::COUNT],
) -> Option<Message<'a>> {
    // SAFETY: plain field load.
    let total = unsafe { (*datagram.skb).len };
    let length = total.checked_sub(datagram.payload)? as usize;
    if length == 0 || length >= DNS_MESSAGE {
        return None;
    }
    // Kernels before 6.10 lose the bounds when LLVM turns 0 < length < N into one compare: derive them by a mask.
    let length = ((maps::launder(opaque, Slot::Code, length) - 1) & (DNS_MESSAGE - 1)) + 1;
    // SAFETY: `length` is at most the buffer's size.
    let failed = unsafe {
        bpf_skb_load_bytes(datagram.skb.cast(), datagram.payload, buffer.as_mut_ptr().cast(), length as u32)
    };
    (failed == 0).then_some(Message { buffer, length, opaque })
}

/// The same for a packet at TC: `length` bytes from `at`, counted from its network header.
#[inline(always)]
pub fn message_at<'a>(
    skb: *mut __sk_buff,
    at: u32,
    length: usize,
    buffer: &'a mut MessageBuffer,
    opaque: *mut [u64; Slot::COUNT],
) -> Option<Message<'a>> {
    if length == 0 || length >= DNS_MESSAGE {
        return None;
    }
    let length = ((maps::launder(opaque, Slot::Code, length) - 1) & (DNS_MESSAGE - 1)) + 1;
    // SAFETY: `length` is at most the buffer's size; the helper checks the packet's bounds.
    let failed = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            at,
            buffer.as_mut_ptr().cast(),
            length as u32,
            BPF_HDR_START_NET,
        )
    };
    (failed == 0).then_some(Message { buffer, length, opaque })
}

/// Bytes of a packet at TC, counted from its network header: interfaces without a link layer have none before it.
#[inline(always)]
pub fn load_at<const N: usize>(skb: *mut __sk_buff, at: u32, into: &mut [u8; N]) -> Option<()> {
    // SAFETY: N writable bytes; the helper checks the packet's bounds.
    let failed = unsafe {
        bpf_skb_load_bytes_relative(skb.cast(), at, into.as_mut_ptr().cast(), N as u32, BPF_HDR_START_NET)
    };
    (failed == 0).then_some(())
}

/// A message in scratch memory as the shared parsers read it.
pub struct Message<'a> {
    buffer: &'a MessageBuffer,
    length: usize,
    opaque: *mut [u64; Slot::COUNT],
}

impl ByteSource for Message<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: the mask keeps the index inside the buffer, and the verifier sees it.
        unsafe { *self.buffer.as_ptr().add(at & (DNS_MESSAGE - 1)) }
    }

    #[inline(always)]
    fn forget(&self, slot: Slot, value: usize) -> usize {
        maps::launder(self.opaque, slot, value)
    }
}
