//! Which names the authority may vouch for: the smallest set of suffixes that covers the catalog (RFC 5280 4.2.1.10).
//!
//! A permitted dNSName covers itself and every name below. So `files.corp.test` and `*.corp.test` both become suffixes,
//! and a suffix below another one adds nothing.

use crate::catalog::HostPattern;
use crate::tls::name;

/// The suffixes to permit for `patterns`, sorted, none below another. Patterns that are no DNS names are left out.
pub(crate) fn minimal_suffixes(patterns: &[HostPattern]) -> Vec<String> {
    let mut suffixes: Vec<String> =
        patterns.iter().filter_map(|p| name::normalise(suffix_of(p)).ok()).collect();
    // Fewest labels first: whatever covers a name stands before it.
    suffixes.sort_by(|a, b| labels(a).cmp(&labels(b)).then_with(|| a.cmp(b)));
    let mut minimal: Vec<String> = Vec::new();
    for suffix in suffixes {
        if !covers(&minimal, &suffix) {
            minimal.push(suffix);
        }
    }
    minimal.sort();
    minimal
}

/// Whether a name (or every name below a suffix) lies within the permitted suffixes.
pub(crate) fn covers(permitted: &[String], name: &str) -> bool {
    permitted.iter().any(|suffix| {
        name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The patterns, as the catalog writes them, whose names get no leaf from an authority with these constraints.
pub(crate) fn outgrown(permitted: &[String], patterns: &[HostPattern]) -> Vec<String> {
    let mut missing: Vec<String> = patterns
        .iter()
        .filter(|pattern| !name::normalise(suffix_of(pattern)).is_ok_and(|suffix| covers(permitted, &suffix)))
        .map(|pattern| match pattern {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Below(suffix) => format!("*.{suffix}"),
        })
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

fn suffix_of(pattern: &HostPattern) -> &str {
    match pattern {
        HostPattern::Exact(suffix) | HostPattern::Below(suffix) => suffix,
    }
}

fn labels(name: &str) -> usize {
    name.split('.').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.into())
    }

    fn below(name: &str) -> HostPattern {
        HostPattern::Below(name.into())
    }

    #[test]
    fn suffixes_below_others_are_dropped_on_label_borders_only() {
        let patterns = [
            exact("files.corp.test"),
            below("corp.test"),
            exact("Slack.example"),
            exact("notcorp.test"),
            below("a.slack.example"),
            exact("192.0.2.1"),
        ];
        assert_eq!(minimal_suffixes(&patterns), ["corp.test", "notcorp.test", "slack.example"]);
    }

    #[test]
    fn a_permitted_name_covers_itself_and_what_is_below() {
        let permitted = ["corp.test".to_owned()];
        for (name, expected) in [
            ("corp.test", true),
            ("a.b.corp.test", true),
            ("notcorp.test", false),
            ("test", false),
            ("", false),
        ] {
            assert_eq!(covers(&permitted, name), expected, "{name}");
        }
    }

    #[test]
    fn what_was_added_later_is_named_as_the_catalog_writes_it() {
        let permitted = minimal_suffixes(&[below("corp.test")]);
        let wanted = [below("corp.test"), below("new.example"), exact("x.new.example"), exact("corp.test")];
        assert_eq!(outgrown(&permitted, &wanted), ["*.new.example", "x.new.example"]);
        assert!(outgrown(&minimal_suffixes(&wanted), &wanted).is_empty());
    }
}
