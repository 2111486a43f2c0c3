//! A stretch of text around one octet, and questions about it that cannot go wrong at its ends.

/// Where nothing stands, NUL does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(super) fn at(&self, index: usize) -> u8 {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The octet `distance` before `index`.
    pub(super) fn before(&self, index: usize, distance: usize) -> u8 {
        index.checked_sub(distance).map_or(0, |index| self.at(index))
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.0.get(from..to.min(self.0.len())).unwrap_or_default()
    }

    pub(super) fn starts_with(&self, at: usize, word: &[u8]) -> bool {
        self.slice(at, at + word.len()) == word
    }

    pub(super) fn starts_with_any_case(&self, at: usize, word: &[u8]) -> bool {
        self.slice(at, at + word.len()).eq_ignore_ascii_case(word)
    }

    /// How many octets from `at` on satisfy `class`, at most `most`.
    pub(super) fn run(&self, at: usize, most: usize, class: impl Fn(u8) -> bool) -> usize {
        self.slice(at, at.saturating_add(most)).iter().take_while(|octet| class(**octet)).count()
    }

    /// How many octets right before `at` satisfy `class`, at most `most`.
    pub(super) fn run_before(&self, at: usize, most: usize, class: impl Fn(u8) -> bool) -> usize {
        self.slice(at.saturating_sub(most), at).iter().rev().take_while(|octet| class(**octet)).count()
    }

    /// Length of one separator between groups of a number, and which: blank, hyphen or full stop, also in the forms
    /// that keep a line together or are not shown.
    pub(super) fn separator(&self, at: usize) -> Option<(u8, usize)> {
        match self.at(at) {
            octet @ (b' ' | b'-' | b'.') => Some((octet, 1)),
            // U+00A0; U+00AD, which is not shown.
            0xC2 => match self.at(at + 1) {
                0xA0 => Some((b' ', 2)),
                0xAD => Some((0, 2)),
                _ => None,
            },
            // U+2002 to U+200A, U+202F; U+200B to U+200D, which have no width; U+2010 to U+2015; U+2212.
            0xE2 => match (self.at(at + 1), self.at(at + 2)) {
                (0x80, 0x82..=0x8A | 0xAF) => Some((b' ', 3)),
                (0x80, 0x8B..=0x8D) => Some((0, 3)),
                (0x80, 0x90..=0x95) | (0x88, 0x92) => Some((b'-', 3)),
                _ => None,
            },
            _ => None,
        }
    }

    /// How far before `at` the last of `words` ends, within `reach`. A short word stands alone, or as part of a name
    /// like `customerSSN` or `rtn_no`.
    pub(super) fn word_before(&self, at: usize, reach: usize, words: &Words) -> Option<usize> {
        let near = self.slice(at.saturating_sub(reach), at);
        for (index, octet) in near.iter().enumerate().rev() {
            let first = octet.to_ascii_lowercase();
            if !words.begin_with(first) {
                continue;
            }
            for word in words.all.iter().filter(|word| word.first() == Some(&first)) {
                let end = index + word.len();
                let here = near.get(index..end).is_some_and(|here| here.eq_ignore_ascii_case(word));
                if here && (word.len() > SHORT || stands_alone(near, index, end)) {
                    return Some(near.len() - end);
                }
            }
        }
        None
    }
}

/// Words in lower case that say what a number is.
pub(super) struct Words {
    all: &'static [&'static [u8]],
    /// A bit for each letter one of them begins with.
    first: u32,
}

impl Words {
    pub(super) const fn new(all: &'static [&'static [u8]]) -> Self {
        let (mut first, mut index) = (0, 0);
        while index < all.len() {
            first |= 1 << (all[index][0] - b'a');
            index += 1;
        }
        Self { all, first }
    }

    fn begin_with(&self, letter: u8) -> bool {
        letter.is_ascii_lowercase() && self.first & (1 << (letter - b'a')) != 0
    }
}

/// Words of at most this length occur within others by chance.
const SHORT: usize = 4;

fn stands_alone(near: &[u8], start: usize, end: usize) -> bool {
    let octet = |index: Option<usize>| index.and_then(|index| near.get(index)).copied().unwrap_or_default();
    let (before, first) = (octet(start.checked_sub(1)), octet(Some(start)));
    let (last, after) = (octet(end.checked_sub(1)), octet(Some(end)));
    // In names of programs a capital begins a word.
    let begins = !before.is_ascii_alphabetic() || before.is_ascii_lowercase() && first.is_ascii_uppercase();
    let ends = !after.is_ascii_alphabetic() || last.is_ascii_lowercase() && after.is_ascii_uppercase();
    begins && ends
}

pub(super) fn alphanumeric(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
}

/// What regular expressions call a word.
pub(super) fn word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

/// The alphabet of base64url, RFC 4648 section 5, without padding.
pub(super) fn base64url(octet: u8) -> bool {
    word(octet) || octet == b'-'
}
