//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B), with tables that the compiler makes.

use std::slice::IterMut;

use super::HpackError;
use super::huffman_lengths::LENGTHS;

/// Longest code.
const LONGEST: usize = 30;
/// Codes up to this many bits, nearly all of real text, are found with one look.
const FAST_BITS: u32 = 10;
const EOS: u16 = 256;

/// The canonical order: symbols by length, then by value; per length the first code, and where its symbols begin.
struct Canonical {
    symbols: [u16; 257],
    first_code: [u32; LONGEST + 1],
    first_symbol: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
}

const CANONICAL: Canonical = {
    let mut table = Canonical {
        symbols: [0; 257],
        first_code: [0; LONGEST + 1],
        first_symbol: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
    };
    let (mut length, mut place, mut code) = (1, 0, 0);
    while length <= LONGEST {
        table.first_code[length] = code;
        table.first_symbol[length] = place;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                table.symbols[place as usize] = symbol as u16;
                place += 1;
                code += 1;
                table.count[length] += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    table
};

static BY_LENGTH: Canonical = CANONICAL;

/// Code of each octet, right-aligned.
static CODES: [u32; 256] = {
    let mut codes = [0; 256];
    let mut length = 1;
    while length <= LONGEST {
        let mut n = 0;
        while n < CANONICAL.count[length] {
            let symbol = CANONICAL.symbols[(CANONICAL.first_symbol[length] + n) as usize];
            if symbol != EOS {
                codes[symbol as usize] = CANONICAL.first_code[length] + n as u32;
            }
            n += 1;
        }
        length += 1;
    }
    codes
};

/// Octet and length of the code that begins the index; length 0 where it is longer.
static FAST: [(u8, u8); 1 << FAST_BITS] = {
    let mut table = [(0, 0); 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as u32;
        if length <= FAST_BITS {
            let spare = FAST_BITS - length;
            let mut tail = 0;
            while tail < 1 << spare {
                table[((CODES[symbol] << spare) + tail) as usize] = (symbol as u8, length as u8);
                tail += 1;
            }
        }
        symbol += 1;
    }
    table
};

/// Appends the text that `input` encodes. At most 8/5 of its length comes out.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let before = out.len();
    // Room for all there can be: a symbol then takes no look at the capacity.
    out.resize(before + input.len() * 8 / 5 + 1, 0);
    let mut room = out.get_mut(before..).unwrap_or_default().iter_mut();
    let decoded = decode_into(input, &mut room);
    let unused = room.len();
    out.truncate(out.len() - unused);
    decoded
}

fn decode_into(input: &[u8], room: &mut IterMut<'_, u8>) -> Result<(), HpackError> {
    let mut bytes = input.iter();
    // The bits not yet decoded, right-aligned; behind the end ones are assumed, as the padding has them.
    let (mut window, mut bits) = (0_u64, 0_u32);
    loop {
        while bits <= 32 {
            let Some(byte) = bytes.next() else { return last(window, bits, room) };
            window = window << 8 | u64::from(*byte);
            bits += 8;
        }
        // More bits than the longest code has: no end can come in between.
        while bits >= LONGEST as u32 {
            let (symbol, length) = symbol(window, bits).ok_or(HpackError::Huffman)?;
            *room.next().ok_or(HpackError::Huffman)? = symbol;
            bits -= length;
        }
    }
}

/// The end of a string: what is left after the last symbol is fewer than eight bits, all ones.
fn last(mut window: u64, mut bits: u32, room: &mut IterMut<'_, u8>) -> Result<(), HpackError> {
    // At most 32 bits are left here, so there is room for as many ones behind them.
    const PAD: u32 = 32;
    window = window << PAD | ((1 << PAD) - 1);
    loop {
        let ones = (1_u64 << bits) - 1;
        if bits < 8 && (window >> PAD) & ones == ones {
            return Ok(());
        }
        match symbol(window, bits + PAD) {
            Some((symbol, length)) if length <= bits => {
                *room.next().ok_or(HpackError::Huffman)? = symbol;
                bits -= length;
            }
            _ => return Err(HpackError::Huffman),
        }
    }
}

/// The symbol at the top of the `bits` low bits of `window`, of which there are at least [`LONGEST`]. `None` for EOS.
#[inline]
fn symbol(window: u64, bits: u32) -> Option<(u8, u32)> {
    let top = (window >> (bits - FAST_BITS)) as usize & ((1 << FAST_BITS) - 1);
    match FAST.get(top) {
        Some((symbol, length)) if *length > 0 => Some((*symbol, u32::from(*length))),
        _ => rare_symbol(window, bits),
    }
}

#[cold]
fn rare_symbol(window: u64, bits: u32) -> Option<(u8, u32)> {
    (FAST_BITS + 1..=LONGEST as u32)
        .find_map(|length| {
            let code = (window >> (bits - length)) as u32 & ((1 << length) - 1);
            let place = code.checked_sub(*BY_LENGTH.first_code.get(length as usize)?)?;
            if place >= u32::from(*BY_LENGTH.count.get(length as usize)?) {
                return None;
            }
            let first = u32::from(*BY_LENGTH.first_symbol.get(length as usize)?);
            let symbol = BY_LENGTH.symbols.get((first + place) as usize)?;
            Some((u8::try_from(*symbol).ok(), length))
        })
        .and_then(|(symbol, length)| Some((symbol?, length)))
}

/// Bytes that `text` takes in this code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends `text` in this code, padded with ones.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut window, mut bits) = (0_u64, 0_u32);
    for byte in text {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        window = window << length | u64::from(CODES[usize::from(*byte)]);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((window >> bits) as u8);
        }
    }
    if bits > 0 {
        let pad = 8 - bits;
        out.push((window << pad) as u8 | ((1 << pad) - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_standard() {
        for (text, code) in [
            (
                "www.example.com",
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
            ),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("302", &[0x64, 0x02]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ] {
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, code);
            assert_eq!(encoded_len(text.as_bytes()), code.len());
            assert_eq!(decoded(code), Ok(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn every_octet_survives_at_every_place_of_a_string() {
        for byte in 0..=u8::MAX {
            for before in 0..12 {
                for after in 0..4 {
                    let text = [vec![b'a'; before], vec![byte], vec![b'0'; after]].concat();
                    let mut out = Vec::new();
                    encode(&text, &mut out);
                    assert_eq!(out.len(), encoded_len(&text));
                    assert_eq!(decoded(&out), Ok(text));
                }
            }
        }
    }

    #[test]
    fn padding_is_ones_and_shorter_than_an_octet_and_eos_is_no_symbol() {
        assert_eq!(decoded(&[]), Ok(Vec::new()));
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()), "00011 is a");
        assert_eq!(decoded(&[0b0001_1110]), Err(HpackError::Huffman), "a zero in the padding");
        assert_eq!(
            decoded(&[0b0001_1111, 0xff]),
            Err(HpackError::Huffman),
            "more than seven bits of padding"
        );
        assert_eq!(decoded(&[0xff]), Err(HpackError::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(HpackError::Huffman), "EOS");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff, 0x1f, 0x1f, 0x1f]), Err(HpackError::Huffman));
        // Every short input gets an answer, and none that is taken comes out differently when written again.
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                if let Ok(text) = decoded(&[first, second]) {
                    let mut again = Vec::new();
                    encode(&text, &mut again);
                    assert_eq!(again, [first, second]);
                }
            }
        }
    }
}
