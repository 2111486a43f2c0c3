//! Numbers of persons and banks: US social security numbers, UK national insurance numbers, US routing numbers.

use super::Detector;
use super::stream::Found;
use super::text::{Text, Words, alphanumeric};

/// How far before a bare number a word has to say what it is.
const REACH: usize = 64;
static SSN_WORDS: Words = Words::new(&[
    b"ssn",
    b"ssns",
    b"ssan",
    b"social security",
    b"social-security",
    b"social_security",
    b"socialsecurity",
    b"soc sec",
    b"soc. sec",
    b"s.s.n",
    b"ss#",
    b"ss #",
    b"ss no",
]);
static ABA_WORDS: Words = Words::new(&[b"aba", b"routing", b"rtn", b"transit"]);
/// Printed in advertisements and so never a person's.
const NOBODYS: [u32; 3] = [78_051_120, 219_099_999, 457_555_462];

pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    nino(text, at).or_else(|| nine_digits(text, at)).or_else(|| grouped_ssn(text, at))
}

fn digits(text: &Text<'_>, at: usize, len: usize) -> Option<u32> {
    if text.run(at, len + 1, |octet| octet.is_ascii_digit()) != len {
        return None;
    }
    Some(text.slice(at, at + len).iter().fold(0, |number, octet| number * 10 + u32::from(octet - b'0')))
}

/// A number that stands by itself, not as part of a longer one in groups.
fn stands_alone(text: &Text<'_>, at: usize, end: usize) -> bool {
    let joins = |octet: u8| matches!(octet, b'-' | b'.');
    let (before, after) = (text.before(at, 1), text.at(end));
    let joined = alphanumeric(before)
        || before == b'+'
        || joins(before) && alphanumeric(text.before(at, 2))
        || alphanumeric(after)
        || joins(after) && text.at(end + 1).is_ascii_digit();
    !joined
}

/// `AAA-GG-SSSS`; with blanks or full stops between only beside a word.
fn grouped_ssn(text: &Text<'_>, at: usize) -> Found {
    let area = digits(text, at, 3)?;
    let (kind, width) = text.separator(at + 3)?;
    let middle = at + 3 + width;
    let group = digits(text, middle, 2)?;
    let (same, width) = text.separator(middle + 2)?;
    let last = middle + 2 + width;
    let serial = digits(text, last, 4)?;
    let end = last + 4;
    let valid =
        kind == same && stands_alone(text, at, end) && ssn(area * 1_000_000 + group * 10_000 + serial);
    let told = || kind == b'-' || text.word_before(at, REACH, &SSN_WORDS).is_some();
    (valid && told()).then_some((Detector::UsSsn, end))
}

/// Nine digits in a row are what the nearest word says.
fn nine_digits(text: &Text<'_>, at: usize) -> Found {
    let (number, end) = match digits(text, at, 9) {
        Some(number) => (number, at + 9),
        None => hyphenated_aba(text, at)?,
    };
    if !stands_alone(text, at, end) {
        return None;
    }
    let as_ssn = (ssn(number) && end == at + 9).then(|| text.word_before(at, REACH, &SSN_WORDS)).flatten();
    let as_aba = aba(number).then(|| text.word_before(at, REACH, &ABA_WORDS)).flatten();
    match (as_ssn, as_aba) {
        (Some(ssn), Some(aba)) if aba < ssn => Some((Detector::UsAbaRouting, end)),
        (Some(_), _) => Some((Detector::UsSsn, end)),
        (None, Some(_)) => Some((Detector::UsAbaRouting, end)),
        (None, None) => None,
    }
}

/// `DDDD-DDDD-D`, as on cheques.
fn hyphenated_aba(text: &Text<'_>, at: usize) -> Option<(u32, usize)> {
    let first = digits(text, at, 4)?;
    let second = (text.at(at + 4) == b'-').then(|| digits(text, at + 5, 4)).flatten()?;
    let check = (text.at(at + 9) == b'-').then(|| digits(text, at + 10, 1)).flatten()?;
    Some((first * 100_000 + second * 10 + check, at + 11))
}

/// Area, group and serial as the Social Security Administration assigns them.
fn ssn(number: u32) -> bool {
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !NOBODYS.contains(&number)
}

/// Federal Reserve ranges, and the weighted check digit.
fn aba(number: u32) -> bool {
    let mut rest = number;
    let sum: u32 = [1, 7, 3, 1, 7, 3, 1, 7, 3]
        .iter()
        .map(|weight| {
            let digit = rest % 10;
            rest /= 10;
            digit * weight
        })
        .sum();
    let district = number / 10_000_000;
    number != 0 && sum.is_multiple_of(10) && matches!(district, 0..=12 | 21..=32 | 61..=72 | 80)
}

/// Two letters, three pairs of digits, a letter from A to D (HMRC NIM39110); blanks or hyphens may stand between.
pub(super) fn nino(text: &Text<'_>, at: usize) -> Found {
    let skip = |at: usize| text.separator(at).map_or(0, |(_, width)| width);
    let letters = if text.before(at, 1).is_ascii_alphabetic() {
        at.checked_sub(2)?
    } else {
        // The separators before the digits are one octet wide, or they are none.
        matches!(text.before(at, 1), b' ' | b'-').then(|| at.checked_sub(3)).flatten()?
    };
    let prefix = [text.at(letters).to_ascii_uppercase(), text.at(letters + 1).to_ascii_uppercase()];
    if alphanumeric(text.before(letters, 1)) || !nino_prefix(prefix) {
        return None;
    }
    let mut end = at;
    for pair in 0..3 {
        if pair > 0 {
            end += skip(end);
        }
        if !text.at(end).is_ascii_digit() || !text.at(end + 1).is_ascii_digit() {
            return None;
        }
        end += 2;
    }
    end += skip(end);
    let suffix = matches!(text.at(end).to_ascii_uppercase(), b'A'..=b'D');
    (suffix && !alphanumeric(text.at(end + 1))).then_some((Detector::UkNino, end + 1))
}

fn nino_prefix(prefix: [u8; 2]) -> bool {
    prefix.iter().all(|letter| letter.is_ascii_uppercase() && !b"DFIQUV".contains(letter))
        && prefix[1] != b'O'
        && ![*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"].contains(&prefix)
}
