//! A TOML document read with every complaint at once: tables that know their keys, values that know their place.
//!
//! Each table is opened with the list of the keys it may have, so an unknown key is always reported; a getter never
//! stops the reading. All files of the configuration are read through this.

mod table;
mod text;
mod value;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, SourceFile};

pub use table::Table;
pub use text::{parse_duration, parse_size};
pub use value::{Fault, Value, blank_ends};

/// Largest configuration file that is read, in bytes: room for a million domains.
pub const MAX_FILE_SIZE: usize = 64 << 20;
/// Complaints kept per file; the rest is counted in a last one.
pub const MAX_DIAGNOSTICS: usize = 100;

/// Collects the complaints about one file.
#[derive(Debug)]
pub struct Report {
    source: SourceFile,
    found: RefCell<Vec<Diagnostic>>,
    left_out: Cell<usize>,
    /// An offset, and the lines that end before it.
    counted: Cell<(usize, usize)>,
}

impl Report {
    fn new(source: &SourceFile) -> Self {
        Self {
            source: source.clone(),
            found: RefCell::default(),
            left_out: Cell::new(0),
            counted: Cell::new((0, 0)),
        }
    }

    /// The line of a byte offset, from 1. Asked in the order of the file, each part of it is counted once.
    pub fn line(&self, offset: usize) -> usize {
        let (from, lines) = Some(self.counted.get()).filter(|(from, _)| *from <= offset).unwrap_or_default();
        let lines = lines + self.source.line_breaks(from..offset);
        self.counted.set((offset, lines));
        lines + 1
    }

    pub fn source(&self) -> &SourceFile {
        &self.source
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_DIAGNOSTICS {
            found.push(diagnostic);
        } else {
            self.left_out.set(self.left_out.get() + 1);
        }
    }

    fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.span.start);
        if let (Some(last), 1..) = (found.last(), self.left_out.get()) {
            let more = format!("{} more errors in this file are not shown", self.left_out.get());
            found.push(Diagnostic::new(&self.source, last.span.clone(), more));
        }
        found
    }
}

/// What came of a file: what could be read of it, and everything wrong with it.
#[derive(Debug)]
pub struct Read<T> {
    /// Absent when the file is not TOML at all, so nothing in it can be trusted to be complete.
    pub value: Option<T>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses `source` and reads its top-level table, which may have `keys`, by `body`.
pub fn read<T>(
    source: &SourceFile,
    keys: &'static [&'static str],
    body: impl FnOnce(&Table<'_>) -> T,
) -> Read<T> {
    let report = Report::new(source);
    if source.text.len() > MAX_FILE_SIZE {
        report.push(Diagnostic::new(
            source,
            0..0,
            format!("the file is larger than {} MiB", MAX_FILE_SIZE >> 20),
        ));
        return Read { value: None, diagnostics: report.into_diagnostics() };
    }
    // A byte order mark is legal and skipped by the parser.
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        for error in errors {
            report.push(syntax(source, error.message(), error.span()));
        }
        return Read { value: None, diagnostics: report.into_diagnostics() };
    }
    let value = body(&Table::root(root.get_ref(), keys, &report));
    Read { value: Some(value), diagnostics: report.into_diagnostics() }
}

/// Reads what the parser makes of a file that is not valid TOML, by `body`, whose complaints nobody hears: for those to
/// whom half a file says enough, and who have told of its errors.
pub fn read_broken<T>(
    source: &SourceFile,
    keys: &'static [&'static str],
    body: impl FnOnce(&Table<'_>) -> T,
) -> T {
    let (text, report) = (source.text.get(..MAX_FILE_SIZE).unwrap_or(&source.text), Report::new(source));
    let (root, _) = DeTable::parse_recoverable(text);
    body(&Table::root(root.get_ref(), keys, &report))
}

fn syntax(source: &SourceFile, message: &str, span: Option<Range<usize>>) -> Diagnostic {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    Diagnostic::new(source, span.unwrap_or(0..0), format!("not valid TOML: {message}"))
}

/// The kind of a value in the words of a message.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date-time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
