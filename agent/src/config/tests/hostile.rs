//! Texts that are no configuration, or one that somebody slipped in: every complaint has its place, nothing panics.
use proptest::prelude::*;

use super::*;
use crate::diagnostic::Style;

/// Lines that look like the real thing, so that the property test gets past the first character.
fn configuration_line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "mode",
        "ports",
        "listen",
        "networks",
        "name",
        "id",
        "domains",
        "apps",
        "include",
        "exclude",
        "session.control",
        "users",
        "conditions.locations",
        "rule",
        "files",
        "larger_than",
        "retention",
        "max_size",
        "durability",
        "to",
        "groups",
        "activity",
        "corp",
    ]);
    let value = prop_oneof![
        Just("\"host\"".to_owned()),
        Just("[\"all\", \"office365\", 5]".to_owned()),
        Just("{ include = [\"all\"], exclude = [\"compliant\"] }".to_owned()),
        Just("[[{}]]".to_owned()),
        "\"\\PC{0,12}\"",
        "[-+0-9a-fx_.:T]{1,10}",
        "\\PC{0,8}",
    ];
    let header = prop::sample::select(vec![
        "[steering]",
        "[networks]",
        "[device]",
        "[[app]]",
        "[[app.activity]]",
        "[[policy]]",
        "[policy.apps]",
        "[policy.session]",
        "[[policy.session.rule]]",
        "[identity]",
        "[[export]]",
        "%%",
        "[",
        "]]",
    ]);
    prop_oneof![
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        header.prop_map(str::to_owned)
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        fuzz_config(text.as_bytes());
    }

    #[test]
    fn no_bytes_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_config(&data);
    }

    #[test]
    fn nothing_like_a_configuration_panics(lines in prop::collection::vec(configuration_line(), 0..20)) {
        fuzz_config(lines.join("\n").as_bytes());
    }
}

#[test]
fn no_prefix_of_a_real_file_panics() {
    let settings = SHIPPED
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.starts_with("#:"))
        .collect::<Vec<_>>()
        .join("\n");
    let policies = SAMPLE
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.starts_with("#:"))
        .collect::<Vec<_>>()
        .join("\n");
    let whole = format!("{settings}\n%%\n[[app]]\nid = 'ä'\ndomains = ['x.test']\n%%\n{policies}");
    for end in 0..=whole.len() {
        fuzz_config(&whole.as_bytes()[..end]);
    }
}

/// What someone who edits by hand does to a file, or a disk that loses a part of it.
fn mutated(text: &str, (kind, at, with): (u8, prop::sample::Index, prop::sample::Index)) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let (line, other) = (at.index(lines.len()), with.index(lines.len()));
    let at = text.floor_char_boundary(at.index(text.len()));
    let end = text.floor_char_boundary(at + 1 + with.index(24)).max(at);
    const PIECES: [&str; 12] = [
        "\"",
        "'",
        "[",
        "]",
        "= ",
        "\n[[policy]]\n",
        "#",
        "\0",
        "all",
        "\u{202e}ü",
        "99999999999999999999",
        ", ",
    ];
    match kind {
        0 => _ = lines.remove(line),
        1 => lines.insert(line, lines[other]),
        2 => lines.swap(line, other),
        3 => return text[..at].to_owned(),
        4 => return text[..at].to_owned() + &text[end..],
        5 => return format!("{}{}{}", &text[..at], with.get(&PIECES), &text[at..]),
        _ => {
            let words: Vec<&str> = text.split_whitespace().collect();
            // A mutation before this one may have left nothing but a line's end.
            if words.is_empty() {
                return text.to_owned();
            }
            return format!("{}{}{}", &text[..at], with.get(&words), &text[end..]);
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Every complaint has its place, and what is loaded is loaded whole: no table of the text is left out in silence.
    #[test]
    fn a_mutated_configuration_is_refused_or_loaded_whole(
        file in 0..3_usize,
        mutations in prop::collection::vec((0..7_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut texts = whole_set();
        for mutation in mutations {
            texts[file] = mutated(&texts[file], mutation);
            if texts[file].is_empty() {
                texts[file].push('\n');
            }
        }
        let [settings, apps, policies] = &texts;
        let source = |path: &str, text: &String| SourceFile::new(path, text.as_str());
        let (settings, apps, policies) =
            (source("portcullis.toml", settings), source("apps.d/a.toml", apps), source("policies.d/p.toml", policies));
        match load_set(Some(&settings), std::slice::from_ref(&apps), std::slice::from_ref(&policies)) {
            Err(found) => {
                prop_assert!(!found.is_empty());
                for diagnostic in found {
                    prop_assert!(diagnostic.line() >= 1 && diagnostic.column() >= 1);
                    let known = [&settings, &apps, &policies].into_iter().find(|file| *file.path == *diagnostic.path());
                    prop_assert!(known.is_some_and(|file| diagnostic.line() <= file.text.lines().count() + 1));
                    prop_assert!(diagnostic.render(Style::Plain).contains(diagnostic.path()));
                }
            }
            Ok(loaded) => {
                let tables = |file: &SourceFile, key: &str| -> Vec<toml::Value> {
                    let document: toml::Table = toml::from_str(&file.text).expect("it was read");
                    document.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default()
                };
                let names = |list: Vec<toml::Value>, key: &str| -> Vec<String> {
                    list.iter().filter_map(|table| Some(table.get(key)?.as_str()?.to_owned())).collect()
                };
                let loaded_names: Vec<String> =
                    loaded.policies.policies().iter().map(|policy| policy.name.to_string()).collect();
                prop_assert_eq!(names(tables(&policies, "policy"), "name"), loaded_names);
                for id in names(tables(&apps, "app"), "id") {
                    prop_assert!(loaded.catalog.app(&id).is_some(), "{} is not there", id);
                }
            }
        }
    }
}
