//! Text for a terminal: cleaned, in columns that nothing overflows, in colours where there are any.

use std::borrow::Cow;
use std::io::{IsTerminal, stdout};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(super) use crate::printable::{clean, clean_json};

/// A number and what it counts.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

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
    use crate::printable::is_unsafe;

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
