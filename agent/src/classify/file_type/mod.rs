//! The true type of a file: what its first octets say it is, whatever name and media type it travels under.

mod ole;
mod signature;
mod table;
#[cfg(test)]
mod tests;
mod zip;

use super::sniff;
use crate::zip::LOCAL_HEADER;

/// A type of file that is told by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType {
    name: &'static str,
    mime: &'static str,
    group: FileGroup,
    extensions: &'static [&'static str],
}

/// What kinds of file have in common, as policies name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileGroup {
    /// What people write and read: office files, PDF, books, mail boxes, drawings.
    Document,
    Archive,
    Program,
    Database,
    Image,
    Media,
    Text,
    /// Parts of pages that nobody keeps (fonts, WebAssembly), and octets that say nothing.
    Other,
}

impl FileGroup {
    pub const ALL: [FileGroup; 8] = [
        Self::Document,
        Self::Archive,
        Self::Program,
        Self::Database,
        Self::Image,
        Self::Media,
        Self::Text,
        Self::Other,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Archive => "archive",
            Self::Program => "program",
            Self::Database => "database",
            Self::Image => "image",
            Self::Media => "media",
            Self::Text => "text",
            Self::Other => "other",
        }
    }
}

impl FileType {
    /// Tells the type from the first octets of a file, content codings undone. The more of them, the surer: a ZIP
    /// archive is told from an Office file within the first entries, an old Office file from another where its
    /// directory is among them. Never fails: text is `txt`, anything else `bin`.
    pub fn of(octets: &[u8]) -> Self {
        if octets.starts_with(LOCAL_HEADER) {
            return zip::of(octets);
        }
        if octets.starts_with(ole::SIGNATURE) {
            return ole::of(octets);
        }
        if let Some(known) = signature::of(octets) {
            return known;
        }
        match sniff::markup(octets) {
            Some("text/html") => table::HTML,
            Some(_) => table::XML,
            None if sniff::is_binary(octets) => table::BINARY,
            None => table::TEXT,
        }
    }

    /// The type's name in policies and records: its usual extension.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Media type essence.
    pub const fn mime(&self) -> &'static str {
        self.mime
    }

    pub const fn group(&self) -> FileGroup {
        self.group
    }

    /// Extensions under which files of this type are kept, lower case, without the dot.
    pub const fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    /// Every type that can be told.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ALL.iter().copied()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|known| known.name == name)
    }

    /// Whether the content contradicts any other name or media type: text has no form of its own, so nothing speaks
    /// against a CSV file that looks like text.
    pub const fn is_definite(&self) -> bool {
        !matches!(self.group, FileGroup::Text | FileGroup::Other)
    }

    /// Whether this is something people keep, where pages and programs exchange data. Compressed streams are left
    /// out: map tiles and logs are exchanged so.
    pub(super) fn is_kept(&self) -> bool {
        let group = self.group;
        use FileGroup::{Archive, Database, Document, Program};
        matches!(group, Document | Archive | Program | Database) && !table::STREAMS.contains(self)
    }
}
