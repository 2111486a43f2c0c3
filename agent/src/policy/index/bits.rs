//! Sets of policies, by their place in the index: a bit each where they are many, a list where they are few.

use crate::policy::MAX_POLICIES;

const BITS: usize = u64::BITS as usize;
/// Words that hold a bit for each policy there can be.
pub(super) const WORDS: usize = MAX_POLICIES.div_ceil(BITS);
/// Room for one set while a decision is made, on the stack.
pub(super) type Work = [u64; WORDS];

/// A set that is made once. `Few` is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Places {
    Few(Box<[u32]>),
    Many(Box<[u64]>),
}

impl Default for Places {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl Places {
    /// Of `words` words. A list beyond one place a word takes as long to add as the bits do.
    pub(super) fn new(mut places: Vec<u32>, words: usize) -> Self {
        places.sort_unstable();
        places.dedup();
        if places.len() <= words {
            return Self::Few(places.into());
        }
        Self::Many(bits(places, words))
    }

    /// Adds its members to the set.
    pub(super) fn add_to(&self, set: &mut [u64]) {
        match self {
            Self::Few(places) => places.iter().for_each(|place| insert(set, *place)),
            Self::Many(bits) => set.iter_mut().zip(bits).for_each(|(word, more)| *word |= more),
        }
    }
}

/// A set as bits.
pub(super) fn bits(places: impl IntoIterator<Item = u32>, words: usize) -> Box<[u64]> {
    let mut bits = vec![0; words].into_boxed_slice();
    places.into_iter().for_each(|place| insert(&mut bits, place));
    bits
}

fn insert(set: &mut [u64], place: u32) {
    let place = place as usize;
    if let Some(word) = set.get_mut(place / BITS) {
        *word |= 1 << (place % BITS);
    }
}

/// Places that are in all of `sets`, from the first on. A word is taken as `combine` makes it of its number.
pub(super) fn places(words: usize, combine: impl Fn(usize) -> u64) -> impl Iterator<Item = usize> {
    (0..words).flat_map(move |number| {
        let mut word = combine(number);
        std::iter::from_fn(move || {
            if word == 0 {
                return None;
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(number * BITS + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_the_same_set() {
        for count in [0, 1, 3, 4, 200] {
            let members: Vec<u32> = (0..count).map(|n| (n * 7) % 250).collect();
            let set = Places::new(members.clone(), 4);
            assert_eq!(matches!(set, Places::Many(_)), count > 4, "{count}");
            let mut work = [0; 4];
            set.add_to(&mut work);
            let mut sorted: Vec<usize> = members.iter().map(|place| *place as usize).collect();
            sorted.sort_unstable();
            assert_eq!(places(4, |n| work[n]).collect::<Vec<_>>(), sorted);
        }
    }
}
