//! The files that the README shows, as they stand there: together they are a configuration.

use std::fs;

use super::{Sources, compile};

/// What stands between the fences of TOML. Names for an import are no configuration.
fn blocks() -> Vec<(String, &'static str)> {
    let readme = include_str!("../../../README.md");
    let texts = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let named = texts.map(|text| {
        let comment = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        let name = comment.split(':').next().unwrap_or_default();
        (if name.ends_with(".toml") { name.to_owned() } else { String::new() }, text)
    });
    named.filter(|(name, _)| name != "names.toml").collect()
}

#[test]
fn every_file_of_the_readme_is_taken() {
    let blocks = blocks();
    assert!(blocks.len() >= 6, "{blocks:#?}");
    let whole = tempfile::tempdir().unwrap();
    for directory in ["policies.d", "apps.d"] {
        fs::create_dir(whole.path().join(directory)).unwrap();
    }
    for (name, text) in &blocks {
        if name.is_empty() {
            // A part of the settings, for another machine.
            let alone = tempfile::tempdir().unwrap();
            let file = alone.path().join("portcullis.toml");
            fs::write(&file, text).unwrap();
            let texts = Sources::new(Some(file)).read().unwrap();
            compile(&texts, 1).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
        } else {
            fs::write(whole.path().join(name), text).unwrap();
        }
    }
    let texts = Sources::new(Some(whole.path().join("portcullis.toml"))).read().unwrap();
    let snapshot = compile(&texts, 1)
        .unwrap_or_else(|errors| panic!("{:#?}", errors.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(snapshot.policies.policies().len(), 3);
}
