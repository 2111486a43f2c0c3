//! Numbers of a segment's records, times and places in the log, as octets: distances from the smallest, of four octets where
//! they fit.

const NARROW: usize = 4;
const WIDE: usize = 8;

/// `base` is the smallest of them.
pub(super) fn write(numbers: &[i64], base: i64) -> Vec<u8> {
    let distances = || numbers.iter().map(|number| number.wrapping_sub(base).cast_unsigned());
    if distances().all(|distance| u32::try_from(distance).is_ok()) {
        let narrow = distances().flat_map(|distance| (distance as u32).to_le_bytes());
        return [NARROW as u8].into_iter().chain(narrow).collect();
    }
    [WIDE as u8].into_iter().chain(distances().flat_map(u64::to_le_bytes)).collect()
}

/// `None` when they are not `records` numbers.
pub(crate) fn read(data: &[u8], base: i64, records: usize) -> Option<Vec<i64>> {
    let (&width, data) = data.split_first()?;
    let from = |distance: u64| base.wrapping_add(distance.cast_signed());
    let numbers: Vec<i64> = match usize::from(width) {
        NARROW => {
            let (chunks, []) = data.as_chunks::<NARROW>() else { return None };
            chunks.iter().map(|chunk| from(u32::from_le_bytes(*chunk).into())).collect()
        }
        WIDE => {
            let (chunks, []) = data.as_chunks::<WIDE>() else { return None };
            chunks.iter().map(|chunk| from(u64::from_le_bytes(*chunk))).collect()
        }
        _ => return None,
    };
    (numbers.len() == records).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far_numbers_are_read_back_and_others_are_none() {
        for numbers in [
            vec![],
            vec![7],
            vec![5, 5 + i64::from(u32::MAX), 9],
            vec![i64::MIN, i64::MAX, 0],
            vec![-3, 1 << 40],
        ] {
            let base = numbers.iter().copied().min().unwrap_or(0);
            let data = write(&numbers, base);
            assert_eq!(read(&data, base, numbers.len()), Some(numbers.clone()), "{numbers:?}");
            assert_eq!(read(&data, base, numbers.len() + 1), None);
            for cut in 0..data.len() {
                assert_eq!(read(&data[..cut], base, numbers.len()), None, "{numbers:?} cut at {cut}");
            }
        }
        assert_eq!(write(&[4, 4 + i64::from(u32::MAX)], 4).len(), 1 + 2 * NARROW);
        assert_eq!(read(&[3, 0, 0, 0], 0, 1), None);
    }
}
