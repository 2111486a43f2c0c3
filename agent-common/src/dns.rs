//! DNS answers over UDP: the question's name and every address that the answer gives it (RFC 1035, 3596, 9460).
//!
//! All addresses of the answer section count for the question's name, so CNAME chains need no chasing. What cannot be
//! read ends the walk; addresses found until then stay.

use crate::abi::Address;
use crate::byte_source::{ByteSource, Slot};
use crate::domain::{KEY_SIZE, MAX_NAME};
use crate::limits;

pub use crate::name::NameBuffer;

/// Offset of the question in a message.
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SVCB: u16 = 64;
const TYPE_HTTPS: u16 = 65;
const PARAM_IPV4HINT: u16 = 4;
const PARAM_IPV6HINT: u16 = 6;
/// Offsets stay below this mask wherever they become an index: the verifier needs to see it. Twice the longest message,
/// so that no step from inside a message (at most 255 octets) leads back to its start.
const OFFSET_MASK: usize = 2 * limits::DNS_MESSAGE - 1;

/// Why a message was not an answer worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// A query, an error, or an answer without records.
    NotAnAnswer,
    /// The question's name is compressed, too long, or cut.
    Malformed,
    /// The question's name is not of interest.
    NotWanted,
}

/// What a parse hands out.
pub trait Answers {
    /// The question's name was read. False ends the parse.
    fn question(&mut self, name: &NameBuffer) -> bool;
    /// An address the answer gives, with its TTL in seconds.
    fn address(&mut self, address: Address, ttl: u32);
}

/// Whether the first twelve bytes are of an answer without error, with one question and at least one record.
#[inline(always)]
pub fn is_answer(header: &[u8; HEADER]) -> bool {
    let response = header[2] & 0x80 != 0;
    let no_error = header[3] & 0x0f == 0;
    let one_question = header[4] == 0 && header[5] == 1;
    let has_records = header[6] != 0 || header[7] != 0;
    response && no_error && one_question && has_records
}

/// Whether the first twelve bytes are of a question (RFC 1035 section 4.1.1): a query with one entry.
#[inline(always)]
pub fn is_question(header: &[u8; HEADER]) -> bool {
    header[2] & 0xf8 == 0 && header[4] == 0 && header[5] == 1
}

/// The number by which question and answer find each other.
#[inline(always)]
pub fn id(header: &[u8; HEADER]) -> u16 {
    u16::from_be_bytes([header[0], header[1]])
}

/// Whether the message asks for service bindings (RFC 9460), which carry QUIC and encrypted-hello hints; its name then
/// stands in `name`.
#[inline(always)]
pub fn asks_for_bindings<S: ByteSource + ?Sized>(source: &S, name: &mut NameBuffer) -> bool {
    // Nearly every question is for something else. That is seen without its name, unless that has very many labels.
    if let Some(at) = skip_name(source, HEADER, source.len(), limits::DNS_OWNER_LABELS)
        && !is_for_bindings(source, source.forget(Slot::Next, at) & OFFSET_MASK)
    {
        return false;
    }
    let Some(length) = read_name(source, HEADER, name) else { return false };
    let at = source.forget(Slot::Position, HEADER + length + 2) & OFFSET_MASK;
    at + 2 <= source.len() && is_for_bindings(source, at)
}

/// Whether the type at `at` is one of service bindings.
#[inline(always)]
fn is_for_bindings<S: ByteSource + ?Sized>(source: &S, at: usize) -> bool {
    let kind = source.u16(at);
    kind == TYPE_HTTPS || kind == TYPE_SVCB
}

/// Reads a whole message.
#[inline(always)]
pub fn parse<S: ByteSource + ?Sized, A: Answers>(
    source: &S,
    name: &mut NameBuffer,
    answers: &mut A,
) -> Result<(), Skip> {
    let mut header = [0; HEADER];
    let mut i = 0;
    while i < HEADER {
        header[i] = source.byte(i);
        i += 1;
    }
    if !is_answer(&header) {
        return Err(Skip::NotAnAnswer);
    }
    let length = read_name(source, HEADER, name).ok_or(Skip::Malformed)?;
    // Behind the end every octet reads as zero, and so like the end of a name.
    if HEADER + length + 2 > source.len() {
        return Err(Skip::Malformed);
    }
    if !answers.question(name) {
        return Err(Skip::NotWanted);
    }
    let records = u16::from_be_bytes([header[6], header[7]]) as usize;
    // Text length + the first length octet + the root's zero octet + type and class.
    records_from(source, HEADER + length + 2 + 4, records, answers);
    Ok(())
}

