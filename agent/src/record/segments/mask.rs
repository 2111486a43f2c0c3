//! Some records of a segment, by their places in it.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask {
    words: Vec<u64>,
}

const BITS: usize = u64::BITS as usize;

impl Mask {
    pub(crate) fn none(records: usize) -> Self {
        Self { words: vec![0; records.div_ceil(BITS)] }
    }

    pub(crate) fn all(records: usize) -> Self {
        let mut words = vec![u64::MAX; records.div_ceil(BITS)];
        let beyond = words.len() * BITS - records;
        if let Some(last) = words.last_mut() {
            *last >>= beyond;
        }
        Self { words }
    }

    /// Those of whose codes `is_hit` says so.
    pub(super) fn of<T>(codes: &[T], is_hit: impl Fn(&T) -> bool) -> Self {
        let word = |codes: &[T]| {
            codes.iter().enumerate().fold(0, |word, (at, code)| word | (u64::from(is_hit(code)) << at))
        };
        Self { words: codes.chunks(BITS).map(word).collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn add(&mut self, place: usize) {
        if let Some(word) = self.words.get_mut(place / BITS) {
            *word |= 1 << (place % BITS);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then_some(rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * BITS + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_joined_and_cut() {
        for records in [0, 1, 63, 64, 65, 200] {
            let codes: Vec<usize> = (0..records).collect();
            let [threes, fives] = [3, 5].map(|n| Mask::of(&codes, |code| code % n == 0));
            let with = |mask: &Mask| mask.places().collect::<Vec<_>>();
            assert_eq!(with(&threes), codes.iter().copied().filter(|c| c % 3 == 0).collect::<Vec<_>>());
            let mut both = threes.clone();
            both.and(&fives);
            assert_eq!(with(&both), codes.iter().copied().filter(|c| c % 15 == 0).collect::<Vec<_>>());
            let mut either = threes;
            either.or(&fives);
            assert_eq!(
                with(&either),
                codes.iter().copied().filter(|c| c % 3 == 0 || c % 5 == 0).collect::<Vec<_>>()
            );
            assert_eq!(with(&Mask::all(records)), codes);
            assert!(Mask::none(records).is_empty());
        }
    }
}
