//! Sets of policies, by their place in the index: a bit each where they are many, a list where they are few.

use crate::policy::MAX_POLICIES;

const BITS: usize = u64::BITS as usize;
/// Words that hold a bit for each policy there can be.
pub(super) const WORDS: usize = MAX_POLICIES.div_ceil(BITS);
/// Room for one set while a decision is made, on the stack.
pub(super) type Work = [u64; WORDS];
/// Members up to which a list takes no longer to add than bits do.
const FEW: usize = 32;
/// Live words of a chunk up to which each is taken by itself.
const SCATTERED: u32 = 24;

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

    pub(super) fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(mine, other)| *mine &= other);
        self
    }

    pub(super) fn or(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, other)| *mine |= other);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == Self::default().0
    }

    /// Numbers of the words, in order.
    fn words(self) -> impl Iterator<Item = usize> {
        self.chunks().flat_map(move |(chunk, _)| self.words_of(chunk))
    }

    /// Those of a chunk.
    fn words_of(self, chunk: usize) -> impl Iterator<Item = usize> {
        members(self.0.get(chunk).copied().unwrap_or_default()).map(move |bit| chunk * BITS + bit)
    }

    /// Chunks of up to 64 words in which something is live, most of it or little.
    fn chunks(self) -> impl Iterator<Item = (usize, u64)> {
        self.0.into_iter().enumerate().filter(|(_, bits)| *bits != 0)
    }

    fn insert(&mut self, word: usize) {
        if let Some(bits) = self.0.get_mut(word / BITS) {
            *bits |= 1 << (word % BITS);
        }
    }

    /// Takes the words out of `set` that are not in `other`, and those out of `self` that this leaves empty.
    pub(super) fn intersect(&mut self, set: &mut Work, other: &[u64]) {
        for ((bits, set), other) in self.0.iter_mut().zip(set.chunks_mut(BITS)).zip(other.chunks(BITS)) {
            if bits.count_ones() > SCATTERED {
                // Together, so that it is done by vectors.
                set.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
                *bits &= occupied(set);
                continue;
            }
            for bit in members(*bits) {
                let other = other.get(bit).copied().unwrap_or_default();
                let word = set.get_mut(bit).map_or(0, |word| {
                    *word &= other;
                    *word
                });
                *bits &= !(u64::from(word == 0) << bit);
            }
        }
    }

    /// Writes a value into the words, and perhaps into others that are not live.
    pub(super) fn fill(self, set: &mut Work, value: u64) {
        for (chunk, bits) in self.chunks() {
            if bits.count_ones() > SCATTERED {
                set.iter_mut().skip(chunk * BITS).take(BITS).for_each(|word| *word = value);
                continue;
            }
            for word in self.words_of(chunk) {
                if let Some(word) = set.get_mut(word) {
                    *word = value;
                }
            }
        }
    }
}

/// Numbers of the bits that are set, in order.
fn members(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(bit)
    })
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

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds of its members those whose words are live.
    pub(super) fn add_to(&self, set: &mut Work, live: Live) {
        for (chunk, bits) in live.and(&self.live).chunks() {
            let mine = self.words.get(chunk * BITS..).unwrap_or_default();
            let set = set.get_mut(chunk * BITS..).unwrap_or_default();
            if bits.count_ones() > SCATTERED {
                // With what is not live in between, which nobody asks for.
                set.iter_mut().zip(mine).take(BITS).for_each(|(word, more)| *word |= more);
                continue;
            }
            for bit in members(bits) {
                if let (Some(word), Some(more)) = (set.get_mut(bit), mine.get(bit)) {
                    *word |= more;
                }
            }
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
            Self::All => live.fill(set, u64::MAX),
        }
    }

    /// Words in which members may stand, where `every` one of a set is live.
    pub(super) fn live(&self, every: Live) -> Live {
        match self {
            Self::Few(places) => {
                let mut live = Live::default();
                places.iter().for_each(|place| live.insert(*place as usize / BITS));
                live
            }
            Self::Many(bits) => bits.live,
            Self::All => every,
        }
    }
}

fn insert(set: &mut [u64], place: u32) {
    let place = place as usize;
    if let Some(word) = set.get_mut(place / BITS) {
        *word |= 1 << (place % BITS);
    }
}

/// Places in the live words, from the first on, of the set whose words `word` makes of their numbers.
pub(super) fn places(live: Live, word: impl Fn(usize) -> u64) -> impl Iterator<Item = usize> {
    live.words().flat_map(move |number| members(word(number)).map(move |bit| number * BITS + bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: usize = 64 * 140;

    fn every() -> Bits {
        Bits::new(0..u32::try_from(POLICIES).unwrap(), words(POLICIES))
    }

    fn places_of(set: &Work) -> Vec<usize> {
        places(every().live(), |number| set[number]).collect()
    }

    #[test]
    fn few_and_many_are_the_same_set() {
        let all = every().live();
        for count in [0, 1, 3, 32, 33, 200, 4000] {
            let mut given: Vec<u32> = (0..count).map(|n| (n * 7) % 8191).collect();
            let set = Places::new(given.clone(), POLICIES);
            assert_eq!(matches!(set, Places::Many(_)), count > 32, "{count}");
            let mut work = [0; WORDS];
            set.add_to(&mut work, all);
            assert_eq!(set.live(all), Live::of(&work));
            given.sort_unstable();
            let given: Vec<usize> = given.into_iter().map(|place| place as usize).collect();
            assert_eq!(places_of(&work), given);
        }
        let every = Places::new((0..u32::try_from(POLICIES).unwrap()).collect(), POLICIES);
        assert_eq!(every, Places::All);
    }

    #[test]
    fn of_many_policies_those_in_live_words_are_added() {
        let set = Bits::new((0..u32::try_from(POLICIES).unwrap()).filter(|place| place % 3 == 0), WORDS);
        for step in [1, 2, 5] {
            let mut live = Live::default();
            (0..words(POLICIES)).step_by(step).for_each(|word| live.insert(word));
            let mut work = [0; WORDS];
            set.add_to(&mut work, live);
            let added: Vec<usize> = places(live, |number| work[number]).collect();
            let expected =
                (0..POLICIES).filter(|place| place % 3 == 0 && (place / BITS).is_multiple_of(step));
            assert_eq!(added, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_becomes_empty_is_no_longer_live() {
        // Of few words, each by itself; of many, together.
        for filled in [false, true] {
            let (mut set, mut other) = ([0; WORDS], [0; WORDS]);
            for number in [1, 2, 3, 70, 100, 130] {
                set[number] = 3;
            }
            if filled {
                set[8..60].fill(8);
            }
            for number in [2, 3, 70, 131] {
                other[number] = 6;
            }
            let mut live = Live::of(&set);
            live.intersect(&mut set, &other);
            assert_eq!(live.words().collect::<Vec<_>>(), [2, 3, 70]);
            assert_eq!(places_of(&set), [2 * 64 + 1, 3 * 64 + 1, 70 * 64 + 1]);
            live.fill(&mut set, 0);
            assert!(places_of(&set).is_empty());
            live.intersect(&mut set, &other);
            assert!(live.is_empty());
        }
    }
}
