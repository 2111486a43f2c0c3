//! The JSON Schemas that editors read say what the parsers say: the same keys, the same words, in both directions.

use serde_json::{Value, json};

use super::load_set;
use crate::diagnostic::SourceFile;

const SETTINGS: (&str, &str) =
    ("portcullis.toml", include_str!("../../../packaging/schemas/portcullis.schema.json"));
const APPS: (&str, &str) = ("apps.d/a.toml", include_str!("../../../packaging/schemas/apps.schema.json"));
const POLICIES: (&str, &str) =
    ("policies.d/p.toml", include_str!("../../../packaging/schemas/policies.schema.json"));

/// What is said about a document of this kind.
fn complaints(file: &str, document: &Value) -> Vec<String> {
    let text = toml::to_string(document).expect("a document");
    let source = SourceFile::new(file, text);
    let (mut settings, mut apps, mut policies) = (None, Vec::new(), Vec::new());
    match file {
        "portcullis.toml" => settings = Some(source),
        "apps.d/a.toml" => apps.push(source),
        _ => policies.push(source),
    }
    let found = load_set(settings.as_ref(), &apps, &policies).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

/// The value wrapped into the tables and arrays that lead to it.
fn at(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, step| match step.as_str() {
        "[]" => json!([value]),
        key => json!({ key: value }),
    })
}

/// Calls `visit` with every object and every list of words of a schema, each with its path.
fn walk(schema: &Value, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &Value)) {
    visit(path, schema);
    let parts = schema["properties"].as_object().into_iter().flatten();
    for (step, part) in parts.map(|(key, part)| (key.clone(), part)).chain(items(schema)) {
        path.push(step);
        walk(part, path, visit);
        path.pop();
    }
}

fn items(schema: &Value) -> Option<(String, &Value)> {
    Some(("[]".to_owned(), schema.get("items")?))
}

/// What no key takes.
fn nothing_takes() -> Value {
    json!({ "no-such-key": [[true]] })
}

#[test]
fn every_key_of_a_schema_is_one_of_the_parser_and_no_other() {
    for (file, schema) in [SETTINGS, APPS, POLICIES] {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let mut seen = 0;
        walk(&schema, &mut Vec::new(), &mut |path, part| {
            for key in part["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
                let path = [path, std::slice::from_ref(key)].concat();
                let found = complaints(file, &at(&path, nothing_takes()));
                let unknown = |line: &&String| line.contains(&format!("{key}`: unknown key"));
                assert_eq!(found.iter().find(unknown), None, "{file}: {path:?}");
                seen += 1;
            }
            if part["additionalProperties"] == json!(false) {
                let found = complaints(file, &at(path, nothing_takes()));
                let refused = found.iter().any(|line| line.contains("no-such-key`: unknown key"));
                assert!(refused, "{file}: {path:?} takes any key: {found:?}");
            }
        });
        assert!(seen > 8, "{file}: only {seen} keys");
    }
}

#[test]
fn every_word_of_a_schema_is_one_of_the_parser() {
    for (file, schema) in [SETTINGS, APPS, POLICIES] {
        let schema: Value = serde_json::from_str(schema).unwrap();
        walk(&schema, &mut Vec::new(), &mut |path, part| {
            for word in part["enum"].as_array().into_iter().flatten() {
                let found = complaints(file, &at(path, word.clone()));
                let unknown =
                    |line: &&String| line.contains(": unknown value") || line.contains(": unknown activity");
                assert_eq!(found.iter().find(unknown), None, "{file}: {path:?} {word}");
            }
        });
    }
}

/// Every key of a document stands in the schema.
fn check_known(schema: &Value, document: &Value, path: &str) {
    match document {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                match (schema["properties"].get(key), &schema["additionalProperties"]) {
                    (Some(part), _) => check_known(part, value, &path),
                    (None, Value::Bool(false)) => panic!("{path} is not in the schema"),
                    (None, rest) => check_known(rest, value, &path),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| check_known(&schema["items"], item, path)),
        _ => {}
    }
}

#[test]
fn every_key_of_what_is_shipped_is_in_its_schema() {
    let texts = super::tests::whole_set();
    for ((file, schema), text) in [SETTINGS, APPS, POLICIES].into_iter().zip(&texts) {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let document: Value = toml::from_str(text).unwrap();
        check_known(&schema, &document, file);
    }
}

macro_rules! schema {
    ($name:literal) => {
        include_str!(concat!("../../../packaging/schemas/", $name, ".schema.json"))
    };
}

const STANDING_ALONE: [(&str, &str); 11] = [
    ("activity", schema!("activity")),
    ("app-list", schema!("app-list")),
    ("apps", schema!("apps")),
    ("doctor", schema!("doctor")),
    ("explain", schema!("explain")),
    ("policies", schema!("policies")),
    ("policy", schema!("policy")),
    ("portcullis", schema!("portcullis")),
    ("replay", schema!("replay")),
    ("status", schema!("status")),
    ("what-if", schema!("what-if")),
];

/// A validator that is given one file has no others to look into.
#[test]
fn every_schema_stands_alone_and_what_is_shown_in_two_is_the_same_in_both() {
    fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| match value.as_str() {
                Some(to) if key == "$ref" => found.push(to),
                _ => refs(value, found),
            }),
            Value::Array(list) => list.iter().for_each(|value| refs(value, found)),
            _ => {}
        }
    }
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("a schema") };
    for (name, text) in STANDING_ALONE {
        let (schema, mut found) = (read(text), Vec::new());
        refs(&schema, &mut found);
        for to in found {
            let resolved = to.strip_prefix('#').and_then(|pointer| schema.pointer(pointer));
            assert!(resolved.is_some(), "{name}: {to}");
        }
    }
    let explain = read(schema!("explain"));
    assert_eq!(explain["$defs"]["activity"], read(schema!("activity"))["$defs"]["activity"]);
    let mut what_if = read(schema!("what-if"));
    let whole = what_if.as_object_mut().expect("an object");
    for own in ["$schema", "title"] {
        whole.remove(own);
    }
    assert_eq!(explain["$defs"]["explanation"], what_if);
}
