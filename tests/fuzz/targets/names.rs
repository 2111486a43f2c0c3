//! Host patterns and globs against the plainest way to say the same.

use agent_common::domain::DomainKey;
use portcullis::catalog::{Glob, HostMap, HostPattern};
use unicode_normalization::UnicodeNormalization as _;

/// The lines of `data`: a name, then patterns. One pattern, the map of all and the kernel's key agree with a comparison of labels.
pub fn fuzz_host_pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let name = lines.next().unwrap_or_default();
    let patterns: Vec<HostPattern> =
        lines.take(16).filter_map(|line| HostPattern::parse(line).ok()).collect();
    let mut map = HostMap::default();
    let mut best: Option<&HostPattern> = None;
    for pattern in &patterns {
        assert_eq!(
            HostPattern::parse(&pattern.to_string()).as_ref(),
            Ok(pattern),
            "what is shown reads back"
        );
        let expected = DomainKey::name(name.as_bytes()).is_some() && by_labels(pattern, name);
        assert_eq!(pattern.matches(name), expected, "{pattern} and {name:?}");
        map.insert(pattern, pattern.clone());
        if expected && best.is_none_or(|best| rank(pattern) > rank(best)) {
            best = Some(pattern);
        }
    }
    assert_eq!(map.get(name), best, "{name:?}");
}

/// Exact goes before below, then the longest suffix.
fn rank(pattern: &HostPattern) -> (bool, usize) {
    (matches!(pattern, HostPattern::Exact(_)), pattern.name().len())
}

fn by_labels(pattern: &HostPattern, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let wanted: Vec<&str> = pattern.name().split('.').collect();
    match pattern {
        HostPattern::Exact(_) => labels == wanted,
        HostPattern::Below(_) => labels.len() > wanted.len() && labels.ends_with(&wanted),
    }
}

/// Longest texts whose product is still checked by the table of all prefixes.
const SHORT: usize = 256;

/// Two lines: a glob and a name. The walk that goes back once agrees with a table over all prefixes.
pub fn fuzz_glob(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (glob, name) = text.split_once('\n').unwrap_or((&text, ""));
    if glob.len() > SHORT || name.len() > SHORT {
        return;
    }
    let Ok(compiled) = Glob::name(glob) else { return };
    assert_eq!(compiled.as_str(), glob);
    assert_eq!(compiled.matches_name(name), by_table(glob, name), "{glob:?} and {name:?}");
    if let Ok(octets) = Glob::octets(glob) {
        // Without an escape there is nothing to undo, and in ASCII an octet is a character.
        if glob.is_ascii() && name.is_ascii() && !name.contains('%') {
            assert_eq!(octets.matches_encoded(name), by_table(glob, name), "{glob:?} and {name:?}");
        }
    }
}

fn by_table(glob: &str, name: &str) -> bool {
    let folded = |text: &str| text.nfc().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (glob, name) = (folded(glob), folded(name));
    // reached[n]: the glob so far matches the first n characters.
    let mut reached: Vec<bool> = (0..=name.len()).map(|n| n == 0).collect();
    for unit in glob {
        let mut next = vec![false; name.len() + 1];
        for n in 0..=name.len() {
            next[n] = match unit {
                '*' => reached[n] || n > 0 && next[n - 1],
                _ => n > 0 && reached[n - 1] && (unit == '?' || unit == name[n - 1]),
            };
        }
        reached = next;
    }
    reached[name.len()]
}
