//! Every complaint at once, each at its place.
use super::*;
use crate::diagnostic::Style;

fn complaints(text: &str) -> Vec<String> {
    let source = SourceFile::new("f.toml", text);
    let read = read(&source, &["size", "names", "inner", "item", "free"], |root| {
        root.get("size").and_then(|v| v.integer(1..=9));
        root.get("names").map(|v| v.each(Value::name));
        let inner = root.table("inner", &["mode"]);
        inner.get("mode").and_then(|v| v.choice(&[("host", 1), ("gateway", 2)]));
        for item in root.tables("item", &["id"]) {
            item.require("id", "give it one").and_then(|v| v.name());
        }
        for (_, value) in root.free_entries("free") {
            value.text();
        }
    });
    read.diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn a_right_file_has_no_complaints() {
    let text = "size = 3\nnames = ['a']\n[inner]\nmode = 'host'\n[[item]]\nid = 'x'\n[free]\nany = 'y'";
    assert_eq!(complaints(text), [""; 0]);
    assert_eq!(complaints(""), [""; 0]);
}

#[test]
fn all_complaints_come_at_once_in_file_order() {
    let text =
        "size = 0x10\nnames = ['', 5]\nnane = 1\n[inner]\nmode = 'hots'\nmoed = 1\n[[item]]\n[free]\nx = 1";
    assert_eq!(
        complaints(text),
        [
            "f.toml:1:8: `size`: must lie between 1 and 9",
            "f.toml:2:10: `names[0]`: must not be empty",
            "f.toml:2:14: `names[1]`: expected a string, found an integer",
            "f.toml:3:1: `nane`: unknown key (one of `size`, `names`, `inner`, `item`, `free`)",
            "f.toml:5:8: `inner.mode`: unknown value \"hots\" (did you mean `host`?)",
            "f.toml:6:1: `inner.moed`: unknown key (did you mean `mode`?)",
            "f.toml:7:1: `item[0]`: `id` is missing (give it one)",
            "f.toml:9:5: `free.x`: expected a string, found an integer",
        ]
    );
}

#[test]
fn wrong_shapes_are_named() {
    assert_eq!(complaints("inner = 1"), ["f.toml:1:9: `inner`: expected a table, found an integer"]);
    assert_eq!(complaints("names = 'a'"), ["f.toml:1:9: `names`: expected an array, found a string"]);
    assert_eq!(complaints("size = -1"), ["f.toml:1:8: `size`: must lie between 1 and 9"]);
    assert_eq!(
        complaints("item = 5"),
        ["f.toml:1:8: `item`: expected an array of tables, found an integer (write `[[item]]` for each)"]
    );
}

#[test]
fn every_syntax_error_has_its_place() {
    let found = complaints("size = \nnames = [1\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("f.toml:1:"), "{found:?}");
    assert!(found.iter().all(|line| line.contains("not valid TOML")), "{found:?}");
    assert!(complaints("size = 1\nsize = 2")[0].starts_with("f.toml:2:1: not valid TOML: duplicate key"));
}

#[test]
fn complaints_are_bounded() {
    let text: String = (0..500).map(|n| format!("k{n} = 1\n")).collect();
    let found = complaints(&text);
    assert_eq!(found.len(), MAX_DIAGNOSTICS + 1);
    assert!(found[MAX_DIAGNOSTICS].contains("400 more errors"), "{}", found[MAX_DIAGNOSTICS]);
}

#[test]
fn long_and_hostile_words_are_shown_safely() {
    let source = SourceFile::new("f", format!("mode = \"{}\\u001b[31m\"", "x".repeat(500)));
    let read = read(&source, &["mode"], |root| root.get("mode").and_then(|v| v.choice(&[("host", ())])));
    assert_eq!(read.diagnostics.len(), 1);
    assert!(read.diagnostics[0].message.len() < 100);
    assert!(!read.diagnostics[0].render(Style::Plain).contains('\u{1b}'));
}

#[test]
fn byte_order_mark_and_carriage_returns_are_no_errors() {
    assert_eq!(complaints("\u{feff}size = 3\r\nnames = ['a']\r\n"), [""; 0]);
    assert_eq!(
        complaints("size = 3\r\nsiez = 3\r\n"),
        ["f.toml:2:1: `siez`: unknown key (did you mean `size`?)"]
    );
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    for open in ["[", "{ a = "] {
        let found = complaints(&format!("size = {}", open.repeat(100_000)));
        assert!(found.len() > 1 && found[0].contains("not valid TOML"), "{:?}", found.first());
    }
    assert!(!complaints(&format!("{}x = 1", "a.".repeat(100_000))).is_empty());
}
