//! The only raw packet reads: headers onto the stack, a UDP payload into this CPU's scratch memory.

use core::mem::MaybeUninit;

use agent_common::abi::{Address, Settings};
use agent_common::byte_source::{ByteSource, Slot};
use agent_common::limits::DNS_MESSAGE;
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_tcp_sock};
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::helpers::{self, bpf_sk_fullsock, bpf_skb_load_bytes};
use aya_ebpf::programs::SkBuffContext;

use crate::liveness;
use crate::maps::{self, MessageBuffer};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const IPV6_HEADER: u32 = 40;
pub const SYN: u8 = 2;
pub const URG: u8 = 0x20;
/// enum bpf_tcp_state
const SYN_SENT: u32 = 2;
const UDP_HEADER: usize = 8;

/// The network header of a packet that is no fragment.
struct Network {
    source: Address,
    destination: Address,
    /// What is in it, and where that begins.
    protocol: u8,
    payload: u32,
}

/// Fragments and IPv6 extension headers are not followed.
#[inline(always)]
fn network(skb: *mut __sk_buff) -> Option<Network> {
    // Written to and returned at one place: LLVM would else read the parts of `None`, which the verifier refuses.
    let mut found = Network {
        source: Address::from_words([0; 4]),
        destination: Address::from_words([0; 4]),
        protocol: 0,
        payload: 0,
    };
    read_network(skb, &mut found)?;
    Some(found)
}

#[inline(always)]
fn read_network(skb: *mut __sk_buff, found: &mut Network) -> Option<()> {
    // SAFETY: plain field load.
    let version = u16::from_be(unsafe { (*skb).protocol } as u16);
    if version == IPV4 {
        let mut room = MaybeUninit::uninit();
        let ip: &[u8; 20] = load(skb, 0, &mut room)?;
        let fragment = (ip[6] & 0x3f) | ip[7];
        if fragment != 0 {
            return None;
        }
        found.source = Address::from_v4_word(word(ip, 12));
        found.destination = Address::from_v4_word(word(ip, 16));
        found.protocol = ip[9];
        found.payload = (ip[0] & 15) as u32 * 4;
        return Some(());
    }
    if version == IPV6 {
        let mut room = MaybeUninit::uninit();
        let ip: &[u8; 40] = load(skb, 0, &mut room)?;
        found.source = Address::from_words([word(ip, 8), word(ip, 12), word(ip, 16), word(ip, 20)]);
        found.destination = Address::from_words([word(ip, 24), word(ip, 28), word(ip, 32), word(ip, 36)]);
        found.protocol = ip[6];
        found.payload = IPV6_HEADER;
        return Some(());
    }
    None
}

/// Four bytes as they are in memory.
#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A UDP datagram, seen from its network header.
pub struct Datagram {
    skb: *mut __sk_buff,
    /// Offset of the UDP payload.
    payload: u32,
    pub source: Address,
    pub destination: Address,
    pub source_port: u16,
    pub destination_port: u16,
    /// First twelve bytes of the payload.
    pub head: [u8; 12],
}

/// A whole UDP datagram with at least twelve bytes of payload.
#[inline(always)]
pub fn datagram(ctx: &SkBuffContext) -> Option<Datagram> {
    let skb = ctx.skb.skb;
    let network = network(skb)?;
    if network.protocol != UDP {
        return None;
    }
    let mut room = MaybeUninit::uninit();
    let bytes: &[u8; UDP_HEADER + 12] = load(skb, network.payload, &mut room)?;
    let mut head = [0u8; 12];
    head.copy_from_slice(&bytes[UDP_HEADER..]);
    Some(Datagram {
        skb,
        payload: network.payload + UDP_HEADER as u32,
        source: network.source,
        destination: network.destination,
        source_port: u16::from_be_bytes([bytes[0], bytes[1]]),
        destination_port: u16::from_be_bytes([bytes[2], bytes[3]]),
        head,
    })
}

/// A TCP segment, seen from its network header.
pub struct Segment {
    pub data: Data,
    pub source: Address,
    pub destination: Address,
    pub source_port: u16,
    pub destination_port: u16,
}

