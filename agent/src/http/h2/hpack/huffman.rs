//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B), with tables that the compiler makes.

use super::HpackError;
use super::huffman_lengths::LENGTHS;
use super::text::Text;

/// Longest code.
const LONGEST: usize = 30;
/// Codes up to this many bits, nearly all of real text, are found with one look; two where both fit, as nearly all letters
/// and digits do. With one bit less there are a sixth more looks; with one bit more the table is 64 KiB.
const FAST_BITS: u32 = 13;
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

/// What a look at the next bits gives, in one word: it is loaded, and the symbols stored, at once. Lowest stands what the
/// next look waits for, how far to shift.
#[derive(Clone, Copy)]
struct Found(u32);

impl Found {
    /// The first code is longer than the look.
    const NONE: Self = Self::new([0; 2], 0, 0);

    /// `count` symbols in `bits` bits. The second octet means nothing where there is one symbol only.
    const fn new(symbols: [u8; 2], count: u32, bits: u32) -> Self {
        Self(bits | count << 8 | (u16::from_le_bytes(symbols) as u32) << 16)
    }

    const fn symbols(self) -> [u8; 2] {
        ((self.0 >> 16) as u16).to_le_bytes()
    }

    /// One or two; 0 for [`Self::NONE`].
    const fn count(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Bits of them all.
    const fn bits(self) -> u32 {
        self.0 & 0xff
    }
}

/// By the next bits: the code that begins them, and the one behind it where it ends within them too.
static FAST: [Found; 1 << FAST_BITS] = {
    let mut table = [Found::NONE; 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as u32;
        if length <= FAST_BITS {
            let spare = FAST_BITS - length;
            let mut tail = 0;
            while tail < 1 << spare {
                let entry = &mut table[((CODES[symbol] << spare) + tail) as usize];
                *entry = Found::new([symbol as u8, 0], 1, length);
                tail += 1;
            }
        }
        symbol += 1;
    }
    // What the look sees behind the first code is the second code, if that ends within it too.
    let singles = table;
    let mut index = 0;
    while index < 1 << FAST_BITS {
        let one = singles[index];
        let next = singles[(index << one.bits()) & ((1 << FAST_BITS) - 1)];
        if one.count() > 0 && next.count() > 0 && one.bits() + next.bits() <= FAST_BITS {
            let symbols = [one.symbols()[0], next.symbols()[0]];
            table[index] = Found::new(symbols, 2, one.bits() + next.bits());
        }
        index += 1;
    }
    table
};

/// Appends the text that `input` encodes. At most 8/5 of its length comes out.
pub(super) fn decode(input: &[u8], out: &mut Text) -> Result<(), HpackError> {
    // Room for all there can be, and for a second symbol that is none.
    let written = decode_into(input, out.room(input.len() * 8 / 5 + 2))?;
    out.take(written);
    Ok(())
}

/// The bits that come next, left-aligned, and where further ones are.
struct Bits<'a> {
    window: u64,
    /// How many of them are known. What stands behind them is zero, or what follows in the input.
    known: u32,
    input: &'a [u8],
    /// The end of the input, for a look at its last octets.
    tail: u64,
}

impl<'a> Bits<'a> {
    fn of(input: &'a [u8]) -> Self {
        let tail = match input.last_chunk() {
            Some(word) => u64::from_be_bytes(*word),
            None => input.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)),
        };
        Self { window: 0, known: 0, input, tail }
    }

    /// Takes whole octets of the input, as many as there is room for.
    fn refill(&mut self) {
        let octets = ((u64::BITS - 1 - self.known) / 8) as usize;
        let word = match self.input.first_chunk() {
            Some(word) => u64::from_be_bytes(*word),
            // Its last octets, fewer than eight. A shift by all bits is none that `<<` knows.
            None => self.tail.checked_shl(u64::BITS - 8 * self.input.len() as u32).unwrap_or(0),
        };
        self.window |= word >> self.known;
        let taken = octets.min(self.input.len());
        self.input = self.input.get(taken..).unwrap_or_default();
        self.known += 8 * taken as u32;
    }

    fn skip(&mut self, bits: u32) {
        self.window <<= bits;
        self.known -= bits;
    }
}

/// Gives how many octets of `out` were written.
fn decode_into(input: &[u8], out: &mut [u8]) -> Result<usize, HpackError> {
    let (mut bits, mut written) = (Bits::of(input), 0_usize);
    loop {
        bits.refill();
        if bits.input.is_empty() {
            return last(bits, written, out);
        }
        // There is more behind these, so that no end can come in between.
        while bits.known >= FAST_BITS {
            let mut found = look(bits.window);
            if found.count() == 0 {
                if bits.known < LONGEST as u32 {
                    break;
                }
                found = rare(bits.window).ok_or(HpackError::Huffman)?;
            }
            let room = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut);
            *room.ok_or(HpackError::Huffman)? = found.symbols();
            written += found.count() as usize;
            bits.skip(found.bits());
        }
    }
}

