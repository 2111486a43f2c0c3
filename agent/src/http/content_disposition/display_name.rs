//! File names made safe to show and to keep: in a block page, a terminal, a log line, a record.

use std::borrow::Cow;

/// Length bound of a shown name in bytes: what common file systems hold.
pub const MAX_DISPLAY_NAME: usize = 255;

/// An extension up to this many bytes, dot included, survives shortening.
const MAX_KEPT_EXTENSION: usize = 16;

/// Characters that can break out of a line, steer a terminal, leave a directory, or make text read in another order than
/// it is stored.
pub(super) fn is_unsafe(c: char) -> bool {
    matches!(c, '/' | '\\') || steers(c)
}

/// Control characters, bidirectional controls, invisible characters without meaning in a name.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200B}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'
                | '\u{2066}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

/// Whether every character is one of ASCII that is safe, as in most names.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'/' | b'\\'))
}

/// The name with every unsafe character replaced by `_`, without blanks and quotes of nothing around it, shortened in
/// front of its extension. `None` when nothing is left to show.
pub fn display_name(name: &str) -> Option<String> {
    let safe = if is_plain(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect())
    };
    let shown = shortened(safe.trim());
    let dots_only = shown.chars().all(|c| c == '.');
    (!dots_only).then_some(shown)
}

/// Any text with the characters replaced that could steer a terminal or reorder a line; path separators stay.
pub fn display_text(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '_' } else { c }).collect()
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_DISPLAY_NAME {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|&dot| name.len() - dot <= MAX_KEPT_EXTENSION);
    let (stem, extension) = dot.and_then(|dot| name.split_at_checked(dot)).unwrap_or((name, ""));
    let mut room = MAX_DISPLAY_NAME - extension.len();
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    let stem = stem.get(..room).unwrap_or_default().trim_end();
    format!("{stem}{extension}")
}
