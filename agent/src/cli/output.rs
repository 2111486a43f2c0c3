//! Lists in the forms programs read: one JSON array, a JSON object a line, CSV.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::cli::terminal::{clean, clean_json};

/// The form of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, cut to the width of the terminal
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// RFC 4180, with a line of names first
    Csv,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// One JSON object a line; the same as -o jsonl
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// The form of the list
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub output: Option<Format>,
}

impl OutputArgs {
    pub fn format(self) -> Format {
        match self.output {
            Some(format) => format,
            None if self.json => Format::Jsonl,
            None => Format::Table,
        }
    }
}

/// A column of CSV: its name, and the JSON pointer (RFC 6901) to its value.
pub(super) type Column = (&'static str, &'static str);

/// Writes the rows of one list. Nothing for [`Format::Table`], which every command lays out by itself.
pub(super) struct ListWriter<'a, W> {
    format: Format,
    columns: &'static [Column],
    rows: u64,
    out: &'a mut W,
}

impl<'a, W: Write> ListWriter<'a, W> {
    pub(super) fn begin(format: Format, columns: &'static [Column], out: &'a mut W) -> io::Result<Self> {
        let mut writer = Self { format, columns, rows: 0, out };
        match format {
            Format::Csv => writer.csv(columns.iter().map(|(name, _)| (*name).to_owned()))?,
            Format::Json => write!(writer.out, "[")?,
            Format::Table | Format::Jsonl => {}
        }
        Ok(writer)
    }

    pub(super) fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        match self.format {
            Format::Table => {}
            Format::Jsonl => {
                writeln!(self.out, "{}", clean_json(&serde_json::to_string(row)?))?;
            }
            Format::Json => {
                let separator = if self.rows == 0 { "\n" } else { ",\n" };
                write!(self.out, "{separator}{}", clean_json(&serde_json::to_string(row)?))?;
            }
            Format::Csv => {
                let row = serde_json::to_value(row)?;
                self.csv(self.columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))))?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn is_csv(&self) -> bool {
        self.format == Format::Csv
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What ends the list.
    pub(super) fn end(self) -> io::Result<()> {
        if self.format == Format::Json { writeln!(self.out, "\n]") } else { Ok(()) }
    }

    fn csv(&mut self, cells: impl Iterator<Item = String>) -> io::Result<()> {
        let mut line = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        line.write_record(cells)?;
        let line = line.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        self.out.write_all(&line)
    }
}

/// A value as a cell: lists joined by blanks, what is unknown empty. A text that a spreadsheet would take for a formula
/// gets an apostrophe in front: file names come from the network.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => {
            let text = clean(text);
            if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                format!("'{text}")
            } else {
                text.into_owned()
            }
        }
        Some(Value::Array(values)) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(" ")
        }
        Some(other) => clean(&other.to_string()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("id", "/id"), ("file", "/file/name"), ("tags", "/tags"), ("n", "/n")];

    #[track_caller]
    fn check(format: Format, expected: &str) {
        let rows = [
            serde_json::json!({"id": "a,\"b\"", "file": {"name": "=cmd|x"}, "tags": ["x", "y"], "n": -1}),
            serde_json::json!({"id": "line\nbreak", "file": null, "tags": [], "n": null}),
        ];
        let mut out = Vec::new();
        let mut writer = ListWriter::begin(format, COLUMNS, &mut out).unwrap();
        rows.iter().for_each(|row| writer.row(row).unwrap());
        writer.end().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn csv_is_quoted_and_no_cell_is_a_formula() {
        check(Format::Csv, "id,file,tags,n\r\n\"a,\"\"b\"\"\",'=cmd|x,x y,-1\r\nline\u{FFFD}break,,,\r\n");
    }

    #[test]
    fn json_is_one_array_and_an_empty_list_is_one_too() {
        let mut out = Vec::new();
        ListWriter::begin(Format::Json, COLUMNS, &mut out).unwrap().end().unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Value>>(&out).unwrap(), Vec::<Value>::new());
        let mut out = Vec::new();
        let mut writer = ListWriter::begin(Format::Json, COLUMNS, &mut out).unwrap();
        writer.row(&1).unwrap();
        writer.row(&2).unwrap();
        writer.end().unwrap();
        assert_eq!(serde_json::from_slice::<Vec<u8>>(&out).unwrap(), [1, 2]);
    }
}