/// The data of a TCP segment.
pub struct Data {
    pub skb: *mut __sk_buff,
    /// Its place, counted from the network header.
    pub at: u32,
    /// Sequence number of its first byte.
    pub sequence: u32,
    /// In bytes. With segmentation offload they are those of all segments.
    pub length: u32,
    /// Whether it has an urgent byte (RFC 6093), which is among its data and not in what the other side reads.
    pub urgent: bool,
}

#[inline(always)]
pub fn segment(ctx: &SkBuffContext) -> Option<Segment> {
    let skb = ctx.skb.skb;
    // SAFETY: plain field load.
    let total = unsafe { (*skb).len };
    let network = network(skb)?;
    if network.protocol != TCP {
        return None;
    }
    let mut room = MaybeUninit::uninit();
    let tcp: &[u8; 20] = load(skb, network.payload, &mut room)?;
    let payload = network.payload + (tcp[12] >> 4) as u32 * 4;
    // A SYN takes one number before the data that it may carry.
    let syn = (tcp[13] & SYN != 0) as u32;
    Some(Segment {
        data: Data {
            skb,
            at: payload,
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(syn),
            length: total.saturating_sub(payload),
            urgent: tcp[13] & URG != 0,
        },
        source: network.source,
        destination: network.destination,
        source_port: u16::from_be_bytes([tcp[0], tcp[1]]),
        destination_port: u16::from_be_bytes([tcp[2], tcp[3]]),
    })
}

/// No sequence number: the answer of [`first_byte`] without one. Not `None`, whose payload LLVM would read.
pub const NONE: u64 = u64::MAX;

/// Sequence number of the first byte that a socket which connected says or has said; [`NONE`] while it has said nothing, once
/// the other side has received some of it, and for sockets that were accepted.
///
/// The SYN counts as one byte acknowledged, on the side that sent it alone (tcp_snd_una_update).
#[inline(always)]
pub fn first_byte(socket: *mut bpf_sock, tcp: *mut bpf_tcp_sock) -> u64 {
    // SAFETY: plain field loads; the caller saw that it is not null.
    let (said, acknowledged, unacknowledged) =
        unsafe { ((*tcp).data_segs_out, (*tcp).bytes_acked, (*tcp).snd_una) };
    // The segment that is being sent is counted already (__tcp_transmit_skb).
    if said == 0 {
        return NONE;
    }
    if acknowledged == 1 {
        return unacknowledged as u64;
    }
    // A SYN can carry data (RFC 7413).
    if acknowledged == 0 && is_connecting(socket) { unacknowledged.wrapping_add(1) as u64 } else { NONE }
}

/// Whether a socket's SYN has no answer yet.
#[inline(always)]
pub fn is_connecting(socket: *mut bpf_sock) -> bool {
    // SAFETY: plain field load, from any socket of TCP.
    unsafe { (*socket).state == SYN_SENT }
}

/// What the kernel says of a whole TCP socket; null for others.
#[inline(always)]
pub fn tcp(socket: *mut bpf_sock) -> *mut bpf_tcp_sock {
    // SAFETY: a socket that the hook holds, not null.
    unsafe { helpers::bpf_tcp_sock(socket) }
}

/// Port that a socket is connected to, in host order.
#[inline(always)]
pub fn remote_port(socket: *mut bpf_sock) -> u16 {
    // SAFETY: plain field load from a whole socket.
    u16::from_be(unsafe { (*socket).dst_port })
}

/// Copies what follows the first `skip` bytes of a segment's data behind the `held` bytes of `buffer`, as much as is
/// read at most, and returns how many are held then.
#[inline(always)]
pub fn gather<const AT_TC: bool>(
    data: &Data,
    skip: u32,
    buffer: &mut MessageBuffer,
    held: usize,
    opaque: *mut [u64; Slot::COUNT],
) -> Option<usize> {
    let held = maps::launder(opaque, Slot::Start, held) & (DNS_MESSAGE - 1);
    let left = data.length.checked_sub(skip)? as usize;
    let room = DNS_MESSAGE - held;
    let take = if left < room { left } else { room };
    if take == 0 {
        return None;
    }
    // As in `message`: the bounds must be visible in the number itself.
    let take = ((maps::launder(opaque, Slot::Code, take) - 1) & (DNS_MESSAGE - 1)) + 1;
    // SAFETY: both are at most half of the buffer.
    let failed = unsafe {
        let (skb, at, to) = (data.skb.cast(), data.at + skip, buffer.as_mut_ptr().add(held));
        if AT_TC {
            bpf_skb_load_bytes_relative(skb, at, to.cast(), take as u32, BPF_HDR_START_NET)
        } else {
            bpf_skb_load_bytes(skb, at, to.cast(), take as u32)
        }
    };
    (failed == 0).then_some(held + take)
}

