//! Diagnostics: what is wrong in a configuration file, where, and what would put it right. No files are read here.

mod suggest;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

pub use suggest::{did_you_mean, nearest};

/// A configuration file as it was read: its path for messages, its whole text. Clones share both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: Arc<str>,
    pub text: Arc<str>,
}

impl SourceFile {
    pub fn new(path: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Line and column of a byte offset, both from 1; columns count characters. Offsets past the end mean the end.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (self.line_breaks(0..offset) + 1, before[line_start..].chars().count() + 1)
    }

    /// How many lines end in a range of bytes.
    pub fn line_breaks(&self, range: Range<usize>) -> usize {
        let bytes = self.text.as_bytes();
        let range = range.start.min(bytes.len())..range.end.min(bytes.len());
        bytes.get(range).map_or(0, |bytes| memchr::memchr_iter(b'\n', bytes).count())
    }

    /// The whole line around a byte offset, without its line break, as a byte range.
    fn line_around(&self, offset: usize) -> Range<usize> {
        let at = self.text.floor_char_boundary(offset);
        let start = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        start..end
    }
}

/// A second place that explains the first, for example where a name was taken before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    pub source: SourceFile,
    /// Byte range in `source`.
    pub span: Range<usize>,
    pub label: String,
}

/// One error in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub source: SourceFile,
    /// Byte range in the file; empty at 0 when the file as a whole is meant.
    pub span: Range<usize>,
    /// Dotted key, for example `steering.mode` or `policy[0].users.include[1]`; empty outside any key.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What stands at the span, in few words.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    pub related: Option<Box<Related>>,
}

/// How a diagnostic is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// With ANSI colours, for a terminal.
    Coloured,
}

impl Diagnostic {
    pub fn new(source: &SourceFile, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            source: source.clone(),
            span,
            field: String::new(),
            message: message.into(),
            label: None,
            help: None,
            related: None,
        }
    }

    /// For a file as a whole: it could not be read, it is no UTF-8.
    pub fn whole_file(path: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Self::new(&SourceFile::new(path, ""), 0..0, message)
    }

    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, source: &SourceFile, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some(Box::new(Related { source: source.clone(), span, label: label.into() }));
        self
    }

    pub fn path(&self) -> &str {
        &self.source.path
    }

    /// From 1.
    pub fn line(&self) -> usize {
        self.source.position(self.span.start).0
    }

    /// In characters, from 1.
    pub fn column(&self) -> usize {
        self.source.position(self.span.start).1
    }

    /// The message with the key it is about in front.
    pub fn title(&self) -> String {
        if self.field.is_empty() {
            self.message.clone()
        } else {
            format!("`{}`: {}", self.field, self.message)
        }
    }

    /// Several lines: message, file:line:column, the line with the place marked, the remedy. No line break at the end.
    pub fn render(&self, style: Style) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(self.title()));
        group = add_place(group, &self.source, &self.span, self.label.as_deref(), AnnotationKind::Primary);
        let mut report = Vec::with_capacity(2);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        report.push(group);
        if let Some(related) = &self.related {
            let note = Group::with_title(Level::NOTE.secondary_title(related.label.as_str()));
            report.push(add_place(note, &related.source, &related.span, None, AnnotationKind::Context));
        }
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        renderer.decor_style(DecorStyle::Ascii).render(&report)
    }
}

/// Shows the line alone, not the whole file: a list of a million domains must not make one error slow to print.
fn add_place<'a>(
    group: Group<'a>,
    source: &'a SourceFile,
    span: &Range<usize>,
    label: Option<&'a str>,
    kind: AnnotationKind,
) -> Group<'a> {
    if source.text.is_empty() {
        return group.element(Origin::path(&*source.path));
    }
    let line = source.line_around(span.start);
    let text = &source.text[line.clone()];
    let start = source.text.floor_char_boundary(span.start).saturating_sub(line.start).min(text.len());
    let end = source.text.ceil_char_boundary(span.end).saturating_sub(line.start).clamp(start, text.len());
    let mark = kind.span(start..end).label(label);
    let number = source.position(span.start).0;
    group.element(Snippet::source(text).path(&*source.path).line_start(number).annotation(mark))
}

/// One line, for a log: `path:line:column: field: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.position(self.span.start);
        write!(f, "{}:{line}:{column}: {}", self.source.path, self.title())?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests;
