//! Host patterns as users write them, checked once, and the map that finds the most specific one for a host name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use agent_common::domain::{DomainKey, MAX_NAME};
use foldhash::fast::FixedState;
use thiserror::Error;

/// `files.corp.test` (exact) or `*.corp.test` (every name below, not the name itself).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(Arc<str>),
    Below(Arc<str>),
}

/// Longest label of a host name in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostPatternError {
    #[error("a host pattern must not be empty")]
    Empty,
    #[error("a URL is no host pattern: write the host name alone")]
    Url,
    #[error("a host pattern has no port: ports are a setting of their own")]
    Port,
    #[error("an address is no host name")]
    Address,
    #[error("a host pattern that matches every name would monitor the whole internet")]
    Everything,
    #[error("`*` may only stand first, as the whole of a label, as in `*.corp.test`")]
    Wildcard,
    #[error("write an internationalised name in its ASCII form, which starts with `xn--`")]
    NotAscii,
    #[error("a host name consists of letters, digits, `-`, `_` and dots")]
    Character,
    #[error("a host name must not have an empty label")]
    EmptyLabel,
    #[error("a label of a host name has at most 63 characters, a name 253")]
    TooLong,
}

impl HostPattern {
    /// Folds case and drops a closing dot.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        check_name(name)?;
        let name: Arc<str> = name.to_ascii_lowercase().into();
        Ok(if below { Self::Below(name) } else { Self::Exact(name) })
    }

    /// The name itself, or the suffix below which every name matches. Lower case, no closing dot.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Exact(name) | Self::Below(name) => name,
        }
    }

    /// The key by which kernel and agent match. `None` only for a pattern that `parse` would have refused.
    pub fn key(&self) -> Option<DomainKey> {
        match self {
            Self::Exact(name) => DomainKey::name(name.as_bytes()),
            Self::Below(suffix) => DomainKey::below(suffix.as_bytes()),
        }
    }

    /// Whether the host `name` matches, in any case. For one pattern; many belong into a [`HostMap`].
    pub fn matches(&self, name: &str) -> bool {
        match (DomainKey::name(name.as_bytes()), self.key()) {
            (Some(name), Some(pattern)) => name.matches(&pattern),
            _ => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

fn check_name(name: &str) -> Result<(), HostPatternError> {
    match name {
        "" => return Err(HostPatternError::Empty),
        "*" => return Err(HostPatternError::Everything),
        _ if name.contains('/') => return Err(HostPatternError::Url),
        _ if name.contains('*') => return Err(HostPatternError::Wildcard),
        _ if name.parse::<std::net::IpAddr>().is_ok() => return Err(HostPatternError::Address),
        _ if name.contains(':') => return Err(HostPatternError::Port),
        _ if !name.is_ascii() => return Err(HostPatternError::NotAscii),
        _ if name.len() > MAX_NAME => return Err(HostPatternError::TooLong),
        _ => {}
    }
    for label in name.split('.') {
        match label {
            "" => return Err(HostPatternError::EmptyLabel),
            _ if label.len() > MAX_LABEL => return Err(HostPatternError::TooLong),
            _ if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') => {
                return Err(HostPatternError::Character);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Values by host pattern. The most specific pattern that matches a name wins: the name itself, then the longest
/// suffix. A look-up costs one hash per label of the name and allocates nothing, however many patterns there are.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    by_key: HashMap<Box<[u8]>, T, FixedState>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        // Patterns are the administrators' own: nobody chooses keys to collide.
        Self { by_key: HashMap::default() }
    }
}

impl<T> HostMap<T> {
    /// Keeps the value that stands for the same pattern already, if there is one, and returns it.
    pub fn insert(&mut self, pattern: &HostPattern, value: T) -> Option<&T> {
        let key = pattern.key()?;
        if self.by_key.contains_key(key.as_bytes()) {
            return self.by_key.get(key.as_bytes());
        }
        self.by_key.insert(key.as_bytes().into(), value);
        None
    }

    /// The value of the most specific pattern that matches `host` (any case, closing dot allowed, no port).
    pub fn get(&self, host: &str) -> Option<&T> {
        if self.by_key.is_empty() {
            return None;
        }
        DomainKey::name(host.as_bytes())?.candidates().find_map(|key| self.by_key.get(key))
    }

    /// Whether `host` itself is one of the patterns.
    pub fn has_exactly(&self, host: &str) -> bool {
        DomainKey::name(host.as_bytes()).is_some_and(|key| self.by_key.contains_key(key.as_bytes()))
    }

    /// The same patterns with other values.
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> HostMap<U> {
        HostMap { by_key: self.by_key.into_iter().map(|(key, value)| (key, change(value))).collect() }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// A set of patterns, for example those that are never decrypted.
impl<'a> FromIterator<&'a HostPattern> for HostMap<()> {
    fn from_iter<I: IntoIterator<Item = &'a HostPattern>>(patterns: I) -> Self {
        let mut map = Self::default();
        for pattern in patterns {
            map.insert(pattern, ());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, HostPatternError>) {
        assert_eq!(HostPattern::parse(text).map(|p| p.to_string()), expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn patterns() {
        check("files.corp.test", Ok("files.corp.test"));
        check("Files.Corp.Test.", Ok("files.corp.test"));
        check("*.CORP.test", Ok("*.corp.test"));
        check("_dmarc.x-1.test", Ok("_dmarc.x-1.test"));
        check("localhost", Ok("localhost"));
        check("", Err(HostPatternError::Empty));
        check("*", Err(HostPatternError::Everything));
        check("*.*", Err(HostPatternError::Everything));
        check("*.", Err(HostPatternError::Empty));
        check("*corp.test", Err(HostPatternError::Wildcard));
        check("a.*.test", Err(HostPatternError::Wildcard));
        check("https://corp.test", Err(HostPatternError::Url));
        check("corp.test/x", Err(HostPatternError::Url));
        check("corp.test:443", Err(HostPatternError::Port));
        check("10.0.0.1", Err(HostPatternError::Address));
        check("::1", Err(HostPatternError::Address));
        check("bücher.test", Err(HostPatternError::NotAscii));
        check("a b.test", Err(HostPatternError::Character));
        check("a..test", Err(HostPatternError::EmptyLabel));
        check(".test", Err(HostPatternError::EmptyLabel));
        check(&format!("{}.test", "a".repeat(64)), Err(HostPatternError::TooLong));
        check(&"a.".repeat(130), Err(HostPatternError::TooLong));
    }

    #[test]
    fn every_parsed_pattern_has_a_key() {
        for text in ["a", "*.a", "A.b.C", "*.x-y.z"] {
            assert!(HostPattern::parse(text).unwrap().key().is_some(), "{text}");
        }
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let mut map = HostMap::default();
        for (n, text) in ["*.test", "*.corp.test", "corp.test", "files.corp.test"].into_iter().enumerate() {
            assert_eq!(map.insert(&HostPattern::parse(text).unwrap(), n), None);
        }
        assert_eq!(map.insert(&HostPattern::parse("*.test").unwrap(), 9), Some(&0));
        for (host, expected) in [
            ("files.corp.test", Some(3)),
            ("FILES.corp.TEST.", Some(3)),
            ("a.files.corp.test", Some(1)),
            ("x.corp.test", Some(1)),
            ("corp.test", Some(2)),
            ("other.test", Some(0)),
            ("test", None),
            ("corp.testing", None),
            ("", None),
            ("a..test", None),
        ] {
            assert_eq!(map.get(host).copied(), expected, "{host}");
        }
    }
}
