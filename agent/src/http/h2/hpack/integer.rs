//! Integers with an N-bit prefix (RFC 7541 section 5.1).

use super::HpackError;

/// Largest integer taken: sizes and indices of real messages lie far below, and no sum of two of them overflows.
const MAX_INTEGER: u32 = 1 << 28;

/// Reads the integer that begins with the low `prefix` bits of the first byte of `input`. Returns what follows it too.
pub(super) fn decode(input: &[u8], prefix: u32) -> Result<(u32, &[u8]), HpackError> {
    let (first, mut rest) = input.split_first().ok_or(HpackError::Truncated)?;
    let mask = (1_u32 << prefix) - 1;
    let mut value = u32::from(*first) & mask;
    if value < mask {
        return Ok((value, rest));
    }
    let mut shift = 0;
    loop {
        let (byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
        rest = after;
        // 28 bits are shifted at most, so that nothing is lost above; padding with zero octets ends here too.
        if shift > 21 {
            return Err(HpackError::Integer);
        }
        value += u32::from(byte & 0x7f) << shift;
        if value > MAX_INTEGER {
            return Err(HpackError::Integer);
        }
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
        shift += 7;
    }
}

/// Appends `value` with a prefix of `prefix` bits; `flags` are the bits above it in the first byte.
pub(super) fn encode(value: usize, prefix: u32, flags: u8, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(flags | low_byte(value));
        return;
    }
    out.push(flags | low_byte(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

const fn low_byte(value: usize) -> u8 {
    (value & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        for (value, prefix, expected) in
            [(10, 5, &[0b01010][..]), (1337, 5, &[0b11111, 0b1001_1010, 0b0000_1010]), (42, 8, &[42])]
        {
            let mut out = Vec::new();
            encode(value, prefix, 0, &mut out);
            assert_eq!(out, expected);
            assert_eq!(decode(expected, prefix), Ok((value as u32, &[][..])));
        }
    }

    #[test]
    fn every_value_survives_every_prefix_and_no_prefix_of_it_is_taken_for_it() {
        for prefix in 1..=8 {
            for value in (0..600).chain([16_383, 16_384, 1 << 20, 1 << 21, MAX_INTEGER as usize]) {
                let mut out = Vec::new();
                encode(value, prefix, 0, &mut out);
                for end in 0..out.len() {
                    assert_eq!(decode(&out[..end], prefix), Err(HpackError::Truncated));
                }
                out.push(7);
                assert_eq!(decode(&out, prefix), Ok((value as u32, &[7][..])), "{value} in {prefix}");
            }
        }
    }

    #[test]
    fn what_is_too_large_or_padded_without_end_is_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], 5), Err(HpackError::Integer));
        assert_eq!(decode(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0], 5), Err(HpackError::Integer));
        assert_eq!(decode(&[0x1f, 0x80, 0x80, 0x80, 0x80], 5), Err(HpackError::Truncated));
    }
}