/// Reads the uncompressed name at `at` into `name` and returns its length as text (without a trailing dot).
#[inline(always)]
fn read_name<S: ByteSource + ?Sized>(source: &S, at: usize, name: &mut NameBuffer) -> Option<usize> {
    let mut left = 0u8;
    let mut length = 0usize;
    let mut i = 0;
    // Octet i of the wire form is octet i - 1 of the text: each length octet becomes the dot before its label.
    while i <= MAX_NAME + 1 {
        let octet = source.byte(at + i);
        let mut text = octet;
        if left == 0 {
            if octet == 0 {
                length = i;
                break;
            }
            if octet > 63 {
                break;
            }
            left = octet;
            text = b'.';
        } else {
            left -= 1;
        }
        name.text[i & (KEY_SIZE - 1)] = text;
        i += 1;
    }
    let length = source.forget(Slot::NameLength, length) & (KEY_SIZE - 1);
    if length < 2 {
        return None;
    }
    // text[0] is the dot before the first label; text[1..length] is the name.
    let length = length - 1;
    name.key_of_text(length);
    Some(length)
}

/// Walks `count` records from `at`.
#[inline(always)]
fn records_from<S: ByteSource + ?Sized, A: Answers>(source: &S, at: usize, count: usize, answers: &mut A) {
    let length = source.len();
    let mut at = at;
    let (mut https, mut https_end, mut https_ttl) = (0usize, 0usize, 0u32);
    let mut i = 0;
    while i < limits::DNS_RECORDS {
        if i >= count {
            break;
        }
        i += 1;
        let Some(fields) = skip_name(source, at, length, limits::DNS_OWNER_LABELS) else { break };
        let fields = source.forget(Slot::Position, fields) & OFFSET_MASK;
        if fields + 10 > length {
            break;
        }
        let kind = source.u16(fields);
        let ttl = seconds(source.u32(fields + 4));
        let size = source.u16(fields + 8) as usize;
        let data = (fields + 10) & OFFSET_MASK;
        if data + size > length {
            break;
        }
        if kind == TYPE_A && size == 4 {
            answers.address(v4(source, data), ttl);
        } else if kind == TYPE_AAAA && size == 16 {
            answers.address(v6(source, data), ttl);
        } else if kind == TYPE_HTTPS && size > 3 {
            (https, https_end, https_ttl) = (data, data + size, ttl);
        }
        at = source.forget(Slot::Next, data + size) & OFFSET_MASK;
    }
    // One HTTPS record is read, behind the loop: inside it would multiply the paths the verifier walks.
    let https = source.forget(Slot::Start, https) & OFFSET_MASK;
    let https_end = source.forget(Slot::End, https_end) & OFFSET_MASK;
    if https != 0 {
        https_hints(source, https, https_end, https_ttl, answers);
    }
}

/// A TTL as RFC 2181 section 8 reads it: with the topmost bit set it is zero.
#[inline(always)]
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Position behind the possibly compressed name at `at`.
#[inline(always)]
fn skip_name<S: ByteSource + ?Sized>(source: &S, at: usize, end: usize, labels: usize) -> Option<usize> {
    let mut at = at;
    let mut i = 0;
    while i < labels {
        i += 1;
        if at >= end {
            return None;
        }
        let octet = source.byte(at);
        if octet & 0xc0 == 0xc0 {
            return Some(at + 2);
        }
        if octet == 0 {
            return Some(at + 1);
        }
        at = (at + 1 + octet as usize) & OFFSET_MASK;
    }
    None
}

/// The address hints of one HTTPS record (RFC 9460 section 7.3).
#[inline(always)]
fn https_hints<S: ByteSource + ?Sized, A: Answers>(
    source: &S,
    data: usize,
    end: usize,
    ttl: u32,
    answers: &mut A,
) {
    // Two octets of priority, then the target name.
    let Some(at) = skip_name(source, data + 2, end, limits::DNS_OWNER_LABELS) else { return };
    let mut next = source.forget(Slot::Position, at);
    let mut i = 0;
    while i < limits::HTTPS_PARAMS {
        i += 1;
        // Before the mask: a size that leads beyond the record must not lead back to the message's start.
        if next + 4 > end {
            return;
        }
        let at = next & OFFSET_MASK;
        let key = source.u16(at);
        let size = source.u16(at + 2) as usize;
        let value = (at + 4) & OFFSET_MASK;
        if key == PARAM_IPV4HINT || key == PARAM_IPV6HINT {
            let step = if key == PARAM_IPV4HINT { 4 } else { 16 };
            let mut j = 0;
            while j < limits::HTTPS_HINT_ADDRESSES {
                let hint = (value + j * step) & OFFSET_MASK;
                if (j + 1) * step > size || hint + step > end {
                    break;
                }
                let address = if key == PARAM_IPV4HINT { v4(source, hint) } else { v6(source, hint) };
                answers.address(address, ttl);
                j += 1;
            }
        }
        next = source.forget(Slot::Next, value + size);
    }
}

#[inline(always)]
fn v4<S: ByteSource + ?Sized>(source: &S, at: usize) -> Address {
    Address::from_v4_word(source.u32(at).to_be())
}

#[inline(always)]
fn v6<S: ByteSource + ?Sized>(source: &S, at: usize) -> Address {
    Address::from_words([
        source.u32(at).to_be(),
        source.u32(at + 4).to_be(),
        source.u32(at + 8).to_be(),
        source.u32(at + 12).to_be(),
    ])
}

#[cfg(test)]
mod tests;
