//! The nearest known word to a mistyped one, by edit distance.

/// Longer words are not compared: nobody mistypes that much, and the comparison is quadratic.
const MAX_WORD: usize = 64;

/// The candidate with the fewest edits (insert, delete, replace, swap of neighbours), if few enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_WORD + 1).flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&word, candidate)?, candidate)))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy sentence: the nearest candidate, or else the whole list when it is short enough to read.
pub fn did_you_mean<'a, I>(word: &str, candidates: I) -> Option<String>
where
    I: IntoIterator<Item = &'a str>,
    I::IntoIter: Clone,
{
    let candidates = candidates.into_iter();
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let known: Vec<&str> = candidates.take(MAX_LISTED + 1).collect();
    match known.len() {
        0 => None,
        1 => Some(format!("only `{}` is known here", known.concat())),
        2..=MAX_LISTED => Some(format!("one of `{}`", known.join("`, `"))),
        _ => None,
    }
}

/// A list of choices longer than this tells a reader nothing.
const MAX_LISTED: usize = 12;

/// Optimal string alignment distance over characters, case folded.
fn distance(word: &[char], candidate: &str) -> Option<usize> {
    let other: Vec<char> = candidate.chars().take(MAX_WORD + 1).flat_map(char::to_lowercase).collect();
    if other.len() > MAX_WORD {
        return None;
    }
    let mut two_above: Vec<usize> = vec![0; other.len() + 1];
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in word.iter().enumerate() {
        let mut current = vec![row + 1; other.len() + 1];
        for (column, against) in other.iter().enumerate() {
            let replace = above[column] + usize::from(letter != against);
            let mut best = replace.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && word[row - 1] == *against && *letter == other[column - 1] {
                best = best.min(two_above[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        two_above = std::mem::replace(&mut above, current);
    }
    above.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(word, candidates.iter().copied()), expected);
    }

    #[test]
    fn slips_find_their_word_and_strangers_find_none() {
        check("prots", &["ports", "mode"], Some("ports"));
        check("hsot", &["host", "gateway"], Some("host"));
        check("OFFICE356", &["office365", "onedrive-personal"], Some("office365"));
        check("include", &["exclude", "include"], Some("include"));
        check("quick", &["quic", "ports"], Some("quic"));
        check("x", &["host"], None);
        check("", &["host"], None);
        check("banana", &["host", "gateway"], None);
        check(&"a".repeat(1000), &["host"], None);
    }

    #[test]
    fn distance_counts_edits() {
        let count = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(count("kitten", "sitting"), Some(3));
        assert_eq!(count("ab", "ba"), Some(1));
        assert_eq!(count("", "abc"), Some(3));
        assert_eq!(count("abc", ""), Some(3));
    }

    #[test]
    fn without_a_near_word_a_short_list_is_shown() {
        assert_eq!(did_you_mean("zzz", ["a-b", "c-d"]).as_deref(), Some("one of `a-b`, `c-d`"));
        assert_eq!(did_you_mean("zzzzzz", ["word"; 40]), None);
        assert_eq!(did_you_mean("zzz", []), None);
    }
}
