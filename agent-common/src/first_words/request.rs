//! The Host of an HTTP/1 request (RFC 9112), without a branch for each byte: the kernel's verifier follows one path through
//! the search, and a request takes as long as its bytes, whatever they are.
//!
//! What servers could read in two ways is not read: a target that is more than a path, an empty line in front, the
//! preface of HTTP/2, an empty or folded value. That is "unreadable", and the agent then reads it as a whole.

use super::{MORE, NAME, NAMELESS, OTHER, Spot, UNREADABLE, no_name};
use crate::byte_source::{ByteSource, Slot};
use crate::domain::MAX_NAME;
use crate::limits;

/// `\nhost:`, the colon last.
const HOST: u64 = u64::from_be_bytes(*b"\0\0\nhost:");
const HOST_BITS: u64 = 0xffff_ffff_ffff;
/// An empty line ends the head, written with or without its carriage return.
const END: u64 = u64::from_be_bytes(*b"\0\0\0\0\0\n\r\n");
const END_BITS: u64 = 0xff_ffff;
const BARE_END: u64 = u64::from_be_bytes(*b"\0\0\0\0\0\0\n\n");
const BARE_END_BITS: u64 = 0xffff;
/// `pri ` begins the preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: u32 = u32::from_be_bytes(*b"PRI ");
/// Blanks before a value; more make it unreadable.
const BLANKS: usize = 8;

/// Octets of the longest method that is waited for.
const METHOD: usize = 24;
/// Bytes of a head in which its Host must begin. Clients write it first (RFC 9110 section 7.2); what it is behind is the
/// target.
const HEAD: usize = 2048;
/// Bytes between two looks whether there is more to search.
const BLOCK: usize = 64;
const _: () = assert!(HEAD <= limits::NET_BYTES && HEAD.is_multiple_of(BLOCK));

/// What ends a name in a value, and what may stand before it, as bits of the octets below 64.
const STOPS: u64 = 1 | BLANK | 1 << b'\r' | 1 << b'\n' | 1 << b':';
const BLANK: u64 = 1 << b' ' | 1 << b'\t';

#[inline(always)]
pub(super) fn host<S: ByteSource + ?Sized>(source: &S) -> Spot {
    let first = source.byte(0);
    if first == b'\r' || first == b'\n' {
        return no_name(UNREADABLE);
    }
    let method = source.forget(Slot::Position, method(source));
    if method >= source.len() {
        return no_name(MORE);
    }
    match source.byte(method) {
        b' ' => {}
        b'\t' => return no_name(UNREADABLE),
        // Another protocol, such as SSH.
        _ => return no_name(OTHER),
    }
    if method + 1 >= source.len() {
        return no_name(MORE);
    }
    // Only a path leaves the name to the Host.
    if source.u32(0) == PREFACE || !matches!(source.byte(method + 1), b'/' | b'*') {
        return no_name(UNREADABLE);
    }
    let found = search(source);
    let host = source.forget(Slot::Start, found.host as usize);
    let end = source.forget(Slot::End, found.end as usize);
    let length = source.len();
    // Behind the end stands whatever was there before.
    let (host, end) = (if host < length { host } else { 0 }, if end <= length { end } else { 0 });
    if host != 0 && (end == 0 || host < end) {
        return value(source, host);
    }
    if end != 0 {
        return no_name(NAMELESS);
    }
    if length > HEAD { no_name(UNREADABLE) } else { no_name(MORE) }
}

/// As servers that are strict about methods read them (RFC 9110 section 9.1 would allow more).
#[inline(always)]
pub(super) fn is_of_method(octet: u8) -> bool {
    octet.is_ascii_uppercase() || octet == b'_' || octet == b'-'
}

/// Octets of the method, [`METHOD`] at most.
#[inline(always)]
fn method<S: ByteSource + ?Sized>(source: &S) -> usize {
    let (mut length, mut within) = (0, 1);
    let mut at = 0;
    while at < METHOD {
        let octet = source.byte(at) as u64;
        at += 1;
        // `A` to `Z` are 65 to 90, `_` is 95 and `-` is 45: bits of the octets from 64 on, and one below.
        let letter = bit(0x07ff_fffe | 1 << 31, octet ^ 0x40);
        within &= letter | bit(1 << b'-', octet);
        length += within;
    }
    length as usize
}

/// Where the search came to: the byte behind, so that 0 is "nowhere".
#[derive(Default)]
struct Found {
    host: u64,
    end: u64,
}

/// The first byte behind `host:` at a line's start, and the first behind the head.
#[inline(always)]
fn search<S: ByteSource + ?Sized>(source: &S) -> Found {
    let length = source.len();
    let mut found = Found::default();
    let mut window = 0u64;
    let (mut no_host, mut no_end) = (1u64, 1u64);
    let mut block = 0;
    while block < HEAD {
        if block >= length || found.host | found.end != 0 {
            break;
        }
        let mut at = 0;
        while at < BLOCK {
            let octet = source.byte(block + at) as u64;
            at += 1;
            // Letters in lower case; what else this changes is in none of the patterns.
            window = window << 8 | octet | (octet & 0x40) >> 1;
            let position = (block + at) as u64;
            let host = is_zero((window & HOST_BITS) ^ HOST);
            let end = is_zero((window & END_BITS) ^ END) | is_zero((window & BARE_END_BITS) ^ BARE_END);
            found.host |= position & (host & no_host).wrapping_neg();
            found.end |= position & (end & no_end).wrapping_neg();
            no_host &= host ^ 1;
            no_end &= end ^ 1;
        }
        block += BLOCK;
    }
    found
}

/// 1 for zero, 0 for every other number, without a comparison.
#[inline(always)]
fn is_zero(number: u64) -> u64 {
    core::hint::black_box(!(number | number.wrapping_neg()) >> 63)
}

/// The bit of `octet` in a set of the octets below 64; 0 for octets above.
#[inline(always)]
fn bit(set: u64, octet: u64) -> u64 {
    core::hint::black_box(set >> (octet & 63) & !(octet >> 6 | octet >> 7) & 1)
}

/// The name of a field's value that begins at `at`, without blanks and port.
#[inline(always)]
fn value<S: ByteSource + ?Sized>(source: &S, at: usize) -> Spot {
    let (mut blanks, mut within) = (0, 1);
    let mut i = 0;
    while i < BLANKS {
        within &= bit(BLANK, source.byte(at + i) as u64);
        blanks += within;
        i += 1;
    }
    let at = source.forget(Slot::Start, at + blanks as usize);
    let (mut length, mut within) = (0, 1);
    let mut i = 0;
    while i <= MAX_NAME + 1 {
        within &= bit(STOPS, source.byte(at + i) as u64) ^ 1;
        length += within;
        i += 1;
    }
    let length = source.forget(Slot::Next, length as usize);
    if at + length >= source.len() {
        return no_name(if source.len() >= limits::NET_BYTES { UNREADABLE } else { MORE });
    }
    if source.byte(at) == b'[' {
        // An address, which is no name of an app.
        return no_name(NAMELESS);
    }
    if length == 0 { no_name(UNREADABLE) } else { Spot { code: NAME, at, length } }
}
