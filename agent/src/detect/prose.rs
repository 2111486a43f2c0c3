//! Passwords that a sentence tells.

use super::Detector;
use super::assigned::Value;
use super::stream::Found;
use super::text::{Text, alphanumeric};

/// Longest stretch between the word and the verb: `for the portal`.
const FOR: usize = 48;

/// Looks at the `w` of `password`, `Passwort`, `pwd` or `pw`.
pub(super) fn find(text: &Text<'_>, at: usize) -> Found {
    const VERBS: [&[u8]; 7] = [b"is", b"was", b"are", b"ist", b"war", b"lautet", b"lauten"];
    let begins = |start: usize, word: &[u8]| {
        text.starts_with_any_case(start, word) && !alphanumeric(text.before(start, 1))
    };
    let ends = |ends: &[&[u8]]| {
        let letters = text.run(at, 8, |octet| octet.is_ascii_alphabetic());
        let end = text.slice(at, at + letters);
        ends.iter().any(|known| end.eq_ignore_ascii_case(known)).then_some(at + letters)
    };
    let long = || at.checked_sub(4).filter(|start| begins(*start, b"pass"));
    let short = || at.checked_sub(1).filter(|start| begins(*start, b"p"));
    let end = if long().is_some() {
        ends(&[b"word", b"words", b"wort", b"wd"])?
    } else {
        short().and_then(|_| ends(&[b"wd", b"w"]))?
    };
    let verb_at = |at: usize| {
        let words = VERBS.iter().filter(|verb| text.starts_with_any_case(at, verb));
        let mut ends = words.map(|verb| at + verb.len()).map(|end| end + usize::from(text.at(end) == b':'));
        ends.find(|end| text.at(*end) == b' ')
    };
    if text.at(end) != b' ' {
        return None;
    }
    let behind = verb_at(end + 1).or_else(|| {
        let what = [b"for ".as_slice(), b"to ", b"f\xC3\xBCr "];
        let what = what.iter().find(|word| text.starts_with_any_case(end + 1, word))?;
        let start = end + what.len();
        let len =
            text.run(start, FOR, |octet| !matches!(octet, b'.' | b'!' | b'?' | b';' | b'=' | b'\n' | 0));
        (start..start + len).filter(|at| text.at(*at) == b' ').find_map(|at| verb_at(at + 1))
    })?;
    let value = Value::behind(text, behind)?;
    (value.password() && value.octets.iter().any(u8::is_ascii_digit))
        .then_some((Detector::Password, value.end()))
}
