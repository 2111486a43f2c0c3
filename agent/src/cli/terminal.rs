//! Text for a terminal: nothing a client or origin sent may move the cursor, reorder the line or overflow its column.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for each character that was taken out, so that a taken-out one is seen.
const REPLACEMENT: char = '\u{FFFD}';

/// Where the output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns; absent when the output is no terminal and lines may be as long as they like.
    pub(super) width: Option<usize>,
    pub(super) colour: bool,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        /// Narrower than any real terminal; a smaller value is one that does not know.
        const NARROWEST: u16 = 20;
        if !stdout().is_terminal() {
            return Self { width: None, colour: false };
        }
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| width.0.max(NARROWEST));
        // https://no-color.org: set and not empty, whatever the value.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { width: Some(width.into()), colour: !refused && !dumb }
    }

    pub(super) fn paint(self, colour: Colour, text: &str) -> Cow<'_, str> {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8).into()
        } else {
            Cow::Owned(text.to_owned())
        }
    }
}

/// By their ECMA-48 numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// The text with every character replaced that is not simply shown: controls (C0, C1, DEL), line and paragraph
/// separators, bidirectional marks, overrides and isolates, invisible characters, tags, unassigned for private use.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        text.chars().map(|c| if is_unsafe(c) { REPLACEMENT } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// JSON with the same characters escaped. Inside JSON they can only stand in strings, where the escape means the same.
pub(super) fn clean_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_unsafe) {
        return json.into();
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'
            | '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFF}')
}

/// Cleaned, and exactly `width` columns wide: cut with an ellipsis or filled with blanks.
pub(super) fn column(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    let used = fitted.width();
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    fitted
}

/// Cleaned, and at most `width` columns wide.
pub(super) fn cut(text: &str, width: usize) -> String {
    let text = clean(text);
    if text.width() <= width {
        return text.into_owned();
    }
    let (mut fitted, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        fitted.push(c);
        used += wide;
    }
    if width > 0 {
        fitted.push('…');
    }
    fitted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_forge_or_hide_output_is_replaced() {
        assert_eq!(clean("report.pdf"), "report.pdf");
        assert_eq!(clean("ärger 文件.pdf"), "ärger 文件.pdf");
        assert_eq!(clean("a\x1b[2Jb\r\nc\td\u{9b}e"), "a�[2Jb��c�d�e");
        assert_eq!(clean("invoice\u{202E}fdp.exe\u{2066}x\u{2069}"), "invoice�fdp.exe�x�");
        assert_eq!(clean("a\u{200B}b\u{FEFF}c\u{E0041}"), "a�b�c�");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"name": "a\u{202E}b\u{9b}c\u{E0041}d\ne", "plain": "ä"});
        let text = serde_json::to_string(&value).unwrap();
        let safe = clean_json(&text);
        assert!(!safe.chars().any(is_unsafe) && safe.contains("\\u202e") && safe.contains('ä'), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn columns_are_as_wide_as_they_say() {
        assert_eq!(column("ab", 4), "ab  ");
        assert_eq!(column("abcdef", 4), "abc…");
        assert_eq!(column("文件文件", 4), "文… ");
        assert_eq!(cut("文件文件", 4), "文…");
        assert_eq!(column("x", 0), "");
    }

    proptest! {
        #[test]
        fn any_text_fits_its_column(text in any::<String>(), width in 0..40_usize) {
            prop_assert_eq!(column(&text, width).width(), width);
            prop_assert!(!column(&text, width).chars().any(is_unsafe));
        }
    }
}
