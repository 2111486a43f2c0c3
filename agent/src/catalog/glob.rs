//! Globs over file names, hosts and paths: `*` is any run of characters, `?` one character, case is folded.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// Longest glob in characters; with it the time of a match is bounded by this times the length of the name.
pub const MAX_GLOB: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GlobError {
    #[error("a pattern must not be empty")]
    Empty,
    #[error("a pattern has at most {MAX_GLOB} characters")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Run,
    One,
    Unit(u32),
}

/// A compiled glob. It matches whole texts, never parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: Arc<str>,
    tokens: Box<[Token]>,
}

impl Glob {
    /// A glob over characters, as file names are matched; letters match in any case, beyond ASCII too, and composed as
    /// well as in parts, which is how macOS writes them.
    pub fn name(text: &str) -> Result<Self, GlobError> {
        Self::compile(text, composed(text).chars().flat_map(char::to_lowercase).map(u32::from))
    }

    /// A glob over octets, as hosts and paths are matched. In a path `?` is no wildcard: it cannot occur there.
    pub fn octets(text: &str) -> Result<Self, GlobError> {
        Self::compile(text, text.bytes().map(|b| u32::from(b.to_ascii_lowercase())))
    }

    /// A glob over characters as they stand: whoever asks has folded both.
    pub fn characters(text: &str) -> Result<Self, GlobError> {
        Self::compile(text, text.chars().map(u32::from))
    }

    /// A glob for names that end in `.extension`, which is taken literally.
    pub fn extension(extension: &str) -> Result<Self, GlobError> {
        let mut glob = Self::name(&format!("*.{extension}"))?;
        let extension = composed(extension);
        for (token, unit) in glob.tokens.iter_mut().zip("*.".chars().chain(extension.chars())).skip(2) {
            if matches!(token, Token::Run | Token::One) {
                *token = Token::Unit(unit.into());
            }
        }
        Ok(glob)
    }

    fn compile(text: &str, units: impl Iterator<Item = u32>) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        let tokens: Box<[Token]> = units
            .take(MAX_GLOB + 1)
            .map(|unit| match char::from_u32(unit) {
                Some('*') => Token::Run,
                Some('?') => Token::One,
                _ => Token::Unit(unit),
            })
            .collect();
        if tokens.len() > MAX_GLOB {
            return Err(GlobError::TooLong);
        }
        Ok(Self { text: text.into(), tokens })
    }

    /// The glob as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many characters it fixes: the more, the more specific.
    pub fn specificity(&self) -> usize {
        self.tokens.iter().filter(|token| matches!(token, Token::Unit(_))).count()
    }

    pub fn matches_characters(&self, text: &str) -> bool {
        self.matches(text.chars().map(u32::from))
    }

    pub fn matches_name(&self, name: &str) -> bool {
        self.matches(composed(name).chars().flat_map(char::to_lowercase).map(u32::from))
    }

    /// Whether the text matches once its percent-encoding is undone, so that `%64ownload` does not slip by.
    pub fn matches_encoded(&self, text: &str) -> bool {
        self.matches(Decoded(text.as_bytes()))
    }

    /// Walks both once; a mismatch goes back to the last `*` only, which then takes one unit more.
    fn matches(&self, mut text: impl Iterator<Item = u32> + Clone) -> bool {
        let mut at = 0;
        let mut retry = None;
        loop {
            let before = text.clone();
            let unit = text.next();
            match (self.tokens.get(at), unit) {
                (Some(Token::Run), _) => {
                    text = before;
                    at += 1;
                    retry = Some((at, text.clone()));
                    continue;
                }
                (Some(Token::One), Some(_)) => {
                    at += 1;
                    continue;
                }
                (Some(Token::Unit(expected)), Some(unit)) if *expected == unit => {
                    at += 1;
                    continue;
                }
                (None, None) => return true,
                (_, None) => return false,
                (_, Some(_)) => {}
            }
            match &mut retry {
                Some((after, from)) => {
                    if from.next().is_none() {
                        return false;
                    }
                    at = *after;
                    text = from.clone();
                }
                None => return false,
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Normalization form C (Unicode Standard Annex 15). Of nearly every name it is the name itself.
fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { text.into() } else { text.nfc().collect::<String>().into() }
}

/// Octets with percent-encoding undone (RFC 3986 section 2.1) and ASCII case folded.
#[derive(Clone)]
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            let octet = u8::try_from(high * 16 + low).unwrap_or(b'%');
            return Some(octet.to_ascii_lowercase().into());
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first.to_ascii_lowercase().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(glob: &str, name: &str, expected: bool) {
        assert_eq!(Glob::name(glob).unwrap().matches_name(name), expected, "{glob} over {name}");
    }

    #[test]
    fn names() {
        check("*secret*", "Top SECRET plan.docx", true);
        check("*secret*", "secret", true);
        check("*secret*", "secre t", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("*", "", true);
        check("**", "x", true);
        check("exact.txt", "EXACT.TXT", true);
        check("exact.txt", "exact.txt2", false);
        check("*ÜBERSICHT*", "die übersicht.pdf", true);
        check("?", "ä", true);
        check("*é*", "re\u{301}sume\u{301}.pdf", true);
        check("*e\u{301}*", "r\u{e9}sum\u{e9}.pdf", true);
    }

    #[test]
    fn extensions_are_literal() {
        let is = |extension: &str, name: &str| Glob::extension(extension).unwrap().matches_name(name);
        assert!(is("docx", "a.DOCX") && is("tar.gz", "x.tar.gz") && !is("gz", "gz") && !is("doc", "a.docx"));
        assert!(!is("d*", "a.docx") && is("d*", "a.d*"));
        assert!(!is("?", "a.b"));
    }

    #[test]
    fn paths_match_in_spite_of_percent_encoding_and_case() {
        let glob = Glob::octets("/*/_layouts/15/download.aspx").unwrap();
        assert!(glob.matches_encoded("/sites/x/_layouts/15/Download.aspx"));
        assert!(glob.matches_encoded("/sites/x/%5Flayouts/15/%64ownload%2easpx"));
        assert!(!glob.matches_encoded("/sites/x/_layouts/15/upload.aspx"));
        assert!(Glob::octets("/ä*").unwrap().matches_encoded("/%c3%a4x"));
        assert!(Glob::octets("/100%").unwrap().matches_encoded("/100%"));
        assert!(Glob::octets("/100%zz").unwrap().matches_encoded("/100%zz"));
    }

    #[test]
    fn bounds() {
        assert_eq!(Glob::name(""), Err(GlobError::Empty));
        assert_eq!(Glob::name(&"a".repeat(MAX_GLOB + 1)), Err(GlobError::TooLong));
        let slow = Glob::name(&"*a".repeat(MAX_GLOB / 2)).unwrap();
        assert!(!slow.matches_name(&"a".repeat(200).replace("aa", "ab")));
    }

    /// The meaning, as plainly as it can be written.
    fn meaning(glob: &[char], name: &[char]) -> bool {
        match (glob, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|n| meaning(rest, &name[n..])),
            (['?', g @ ..], [_, n @ ..]) => meaning(g, n),
            ([a, g @ ..], [b, n @ ..]) if a == b => meaning(g, n),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_its_meaning(glob in "[ab*?]{1,8}", name in "[abc]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::name(&glob).unwrap().matches_name(&name), meaning(&chars(&glob), &chars(&name)));
        }
    }
}
