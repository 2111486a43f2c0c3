//! Entry points for fuzzers and property tests: arbitrary bytes in, the promises of HPACK and relay asserted. Not on the
//! data path.

mod harness;

use super::hpack::{Decoder, Encoder, FieldList, Indexing};
use super::{Limits, Side};

pub use harness::{Harness, raw_data, raw_headers, read_heads, refusals};

/// HPACK: what decodes is encoded again, by an encoder that has seen all before it, and decodes to the same. `\xff` parts
/// the blocks.
pub fn fuzz_hpack(data: &[u8]) {
    let mut first = Decoder::new(64 * 1024, 128);
    let (mut encoder, mut second) =
        (Encoder::new(data.len().is_multiple_of(2)), Decoder::new(usize::MAX, usize::MAX));
    let (mut list, mut again) = (FieldList::new(), FieldList::new());
    for block in data.split(|byte| *byte == 0xff) {
        if first.decode(block, &mut list).is_err() {
            return;
        }
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for line in list.lines() {
            let (name, value) = (list.name(line).to_ascii_lowercase(), list.value(line));
            let indexing = if line.never_indexed { Indexing::Never } else { Indexing::of(&name, value) };
            encoder.field(&name, value, indexing, &mut out);
        }
        assert_eq!(second.decode(&out, &mut again), Ok(()));
        let expected = list.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        assert!(again.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).eq(expected));
        for (line, before) in again.lines().iter().zip(list.lines()) {
            assert!(line.never_indexed || !before.never_indexed, "a secret stays one");
        }
    }
}

/// The relay: `data` is what both sides send behind a proper greeting, in pieces of a head of two octets each: the side
/// in its highest bit, then the length. The same in one-octet pieces leads to the same.
pub fn fuzz_relay(data: &[u8]) {
    let whole = run(data, usize::MAX);
    let octets = run(data, 1);
    assert_eq!(whole.events.len(), octets.events.len());
    assert_eq!((whole.error, &whole.events), (octets.error, &octets.events));
    assert_eq!(whole.written, octets.written);
}

fn run(mut data: &[u8], pieces: usize) -> Harness {
    let mut harness = Harness::greeted(Limits::default());
    while let Some(([high, low], rest)) = data.split_first_chunk::<2>() {
        let side = if high & 0x80 == 0 { Side::Client } else { Side::Origin };
        let len = usize::from(high & 0x7f) << 8 | usize::from(*low);
        let (piece, rest) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        for part in piece.chunks(pieces.min(piece.len().max(1))) {
            harness.feed(side, part);
        }
        data = rest;
    }
    harness.finish();
    harness
}
