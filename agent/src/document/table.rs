//! One table of a document: its known keys, and getters that complain instead of failing.

use std::ops::Range;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use super::{Fault, Report, Value, kind};
use crate::diagnostic::{Diagnostic, did_you_mean};

/// A table that may be absent: an absent one has no keys and complains about nothing but required ones.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    entries: Option<&'a DeTable<'a>>,
    /// Where complaints about the table as a whole point.
    span: Range<usize>,
    path: Rc<str>,
    keys: &'static [&'static str],
    report: &'a Report,
}

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a DeTable<'a>, keys: &'static [&'static str], report: &'a Report) -> Self {
        Self::open(Some(entries), 0..0, Rc::from(""), keys, report)
    }

    /// Opening reports the keys that are not in `keys`.
    pub(super) fn open(
        entries: Option<&'a DeTable<'a>>,
        span: Range<usize>,
        path: Rc<str>,
        keys: &'static [&'static str],
        report: &'a Report,
    ) -> Self {
        let table = Self { entries, span, path, keys, report };
        for key in entries.into_iter().flat_map(|entries| entries.keys()) {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let mut unknown = Diagnostic::new(report.source(), key.span(), "unknown key")
                    .field(table.path_of(name))
                    .label("not a key of this table");
                unknown.help = did_you_mean(name, keys.iter().copied());
                report.push(unknown);
            }
        }
        table
    }

    /// A table whose keys are names the user chooses.
    pub fn free_entries(&self, key: &'static str) -> Vec<(&'a str, Value<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Table(entries) = value.node() else {
            value.wrong_type("a table");
            return Vec::new();
        };
        entries
            .iter()
            .map(|(name, node)| {
                let name: &str = name.get_ref();
                (name, Value::new(node, Rc::from(join(&value.path(), name)), self.report))
            })
            .collect()
    }

    pub fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether it is there and says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_some_and(|entries| entries.is_empty())
    }

    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub fn report(&self) -> &'a Report {
        self.report
    }

    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is read but not among the table's keys");
        let node = self.entries?.get(key)?;
        Some(Value::new(node, Rc::from(self.path_of(key)), self.report))
    }

    /// The value, or a complaint that it is missing.
    pub fn require(&self, key: &'static str, help: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.complain(Fault::new(format!("`{key}` is missing")).help(help));
        }
        value
    }

    /// Reads a key into its place when it is there and right; the place keeps its default otherwise.
    pub fn set<T>(&self, key: &'static str, place: &mut T, read: impl FnOnce(&Value<'a>) -> Option<T>) {
        if let Some(value) = self.get(key).as_ref().and_then(read) {
            *place = value;
        }
    }

    /// The sub-table; an absent one when the key is missing or no table (then reported).
    pub fn table(&self, key: &'static str, keys: &'static [&'static str]) -> Table<'a> {
        match self.get(key).map(|value| (value.as_table(keys), value)) {
            Some((Some(table), _)) => table,
            Some((None, value)) => {
                Self { entries: None, span: value.span(), path: value.path(), keys, report: self.report }
            }
            None => {
                let path = Rc::from(self.path_of(key));
                Self { entries: None, span: self.span.clone(), path, keys, report: self.report }
            }
        }
    }

    /// The tables of `[[key]]`.
    pub fn tables(&self, key: &'static str, keys: &'static [&'static str]) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.node() {
            DeValue::Array(_) => value.list().iter().filter_map(|item| item.as_table(keys)).collect(),
            other => {
                let fault = Fault::new(format!("expected an array of tables, found {}", kind(other)));
                value.complain(fault.help(format!("write `[[{}]]` for each", value.path())));
                Vec::new()
            }
        }
    }

    /// A complaint about the table as a whole.
    pub fn complain(&self, fault: Fault) {
        self.report.push(fault.at(self.report.source(), self.span.clone(), &self.path));
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
