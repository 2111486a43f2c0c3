//! The members of a JSON object, each asked for by name; what nobody asked for is told at the end, so that nothing of an
//! export is dropped in silence.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Map, Value};

pub(super) struct Fields<'v> {
    object: &'v Map<String, Value>,
    path: &'v str,
    /// Names asked for, in lower case.
    asked: RefCell<HashSet<String>>,
}

/// A member by name in any case: PowerShell writes `DisplayName`.
pub(super) fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a value says anything: exports carry every field there is, most of them empty.
pub(super) fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(is_said),
        Value::Object(object) => object.iter().any(|(key, value)| !is_annotation(key) && is_said(value)),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// OData annotations (`@odata.type`, `state@odata.type`) and actions (`#microsoft.graph.restore`).
fn is_annotation(key: &str) -> bool {
    key.contains('@') || key.starts_with('#')
}

pub(super) fn without_annotations(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let said = object.iter().filter(|(key, value)| !is_annotation(key) && is_said(value));
            said.map(|(key, value)| (key.clone(), without_annotations(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_annotations).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

impl<'v> Fields<'v> {
    /// `path`: dotted, of the object itself; empty for the policy.
    pub(super) fn new(object: &'v Map<String, Value>, path: &'v str) -> Self {
        Self { object, path, asked: RefCell::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'v Value> {
        self.asked.borrow_mut().insert(name.to_ascii_lowercase());
        member(self.object, name)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A value of another type is told of at the end, as a field that is not known.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.typed(name, |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.typed(name, Value::as_bool)
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(&'v Value) -> Option<T>) -> Option<T> {
        let found = read(self.get(name)?);
        if found.is_none() {
            self.asked.borrow_mut().remove(&name.to_ascii_lowercase());
        }
        found
    }

    /// A copy, so that its fields can be asked apart. A value that is no object has none.
    pub(super) fn object(&self, name: &str) -> Option<Map<String, Value>> {
        self.typed(name, |value| value.as_object().cloned())
    }

    /// The texts of a list; a single text is a list of one. `None` when it holds something else, which is told at the end.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts = match self.get(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::String(text)) => Some(vec![text.clone()]),
            // A null among them says nothing, and takes nothing away from what the others say.
            Some(Value::Array(items)) => {
                let said = items.iter().filter(|item| !item.is_null());
                said.map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        if texts.is_none() {
            self.asked.borrow_mut().remove(&name.to_ascii_lowercase());
        }
        texts
    }

    /// Tells of every field that says something and was not asked for.
    pub(super) fn rest(&self, mut tell: impl FnMut(&str, &Value)) {
        let asked = self.asked.borrow();
        for (key, value) in self.object {
            if !is_annotation(key) && is_said(value) && !asked.contains(&key.to_ascii_lowercase()) {
                tell(&self.path_of(key), value);
            }
        }
    }
}
