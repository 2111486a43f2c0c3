//! The pattern of a file's name: as SQLite asks it of the records, and as what the columns are looked through for.

use memchr::memmem::Finder;

use crate::catalog::Glob;

/// `*` is any text and `?` any character; ASCII letters match in either case.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What stands between `*` and `?`, in lower case, in this order. Without either it is one, which is the whole name.
    literals: Vec<Finder<'static>>,
    begins: bool,
    ends: bool,
    /// The whole pattern, where it asks for single characters. One that is too long for that leaves it to the records.
    singles: Option<Glob>,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let lower = pattern.to_ascii_lowercase();
        let literals = lower.split(['*', '?']).filter(|literal| !literal.is_empty());
        Self {
            literals: literals.map(|literal| Finder::new(literal).into_owned()).collect(),
            begins: !lower.starts_with(['*', '?']),
            ends: !lower.ends_with(['*', '?']),
            singles: if lower.contains('?') { Glob::characters(&lower).ok() } else { None },
        }
    }

    /// The literal that tells most names apart.
    pub(super) fn longest(&self) -> Option<&Finder<'static>> {
        self.literals.iter().max_by_key(|literal| literal.needle().len())
    }

    /// Whether it matches a name in lower case.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.has_literals(name)
            && self.singles.as_ref().is_none_or(|pattern| {
                // What is no text is looked at in the records.
                std::str::from_utf8(name).map_or(true, |name| pattern.matches_characters(name))
            })
    }

    /// Whether the literals are where the pattern has them, whatever there is between them.
    fn has_literals(&self, name: &[u8]) -> bool {
        let mut rest = name;
        for (at, literal) in self.literals.iter().enumerate() {
            let needle = literal.needle();
            let is_first = at == 0 && self.begins;
            let is_last = at + 1 == self.literals.len() && self.ends;
            let behind = match (is_first, is_last) {
                (true, true) => (rest == needle).then_some(&[][..]),
                (true, false) => rest.strip_prefix(needle),
                (false, true) => rest.ends_with(needle).then_some(&[][..]),
                (false, false) => literal.find(rest).and_then(|found| rest.get(found + needle.len()..)),
            };
            let Some(behind) = behind else { return false };
            rest = behind;
        }
        // The empty pattern is the empty name.
        !self.literals.is_empty() || !self.begins || name.is_empty()
    }
}

/// `*.doc?` in the words of LIKE.
pub(super) fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '\\' => like.extend(['\\', c]),
            _ => like.push(c),
        }
    }
    like
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::query::tests::name_matches;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn names_match_as_the_obvious_way_has_it(pattern in "[abA.*?ä]{0,6}", name in "[abA.ä]{0,8}") {
            let found = Pattern::new(&pattern).matches(name.to_ascii_lowercase().as_bytes());
            prop_assert_eq!(found, name_matches(&pattern, &name));
        }
    }
}
