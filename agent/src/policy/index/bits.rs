//! Sets of policies, by their place in the index: a bit each where they are many, a list where they are few.

use std::ops::Range;

use crate::policy::MAX_POLICIES;

const BITS: usize = u64::BITS as usize;
/// Words that hold a bit for each policy there can be.
pub(super) const WORDS: usize = MAX_POLICIES.div_ceil(BITS);
/// Room for one set while a decision is made, on the stack.
pub(super) type Work = [u64; WORDS];
/// Members up to which a list takes no longer to add than bits do.
const FEW: usize = 32;

/// Words of a set for `policies` of them.
pub(super) fn words(policies: usize) -> usize {
    policies.div_ceil(BITS).min(WORDS)
}

/// Which words of a set are worth a look, a bit each: what has become empty is not read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Live([u64; WORDS.div_ceil(BITS)]);

impl Live {
    fn of(set: &[u64]) -> Self {
        let mut live = Self::default();
        for (bits, words) in live.0.iter_mut().zip(set.chunks(BITS)) {
            *bits = occupied(words);
        }
        live
    }

    fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(mine, other)| *mine &= other);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == Self::default().0
    }

    /// Stretches of words, in order: many live words are one stretch, so that work on them is done by vectors.
    fn runs(self) -> impl Iterator<Item = Range<usize>> {
        self.0.into_iter().enumerate().flat_map(|(number, mut bits)| {
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let start = bits.trailing_zeros();
                let length = (!(bits >> start)).trailing_zeros();
                let run = u64::MAX.checked_shr(u64::BITS - length).unwrap_or_default() << start;
                bits &= !run;
                let start = number * BITS + start as usize;
                Some(start..start + length as usize)
            })
        })
    }

    /// Takes the words out of `set` that are not in `other`, and those out of `self` that this leaves empty.
    pub(super) fn intersect(&mut self, set: &mut Work, other: &Work) {
        for run in self.runs() {
            let (Some(set), Some(other)) = (set.get_mut(run.clone()), other.get(run)) else { continue };
            set.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
        }
        for (bits, words) in self.0.iter_mut().zip(set.chunks(BITS)).filter(|(bits, _)| **bits != 0) {
            *bits &= if bits.count_ones() == 1 {
                // What few words are left is asked for one by one.
                let word = words.get(bits.trailing_zeros() as usize).copied().unwrap_or_default();
                if word == 0 { 0 } else { u64::MAX }
            } else {
                occupied(words)
            };
        }
    }

    /// Makes the words empty.
    pub(super) fn clear(self, set: &mut Work) {
        for words in self.runs() {
            set.get_mut(words).unwrap_or_default().fill(0);
        }
    }
}

/// A bit for each word, of at most 64, in which there is something.
fn occupied(words: &[u64]) -> u64 {
    words.iter().zip(0..).fold(0, |bits, (word, number)| bits | u64::from(*word != 0) << number)
}

/// A set as bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Box<[u64]>,
    live: Live,
}

impl Bits {
    pub(super) fn new(places: impl IntoIterator<Item = u32>, words: usize) -> Self {
        let mut bits = vec![0; words].into_boxed_slice();
        places.into_iter().for_each(|place| insert(&mut bits, place));
        Self { live: Live::of(&bits), words: bits }
    }

    pub(super) fn live(&self) -> Live {
        self.live
    }

    pub(super) fn word(&self, number: usize) -> u64 {
        self.words.get(number).copied().unwrap_or_default()
    }

    /// Adds of its members those whose words are live.
    pub(super) fn add_to(&self, set: &mut Work, live: Live) {
        for run in live.and(&self.live).runs() {
            let (Some(set), Some(more)) = (set.get_mut(run.clone()), self.words.get(run)) else { continue };
            set.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
        }
    }
}

/// A set that is made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Places {
    /// In order.
    Few(Box<[u32]>),
    Many(Bits),
    /// Every policy.
    All,
}

