//! Rules about what files really are, whatever name and media type they travel under.

use crate::classify::{Classification, FileGroup, FileType};

/// One entry of `files.types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeRule {
    /// `docx`
    Type(FileType),
    /// `archive`
    Group(FileGroup),
}

impl TypeRule {
    /// Every word that `types` takes.
    pub(super) fn choices() -> impl Iterator<Item = &'static str> {
        let types = FileType::all().map(|known| known.name());
        FileGroup::ALL.iter().map(|group| group.name()).chain(types)
    }

    /// The word in a policy's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Type(known) => known.name(),
            Self::Group(group) => group.name(),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let group = FileGroup::ALL.into_iter().find(|group| group.name() == text);
        group.map(Self::Group).or_else(|| FileType::from_name(text).map(Self::Type))
    }

    /// Where the content was not seen, media type and names say what the file is.
    pub(super) fn matches(self, class: &Classification) -> bool {
        match class.file_type {
            Some(known) => self.covers(&known),
            None => FileType::all().any(|known| self.covers(&known) && is_declared(class, &known)),
        }
    }

    fn covers(self, known: &FileType) -> bool {
        match self {
            Self::Type(wanted) => wanted == *known,
            Self::Group(group) => group == known.group(),
        }
    }
}

/// Whether the media type, or a name that some client might save under, is one of `known`.
fn is_declared(class: &Classification, known: &FileType) -> bool {
    let named = |name: &String| {
        let extension = name.trim_end_matches(['.', ' ']).rsplit_once('.').map(|(_, extension)| extension);
        extension
            .is_some_and(|extension| known.extensions().iter().any(|e| e.eq_ignore_ascii_case(extension)))
    };
    class.mime.as_deref() == Some(known.mime())
        || class.filename.iter().chain(&class.other_filenames).any(named)
}
