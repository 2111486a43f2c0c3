//! The one rule by which host names match patterns, as a prefix test on reversed names.
//!
//! A name becomes its bytes reversed, lower case, closed by [`END`]: `files.corp.test` is `tset.proc.selif\0`. An exact
//! pattern is that same key; a pattern for every name below `corp.test` is `tset.proc.` (closed by a dot). A name
//! matches a pattern when the pattern's key is a prefix of the name's key. The kernel asks an LPM trie, userspace a
//! hash map per label border; both with keys made here.

/// Longest host name in text form, without the trailing dot (RFC 1035 section 2.3.4: 255 octets on the wire).
pub const MAX_NAME: usize = 253;
/// Size of a key: the longest name, its end mark, rounded up to what an LPM trie of the kernel takes at most.
pub const KEY_SIZE: usize = 256;
/// Closes the key of a whole name. No host name contains it.
pub const END: u8 = 0;

/// A reversed name or pattern. `len` is in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainKey {
    bytes: [u8; KEY_SIZE],
    len: usize,
}

impl DomainKey {
    /// Key of a whole name, also of an exact pattern. `None` for an empty or over-long name, or one with an empty label.
    pub fn name(name: &[u8]) -> Option<Self> {
        Self::close(name, END)
    }

    /// Key of the pattern for every name below `suffix` (`*.suffix`).
    pub fn below(suffix: &[u8]) -> Option<Self> {
        Self::close(suffix, b'.')
    }

    fn close(name: &[u8], mark: u8) -> Option<Self> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        let mut bytes = [0; KEY_SIZE];
        let mut previous = b'.';
        for (to, from) in bytes.iter_mut().zip(name.iter().rev()) {
            if (*from == b'.' && previous == b'.') || *from == END {
                return None;
            }
            previous = *from;
            *to = from.to_ascii_lowercase();
        }
        if previous == b'.' {
            return None;
        }
        bytes[name.len()] = mark;
        Some(Self { bytes, len: name.len() + 1 })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether the name with this key matches the pattern with key `pattern`.
    pub fn matches(&self, pattern: &DomainKey) -> bool {
        self.as_bytes().starts_with(pattern.as_bytes())
    }

    /// Every pattern key this name could match, longest (most specific) first: itself, then each label border.
    pub fn candidates(&self) -> impl Iterator<Item = &[u8]> {
        let key = self.as_bytes();
        core::iter::once(key)
            .chain((0..key.len()).rev().filter(move |&at| key[at] == b'.').map(move |at| &key[..=at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: DomainKey, name: &str, expected: bool) {
        let name = DomainKey::name(name.as_bytes()).unwrap();
        assert_eq!(name.matches(&pattern), expected);
        assert_eq!(name.candidates().any(|c| c == pattern.as_bytes()), expected);
    }

    #[test]
    fn an_exact_pattern_matches_the_name_alone_in_any_case() {
        let exact = DomainKey::name(b"files.corp.test").unwrap();
        check(exact, "files.corp.test", true);
        check(exact, "FILES.Corp.Test.", true);
        check(exact, "a.files.corp.test", false);
        check(exact, "xfiles.corp.test", false);
        check(exact, "corp.test", false);
    }

    #[test]
    fn a_below_pattern_matches_every_name_below_on_label_borders() {
        let below = DomainKey::below(b"corp.test").unwrap();
        check(below, "a.corp.test", true);
        check(below, "a.b.corp.test", true);
        check(below, "corp.test", false);
        check(below, "notcorp.test", false);
        check(below, "corp.test.evil.test", false);
    }

    #[test]
    fn malformed_names_have_no_key() {
        for bad in ["", ".", "a..b", ".a", "a\0b"] {
            assert_eq!(DomainKey::name(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(DomainKey::name(&[b'a'; MAX_NAME + 1]), None);
        assert!(DomainKey::name(&[b'a'; MAX_NAME]).is_some());
    }
}