/// The end of a string: what is left after the last symbol is fewer than eight bits, all ones.
fn last(mut bits: Bits<'_>, mut written: usize, out: &mut [u8]) -> Result<usize, HpackError> {
    // Ones behind the end, as if the padding went on: no code is all ones, so one that takes of them is none. Turned over,
    // for zeros are what a shift brings in.
    let mut turned = !(bits.window | u64::MAX.checked_shr(bits.known).unwrap_or(0));
    loop {
        let mut found = look(!turned);
        if found.count() == 0 || found.bits() > bits.known {
            if bits.known < 8 && turned.leading_zeros() >= bits.known {
                return Ok(written);
            }
            found = match found.count() {
                0 => rare(!turned).ok_or(HpackError::Huffman)?,
                // The second of two was padding.
                2 => first_of(found),
                _ => found,
            };
            if found.bits() > bits.known {
                return Err(HpackError::Huffman);
            }
        }
        let room = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut);
        *room.ok_or(HpackError::Huffman)? = found.symbols();
        written += found.count() as usize;
        turned <<= found.bits();
        bits.known -= found.bits();
    }
}

fn first_of(two: Found) -> Found {
    let [symbol, _] = two.symbols();
    Found::new([symbol, 0], 1, LENGTHS[usize::from(symbol)].into())
}

/// What the top of `window` begins with.
#[inline]
fn look(window: u64) -> Found {
    FAST.get((window >> (u64::BITS - FAST_BITS)) as usize).copied().unwrap_or(Found::NONE)
}

/// The symbol at the top of `window`, whose code is longer than [`FAST_BITS`]. `None` for EOS.
#[cold]
fn rare(window: u64) -> Option<Found> {
    (FAST_BITS + 1..=LONGEST as u32)
        .find_map(|length| {
            let code = (window >> (u64::BITS - length)) as u32;
            let place = code.checked_sub(*BY_LENGTH.first_code.get(length as usize)?)?;
            if place >= u32::from(*BY_LENGTH.count.get(length as usize)?) {
                return None;
            }
            let first = u32::from(*BY_LENGTH.first_symbol.get(length as usize)?);
            let symbol = BY_LENGTH.symbols.get((first + place) as usize)?;
            Some((u8::try_from(*symbol).ok(), length))
        })
        .and_then(|(symbol, length)| Some(Found::new([symbol?, 0], 1, length)))
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Text::default();
        decode(input, &mut out).map(|()| out.get(0..out.len()).to_vec())
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

    /// As the standard says it, bit by bit.
    fn slowly_decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let (mut text, mut code, mut length) = (Vec::new(), 0_u32, 0_u8);
        for bit in input.iter().flat_map(|octet| (0..8).rev().map(move |place| octet >> place & 1)) {
            (code, length) = (code << 1 | u32::from(bit), length + 1);
            if let Some(symbol) =
                (0..=u8::MAX).find(|s| LENGTHS[usize::from(*s)] == length && CODES[usize::from(*s)] == code)
            {
                text.push(symbol);
                (code, length) = (0, 0);
            }
            if usize::from(length) == LONGEST {
                return Err(HpackError::Huffman);
            }
        }
        if length < 8 && code == (1 << length) - 1 { Ok(text) } else { Err(HpackError::Huffman) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_octets_decode_as_they_do_bit_by_bit(input in vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decoded(&input), slowly_decoded(&input));
        }

        #[test]
        fn text_whose_code_is_cut_or_changed_decodes_as_it_does_bit_by_bit(
            text in prop_oneof!["[ -~]{0,40}".prop_map(String::into_bytes), vec(any::<u8>(), 0..16)],
            end in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            flipped in any::<u8>(),
        ) {
            let mut code = Vec::new();
            encode(&text, &mut code);
            prop_assert_eq!(decoded(&code), Ok(text));
            let cut = &code[..end.index(code.len() + 1)];
            prop_assert_eq!(decoded(cut), slowly_decoded(cut));
            if !code.is_empty() {
                for place in [place.index(code.len()), code.len() - 1] {
                    code[place] ^= flipped;
                    prop_assert_eq!(decoded(&code), slowly_decoded(&code));
                }
            }
            code.push(flipped);
            prop_assert_eq!(decoded(&code), slowly_decoded(&code));
        }
    }
}
