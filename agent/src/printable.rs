//! Text made fit to be shown: nothing a client or origin sent may move a cursor, reorder a line or hide in it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Stands for each character that was taken out, so that a taken-out one is seen.
const REPLACEMENT: char = '\u{FFFD}';

/// The text with every character replaced that is not simply shown: controls (C0, C1, DEL), line and paragraph
/// separators, bidirectional marks, overrides and isolates, invisible characters, tags, unassigned for private use.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        text.chars().map(|c| if is_unsafe(c) { REPLACEMENT } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// JSON with the same characters escaped. Inside JSON they can only stand in strings, where the escape means the same.
pub fn clean_json(json: &str) -> Cow<'_, str> {
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

pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'
            | '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFF}')
}

#[cfg(test)]
mod tests {
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
}
