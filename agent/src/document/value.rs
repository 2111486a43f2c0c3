//! One value of a document, with its place: typed getters that complain instead of failing.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use toml::Spanned;
use toml::de::DeValue;

use super::{Report, Table, kind};
use crate::diagnostic::{Diagnostic, SourceFile, did_you_mean};

/// What is wrong with a value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub label: Option<String>,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, help: None }
    }

    /// A word that is not among the known ones, with the nearest of them.
    pub fn unknown<'k, I>(what: &str, word: &str, known: I) -> Self
    where
        I: IntoIterator<Item = &'k str>,
        I::IntoIter: Clone,
    {
        let help = did_you_mean(word, known);
        Self { message: format!("unknown {what} \"{}\"", shown(word)), label: None, help }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn at(self, source: &SourceFile, span: Range<usize>, field: &str) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(source, span, self.message).field(field);
        diagnostic.label = self.label;
        diagnostic.help = self.help;
        diagnostic
    }
}

/// What is wrong with a name that begins or ends with a blank: nothing that it is compared with does, so it would never
/// match, and nobody sees why.
pub fn blank_ends(text: &str) -> Result<(), Fault> {
    let trimmed = text.trim();
    if trimmed == text {
        return Ok(());
    }
    let fault = Fault::new("must not begin or end with a blank");
    Err(if trimmed.is_empty() { fault } else { fault.help(format!("did you mean `{}`?", shown(trimmed))) })
}

/// A word of the user's as a message may repeat it: not longer than a line, nothing that steers a terminal.
fn shown(word: &str) -> String {
    const MAX_SHOWN: usize = 60;
    let mut text: String = word.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if word.chars().nth(MAX_SHOWN).is_some() {
        text.push('…');
    }
    text
}

#[derive(Debug, Clone)]
pub struct Value<'a> {
    node: &'a Spanned<DeValue<'a>>,
    path: Rc<str>,
    /// Its place in the array that has the path.
    index: Option<usize>,
    report: &'a Report,
}

impl<'a> Value<'a> {
    pub(super) fn new(node: &'a Spanned<DeValue<'a>>, path: Rc<str>, report: &'a Report) -> Self {
        Self { node, path, index: None, report }
    }

    pub(super) fn node(&self) -> &'a DeValue<'a> {
        self.node.get_ref()
    }

    /// Of an item it is written only when it is asked for: lists are long, complaints few.
    pub fn path(&self) -> Rc<str> {
        match self.index {
            None => self.path.clone(),
            Some(index) => format!("{}[{index}]", self.path).into(),
        }
    }

    /// Byte range in the file.
    pub fn span(&self) -> Range<usize> {
        self.node.span()
    }

    /// Reports a fault at this value.
    pub fn complain(&self, fault: Fault) {
        self.report.push(self.diagnostic(fault));
    }

    /// The fault as a diagnostic, for a caller that adds to it before it reports.
    pub fn diagnostic(&self, fault: Fault) -> Diagnostic {
        fault.at(self.report.source(), self.span(), &self.path())
    }

    pub fn report(&self) -> &'a Report {
        self.report
    }

    pub(super) fn wrong_type(&self, expected: &str) {
        self.complain(Fault::new(format!("expected {expected}, found {}", kind(self.node()))));
    }

    pub fn text(&self) -> Option<&'a str> {
        match self.node() {
            DeValue::String(text) => Some(text),
            _ => {
                self.wrong_type("a string");
                None
            }
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.node() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.wrong_type("a boolean");
                None
            }
        }
    }

    /// A string that is not empty, has no control characters, and no blanks at its ends.
    pub fn name(&self) -> Option<&'a str> {
        self.parse(|text| match text {
            "" => Err(Fault::new("must not be empty")),
            text if text.chars().any(char::is_control) => {
                Err(Fault::new("must not contain control characters"))
            }
            text => blank_ends(text).map(|()| text),
        })
    }

    /// A string read by `parse`, whose fault is reported here.
    pub fn parse<T>(&self, parse: impl FnOnce(&'a str) -> Result<T, Fault>) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.complain(fault);
                None
            }
        }
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        self.parse(|text| {
            let found = choices.iter().find(|(name, _)| *name == text);
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| Fault::unknown("value", text, choices.iter().map(|c| c.0)))
        })
    }

    pub fn integer(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.node() else {
            self.wrong_type("an integer");
            return None;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                self.complain(Fault::new(format!(
                    "must lie between {} and {}",
                    allowed.start(),
                    allowed.end()
                )));
                None
            }
        }
    }

    pub fn is_integer(&self) -> bool {
        self.node().is_integer()
    }

    /// The items of an array; none, with a complaint, when it is no array.
    pub fn list(&self) -> Vec<Value<'a>> {
        self.items().collect()
    }

    fn items(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let items = self.node().as_array();
        if items.is_none() {
            self.wrong_type("an array");
        }
        let (path, report) = (self.path(), self.report);
        items.into_iter().flat_map(|items| items.iter()).enumerate().map(move |(index, node)| Value {
            node,
            path: path.clone(),
            index: Some(index),
            report,
        })
    }

    pub fn is_empty_list(&self) -> bool {
        self.node().as_array().is_some_and(|items| items.is_empty())
    }

    /// The items of an array, or the value alone: `"a"` is as good as `["a"]`.
    pub fn one_or_many(&self) -> Vec<Value<'a>> {
        if self.node().is_array() { self.list() } else { vec![self.clone()] }
    }

    /// The items of an array that `read` accepts; it complains about the others itself.
    pub fn each<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Vec<T> {
        self.items().filter_map(|item| read(&item)).collect()
    }

    /// As [`each`](Self::each), of a list in which a word that stands twice is a slip.
    pub fn each_once<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Vec<T> {
        let mut seen: HashSet<&str> = HashSet::new();
        self.each(|item| match item.node() {
            DeValue::String(text) if !seen.insert(text) => {
                item.complain(Fault::new("stands in the list twice"));
                None
            }
            _ => read(item),
        })
    }

    pub fn as_table(&self, keys: &'static [&'static str]) -> Option<Table<'a>> {
        match self.node() {
            DeValue::Table(entries) => {
                Some(Table::open(Some(entries), self.span(), self.path(), keys, self.report))
            }
            _ => {
                self.wrong_type("a table");
                None
            }
        }
    }
}
