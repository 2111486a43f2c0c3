//! International bank account numbers (ISO 13616): country, length and shape of the registry, modulus 97.

use super::Detector;
use super::stream::Found;
use super::text::{Text, alphanumeric};

/// Octets of the longest number.
const LONGEST: usize = 33;
/// Country and check digits: no separator stands within them.
const HEAD: usize = 4;

/// Looks at the check digits, the first digits of a number: the country stands before them.
pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    let start = at.checked_sub(2)?;
    let country = [text.at(start).to_ascii_uppercase(), text.at(start + 1).to_ascii_uppercase()];
    if !country.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let glued =
        start >= 4 && text.starts_with_any_case(start - 4, b"iban") && !alphanumeric(text.before(start, 5));
    if alphanumeric(text.before(start, 1)) && !glued {
        return None;
    }
    let shape = shape(country)?;
    let len = 4 + shape.iter().map(|part| part.len()).sum::<usize>();
    let mut number = [0_u8; LONGEST];
    let mut end = start;
    let mut between = None;
    for (index, place) in number.iter_mut().take(len).enumerate() {
        // In groups of four, or by bank, branch and account.
        if index >= HEAD
            && let Some((kind, width)) = text.separator(end)
        {
            if *between.get_or_insert(kind) != kind {
                return None;
            }
            end += width;
            if let Some((b' ', more)) = text.separator(end) {
                end += more;
            }
        }
        *place = text.at(end).to_ascii_uppercase();
        if !place.is_ascii_alphanumeric() {
            return None;
        }
        end += 1;
    }
    let number = number.get(..len)?;
    let (check, account) = (number.get(2..4)?, number.get(4..)?);
    let valid = !alphanumeric(text.at(end))
        && check.iter().all(u8::is_ascii_digit)
        && fits(account, shape)
        && modulus_97(account, &[country.as_slice(), check]) == 1;
    valid.then_some((Detector::Iban, end))
}

/// Part of an account number.
#[derive(Clone, Copy)]
enum Part {
    /// Digits.
    N(u8),
    /// Letters.
    A(u8),
    /// Either.
    C(u8),
}
use Part::{A, C, N};

impl Part {
    fn len(self) -> usize {
        let (N(len) | A(len) | C(len)) = self;
        usize::from(len)
    }
}

fn fits(account: &[u8], shape: &[Part]) -> bool {
    let mut rest = account;
    shape.iter().all(|part| {
        let Some((here, behind)) = rest.split_at_checked(part.len()) else { return false };
        rest = behind;
        match part {
            N(_) => here.iter().all(u8::is_ascii_digit),
            A(_) => here.iter().all(u8::is_ascii_alphabetic),
            C(_) => true,
        }
    })
}

/// ISO 7064 over the account with country and check digits behind it; letters count 10 to 35.
fn modulus_97(account: &[u8], behind: &[&[u8]]) -> u32 {
    let octets = account.iter().chain(behind.iter().copied().flatten());
    octets.fold(0, |rest, octet| match octet {
        b'0'..=b'9' => (rest * 10 + u32::from(octet - b'0')) % 97,
        _ => (rest * 100 + u32::from(octet.saturating_sub(b'A')) + 10) % 97,
    })
}

fn shape(country: [u8; 2]) -> Option<&'static [Part]> {
    let index = REGISTRY.binary_search_by_key(&country, |(country, _)| *country).ok()?;
    REGISTRY.get(index).map(|(_, shape)| *shape)
}

