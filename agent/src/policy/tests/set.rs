//! Policy sets: what names them, their order, what joins a suite.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_set_is_named_by_what_it_says() {
    let id = |text: &str| build(text).id();
    assert_eq!(id(&block("")), id(&block("")));
    assert_ne!(id(&block("")), id(&block("state = 'disabled'")));
    let suite = block("apps.include = ['corp']");
    let known = |apps: &str| Catalog::build(&[SourceFile::new("a.toml", apps)]).unwrap();
    let of = |catalog: &Catalog| {
        PolicySet::build(&[SourceFile::new("p.toml", &*suite)], catalog, &networks()).unwrap()
    };
    let grown = APPS.to_owned() + "[[app]]\nid = 'corp-new'\nsuite = 'corp'\ndomains = ['new.corp.test']\n";
    assert_ne!(of(&known(APPS)).id(), of(&known(&grown)).id(), "a suite that has grown is another set");
    for (text, wrong) in [
        ("", "not a policy set"),
        ("{\"format\":9,\"files\":[],\"apps\":{},\"networks\":{}}", "of form 9"),
        (
            "{\"format\":1,\"files\":[{\"path\":\"p\",\"text\":\"x = 1\"}],\"apps\":{},\"networks\":{}}",
            "p:1:1: `x`",
        ),
        ("{\"format\":1,\"files\":[],\"apps\":{},\"networks\":{\"n\":[\"10/8\"]}}", "not a policy set"),
    ] {
        let error = PolicySet::from_document(text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn a_name_is_taken_once_across_files() {
    let sources =
        [SourceFile::new("10.toml", block("")), SourceFile::new("20.toml", format!("\n{}", block("")))];
    let found = PolicySet::build(&sources, &catalog(), &networks()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].path(), found[0].line(), &*found[0].field), ("20.toml", 3, "policy[0].name"));
    let related = found[0].related.as_ref().unwrap();
    assert_eq!(&*related.source.path, "10.toml");
}

#[test]
fn policies_keep_the_order_of_files_and_know_their_place() {
    let sources = [
        SourceFile::new("10.toml", block("")),
        SourceFile::new(
            "20.toml",
            policy("Q", "apps.include = ['all']") + &policy("A", "apps.include = ['all']"),
        ),
    ];
    let set = PolicySet::build(&sources, &catalog(), &networks()).unwrap();
    let places: Vec<String> =
        set.policies().iter().map(|p| format!("{} {}:{}", p.name, p.path, p.line)).collect();
    assert_eq!(places, ["P 10.toml:2", "Q 20.toml:2", "A 20.toml:5"]);
    assert_eq!(set.get("Q").map(|p| p.state), Some(State::Enabled));
    assert_eq!(set.get("none").map(|p| p.line), None);
}

#[test]
fn a_member_that_joins_a_suite_is_covered_without_touching_the_policy() {
    let text = block("apps.include = ['office365']");
    let added =
        SourceFile::new("b.toml", "[[app]]\nid = 'm365-forms'\nsuite = 'office365'\ndomains = ['f.test']");
    let larger = Catalog::build(&[added]).unwrap();
    let set = PolicySet::build(&[SourceFile::new("p.toml", text.clone())], &larger, &networks()).unwrap();
    let covered: BTreeSet<&str> =
        larger.apps().iter().filter(|app| set.selects(app)).map(|app| &*app.id).collect();
    assert!(
        covered.contains("m365-forms") && covered.contains("m365-graph") && covered.len() == 6,
        "{covered:?}"
    );
    assert!(!build(&text).selects(larger.app("m365-forms").unwrap()));
}