/// The bytes gathered of a socket, as the shared parsers read them.
#[inline(always)]
pub fn gathered<'a>(
    buffer: &'a MessageBuffer,
    length: usize,
    opaque: *mut [u64; Slot::COUNT],
) -> Message<'a> {
    Message { buffer, length, opaque }
}

/// The socket a packet belongs to, whole.
#[inline(always)]
pub fn socket(ctx: &SkBuffContext) -> Option<*mut bpf_sock> {
    // SAFETY: plain field load; the socket, when there is one, is held during the hook.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null.
    let whole = unsafe { bpf_sk_fullsock(socket) };
    if whole.is_null() { None } else { Some(whole) }
}

/// The same, when it speaks this protocol.
#[inline(always)]
pub fn socket_of(ctx: &SkBuffContext, protocol: u8) -> Option<*mut bpf_sock> {
    let socket = socket(ctx)?;
    // SAFETY: plain field load from a whole socket.
    if unsafe { (*socket).protocol } != protocol as u32 { None } else { Some(socket) }
}

/// Whether a packet is sent in the agent's network namespace. There the agent's listener is found, which carries a mark
/// that nobody else can set; bpf_get_netns_cookie() is for other hooks before Linux 6.15.
#[inline(always)]
pub fn is_in_agents_namespace(ctx: &SkBuffContext, settings: &Settings) -> bool {
    liveness::listens(ctx.skb.skb.cast(), settings, true)
}

/// Bytes out of a packet, on the stack. Aligned, so that words of them are one load each: of bytes by themselves every word is
/// four loads and six more instructions.
#[repr(C, align(8))]
pub struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Bytes<N> {
    #[inline(always)]
    pub fn bytes(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, at: u32, room: &mut MaybeUninit<Bytes<N>>) -> Option<&[u8; N]> {
    // SAFETY: N writable bytes; the helper checks the packet's bounds, and has written all of them when it does not fail.
    unsafe {
        let failed = bpf_skb_load_bytes(skb.cast(), at, room.as_mut_ptr().cast(), N as u32);
        if failed == 0 { Some(&room.assume_init_ref().0) } else { None }
    }
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

/// Bytes of a packet at TC, counted from its network header: interfaces without a link layer have none before it. The room
/// is not zeroed: that would be a loop over its bytes for every packet.
#[inline(always)]
pub fn load_at<const N: usize>(
    skb: *mut __sk_buff,
    at: u32,
    room: &mut MaybeUninit<Bytes<N>>,
) -> Option<&mut [u8; N]> {
    // SAFETY: N writable bytes; the helper checks the packet's bounds, and has written all of them when it does not fail.
    unsafe {
        let failed = bpf_skb_load_bytes_relative(
            skb.cast(),
            at,
            room.as_mut_ptr().cast(),
            N as u32,
            BPF_HDR_START_NET,
        );
        if failed == 0 { Some(&mut room.assume_init_mut().0) } else { None }
    }
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
        // Out of LLVM's sight: it drops a mask that it can prove redundant, and the verifier of 6.1 cannot follow.
        let at = core::hint::black_box(at) & (DNS_MESSAGE - 1);
        // SAFETY: the mask keeps the index inside the buffer, and the verifier sees it.
        unsafe { *self.buffer.as_ptr().add(at) }
    }

    #[inline(always)]
    fn forget(&self, slot: Slot, value: usize) -> usize {
        maps::launder(self.opaque, slot, value)
    }
}