/// By country, what follows the check digits (the SWIFT registry, neighbouring parts of a kind put together).
#[rustfmt::skip]
const REGISTRY: [([u8; 2], &[Part]); 89] = [
    (*b"AD", &[N(8), C(12)]),
    (*b"AE", &[N(19)]),
    (*b"AL", &[N(8), C(16)]),
    (*b"AT", &[N(16)]),
    (*b"AZ", &[A(4), C(20)]),
    (*b"BA", &[N(16)]),
    (*b"BE", &[N(12)]),
    (*b"BG", &[A(4), N(6), C(8)]),
    (*b"BH", &[A(4), C(14)]),
    (*b"BI", &[N(23)]),
    (*b"BR", &[N(23), A(1), C(1)]),
    (*b"BY", &[C(4), N(4), C(16)]),
    (*b"CH", &[N(5), C(12)]),
    (*b"CR", &[N(18)]),
    (*b"CY", &[N(8), C(16)]),
    (*b"CZ", &[N(20)]),
    (*b"DE", &[N(18)]),
    (*b"DJ", &[N(23)]),
    (*b"DK", &[N(14)]),
    (*b"DO", &[C(4), N(20)]),
    (*b"EE", &[N(16)]),
    (*b"EG", &[N(25)]),
    (*b"ES", &[N(20)]),
    (*b"FI", &[N(14)]),
    (*b"FK", &[A(2), N(12)]),
    (*b"FO", &[N(14)]),
    (*b"FR", &[N(10), C(11), N(2)]),
    (*b"GB", &[A(4), N(14)]),
    (*b"GE", &[A(2), N(16)]),
    (*b"GI", &[A(4), C(15)]),
    (*b"GL", &[N(14)]),
    (*b"GR", &[N(7), C(16)]),
    (*b"GT", &[C(24)]),
    (*b"HN", &[A(4), N(20)]),
    (*b"HR", &[N(17)]),
    (*b"HU", &[N(24)]),
    (*b"IE", &[A(4), N(14)]),
    (*b"IL", &[N(19)]),
    (*b"IQ", &[A(4), N(15)]),
    (*b"IS", &[N(22)]),
    (*b"IT", &[A(1), N(10), C(12)]),
    (*b"JO", &[A(4), N(4), C(18)]),
    (*b"KW", &[A(4), C(22)]),
    (*b"KZ", &[N(3), C(13)]),
    (*b"LB", &[N(4), C(20)]),
    (*b"LC", &[A(4), C(24)]),
    (*b"LI", &[N(5), C(12)]),
    (*b"LT", &[N(16)]),
    (*b"LU", &[N(3), C(13)]),
    (*b"LV", &[A(4), C(13)]),
    (*b"LY", &[N(21)]),
    (*b"MC", &[N(10), C(11), N(2)]),
    (*b"MD", &[C(20)]),
    (*b"ME", &[N(18)]),
    (*b"MK", &[N(3), C(10), N(2)]),
    (*b"MN", &[N(16)]),
    (*b"MR", &[N(23)]),
    (*b"MT", &[A(4), N(5), C(18)]),
    (*b"MU", &[A(4), N(19), A(3)]),
    (*b"NI", &[A(4), N(20)]),
    (*b"NL", &[A(4), N(10)]),
    (*b"NO", &[N(11)]),
    (*b"OM", &[N(3), C(16)]),
    (*b"PK", &[A(4), C(16)]),
    (*b"PL", &[N(24)]),
    (*b"PS", &[A(4), C(21)]),
    (*b"PT", &[N(21)]),
    (*b"QA", &[A(4), C(21)]),
    (*b"RO", &[A(4), C(16)]),
    (*b"RS", &[N(18)]),
    (*b"RU", &[N(14), C(15)]),
    (*b"SA", &[N(2), C(18)]),
    (*b"SC", &[A(4), N(20), A(3)]),
    (*b"SD", &[N(14)]),
    (*b"SE", &[N(20)]),
    (*b"SI", &[N(15)]),
    (*b"SK", &[N(20)]),
    (*b"SM", &[A(1), N(10), C(12)]),
    (*b"SO", &[N(19)]),
    (*b"ST", &[N(21)]),
    (*b"SV", &[A(4), N(20)]),
    (*b"TL", &[N(19)]),
    (*b"TN", &[N(20)]),
    (*b"TR", &[N(6), C(16)]),
    (*b"UA", &[N(6), C(19)]),
    (*b"VA", &[N(18)]),
    (*b"VG", &[A(4), N(16)]),
    (*b"XK", &[N(16)]),
    (*b"YE", &[A(4), N(4), C(18)]),
];
