//! Payment card numbers: issuer ranges and lengths, and the check digit of ISO/IEC 7812-1.

use super::Detector;
use super::stream::Found;
use super::text::{Text, Words, alphanumeric};

const SHORTEST: usize = 12;
const LONGEST: usize = 19;
/// Blanks or hyphens in a row that still hold a number together.
const MOST_SEPARATORS: usize = 3;
/// Groups in which numbers are printed, the longer before what it begins with.
const GROUPINGS: [&[usize]; 7] = [
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4],
    // As forms group numbers of other lengths.
    &[4, 4, 4, 3],
    &[4, 4, 4, 2],
    &[4, 4, 4, 1],
    &[4, 6, 5],
    &[4, 6, 4],
];
/// How far before a number of a rare kind a word has to say that it is a card's.
const REACH: usize = 64;
static WORDS: Words = Words::new(&[
    b"card", b"pan", b"visa", b"maestro", b"credit", b"debit", b"carte", b"karte", b"kaart", b"tarjeta",
    b"carta", b"payment", b"cc", b"kort",
]);

pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    let before = text.before(at, 1);
    // Part of a word, a telephone number, or the fraction of a decimal number.
    if alphanumeric(before) || before == b'+' || before == b'.' && text.before(at, 2).is_ascii_digit() {
        return None;
    }
    number(text, at)
}

/// A number that begins at `at`, whatever stands before it.
pub(super) fn number(text: &Text<'_>, at: usize) -> Found {
    let mut number = Number::default();
    let end = contiguous(text, at, &mut number).or_else(|| grouped(text, at, &mut number))?;
    let digits = number.digits();
    let certain = match kind(digits)? {
        Kind::Common => true,
        Kind::Rare => text.word_before(at, REACH, &WORDS).is_some(),
    };
    (certain && luhn(digits)).then_some((Detector::CreditCard, end))
}

/// Digits gathered from their groups.
#[derive(Default)]
struct Number {
    digits: [u8; LONGEST],
    len: usize,
}

impl Number {
    fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            if let Some(place) = self.digits.get_mut(self.len) {
                *place = octet - b'0';
                self.len += 1;
            }
        }
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }
}

fn contiguous(text: &Text<'_>, at: usize, number: &mut Number) -> Option<usize> {
    let len = text.run(at, LONGEST + 1, |octet| octet.is_ascii_digit());
    let end = at + len;
    if !(SHORTEST..=LONGEST).contains(&len) || !ends_at(text, end) || is_uuid_tail(text, at, len) {
        return None;
    }
    number.push(text.slice(at, end));
    Some(end)
}

fn grouped(text: &Text<'_>, at: usize, number: &mut Number) -> Option<usize> {
    GROUPINGS.iter().find_map(|grouping| {
        *number = Number::default();
        let mut end = at;
        let mut between = None;
        for (index, len) in grouping.iter().enumerate() {
            if index > 0 {
                let (kind, width) = gap(text, end)?;
                if between.is_some_and(|known| known != kind) {
                    return None;
                }
                between = Some(kind);
                end += width;
            }
            if text.run(end, len + 1, |octet| octet.is_ascii_digit()) != *len {
                return None;
            }
            number.push(text.slice(end, end + len));
            end += len;
        }
        (ends_at(text, end) && kind(number.digits()).is_some() && luhn(number.digits())).then_some(end)
    })
}

fn gap(text: &Text<'_>, at: usize) -> Option<(u8, usize)> {
    let (kind, mut width) = text.separator(at)?;
    // A hyphen between blanks.
    if kind == b' '
        && let Some((b'-', hyphen)) = text.separator(at + width)
        && let Some((b' ', behind)) = text.separator(at + width + hyphen)
    {
        return Some((b'-', width + hyphen + behind));
    }
    for _ in 1..MOST_SEPARATORS {
        match text.separator(at + width) {
            Some((same, more)) if same == kind && kind != b'.' => width += more,
            _ => break,
        }
    }
    Some((kind, width))
}

/// Neither more of a word nor the fraction of a decimal number follows.
fn ends_at(text: &Text<'_>, end: usize) -> bool {
    let next = text.at(end);
    !(alphanumeric(next) || next == b'.' && text.at(end + 1).is_ascii_digit())
}

/// The last group of a UUID (RFC 9562) may happen to be digits alone.
fn is_uuid_tail(text: &Text<'_>, at: usize, len: usize) -> bool {
    let hex = |from: usize, to: usize| text.slice(from, to).iter().all(u8::is_ascii_hexdigit);
    let Some(start) = at.checked_sub(24) else { return false };
    len == 12
        && [8, 13, 18, 23].iter().all(|dash| text.at(start + dash) == b'-')
        && [(0, 8), (9, 13), (14, 18), (19, 23)].iter().all(|(from, to)| hex(start + from, start + to))
}

/// How much a number in an issuer's range says by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Common,
    /// A length that is hardly issued, or a range so wide that other numbers fall into it: only beside a word.
    Rare,
}

/// The network by the first six digits, and whether it issues this length.
fn kind(digits: &[u8]) -> Option<Kind> {
    let prefix = digits.get(..6)?.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let len = digits.len();
    match (prefix, len) {
        // Visa.
        (400_000..=499_999, 16 | 19) => Some(Kind::Common),
        (400_000..=499_999, 13) => Some(Kind::Rare),
        // Mastercard.
        (510_000..=559_999 | 222_100..=272_099, 16) => Some(Kind::Common),
        // American Express.
        (340_000..=349_999 | 370_000..=379_999, 15) => Some(Kind::Common),
        // Diners Club.
        (300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999, 14) => {
            Some(Kind::Common)
        }
        (300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999, 16..=LONGEST) => {
            Some(Kind::Rare)
        }
        // JCB.
        (352_800..=358_999, 16..=19) => Some(Kind::Common),
        // Discover, and UnionPay.
        (601_100..=601_109 | 601_120..=601_149 | 601_174 | 601_177..=601_179 | 601_186..=601_199, 16)
        | (644_000..=659_999, 16)
        | (620_000..=629_999, 16..=19) => Some(Kind::Common),
        // Maestro.
        (500_000..=509_999 | 560_000..=649_999 | 660_000..=699_999, 16) => Some(Kind::Common),
        (500_000..=509_999 | 560_000..=649_999 | 660_000..=699_999, SHORTEST..=LONGEST) => Some(Kind::Rare),
        _ => None,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