impl Default for Places {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl Places {
    /// Some of `policies` policies.
    pub(super) fn new(mut places: Vec<u32>, policies: usize) -> Self {
        places.sort_unstable();
        places.dedup();
        if places.len() == policies {
            Self::All
        } else if places.len() <= FEW {
            Self::Few(places.into())
        } else {
            Self::Many(Bits::new(places, words(policies)))
        }
    }

    /// Adds of its members those whose words are live, and perhaps others.
    pub(super) fn add_to(&self, set: &mut Work, live: Live) {
        match self {
            Self::Few(places) => places.iter().for_each(|place| insert(set, *place)),
            Self::Many(bits) => bits.add_to(set, live),
            // Places that no policy has are asked for by nobody.
            Self::All => live.runs().for_each(|run| set.get_mut(run).unwrap_or_default().fill(u64::MAX)),
        }
    }
}

fn insert(set: &mut [u64], place: u32) {
    let place = place as usize;
    if let Some(word) = set.get_mut(place / BITS) {
        *word |= 1 << (place % BITS);
    }
}

/// Places in the live words of `set`, from the first on. A word is taken as `combine` makes it of its number.
pub(super) fn places(set: &Bits, live: Live, combine: impl Fn(usize) -> u64) -> impl Iterator<Item = usize> {
    live.and(&set.live).runs().flatten().flat_map(move |number| {
        let mut word = set.word(number) & combine(number);
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

    const POLICIES: usize = 64 * 140;

    fn members(set: &Work) -> Vec<usize> {
        let all = Bits::new(0..u32::try_from(POLICIES).unwrap(), words(POLICIES));
        places(&all, all.live(), |number| set[number]).collect()
    }

    #[test]
    fn few_and_many_are_the_same_set() {
        let all = Bits::new(0..u32::try_from(POLICIES).unwrap(), words(POLICIES)).live();
        for count in [0, 1, 3, 32, 33, 200, 4000] {
            let mut given: Vec<u32> = (0..count).map(|n| (n * 7) % 8191).collect();
            let set = Places::new(given.clone(), POLICIES);
            assert_eq!(matches!(set, Places::Many(_)), count > 32, "{count}");
            let mut work = [0; WORDS];
            set.add_to(&mut work, all);
            given.sort_unstable();
            let given: Vec<usize> = given.into_iter().map(|place| place as usize).collect();
            assert_eq!(members(&work), given);
        }
        let every = Places::new((0..u32::try_from(POLICIES).unwrap()).collect(), POLICIES);
        assert_eq!(every, Places::All);
    }

    #[test]
    fn live_words_come_in_stretches() {
        let of = |words: &[usize]| {
            let mut set = [0; WORDS];
            words.iter().for_each(|number| set[*number] = 1);
            Live::of(&set).runs().collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), Vec::<Range<usize>>::new());
        assert_eq!(of(&[0, 2, 3, 63, 64, 159]), [0..1, 2..4, 63..64, 64..65, 159..160]);
        let every: Vec<usize> = (0..WORDS).collect();
        assert_eq!(of(&every), [0..64, 64..128, 128..160]);
    }

    #[test]
    fn what_becomes_empty_is_no_longer_live() {
        let (mut set, mut other) = ([0; WORDS], [0; WORDS]);
        for number in [1, 2, 3, 70, 100, 130] {
            set[number] = 3;
        }
        for number in [2, 3, 70, 131] {
            other[number] = 6;
        }
        let mut live = Live::of(&set);
        live.intersect(&mut set, &other);
        assert_eq!(live.runs().collect::<Vec<_>>(), [2..4, 70..71]);
        assert_eq!(members(&set), [2 * 64 + 1, 3 * 64 + 1, 70 * 64 + 1]);
        live.clear(&mut set);
        assert!(members(&set).is_empty());
        live.intersect(&mut set, &other);
        assert!(live.is_empty());
    }
}
