//! The tables at the widths of terminals.

use super::*;

fn rows() -> Vec<AppRow> {
    let row = |id: &str, status, seen: Option<&str>| AppRow {
        id: id.into(),
        name: "Corp Files \u{202E}gnp".into(),
        suite: None,
        category: None,
        status,
        connected: seen.is_some(),
        available_controls: vec!["custom".into()],
        policies: vec!["p".into()],
        first_seen: seen.map(|t| t.parse().unwrap()),
        last_seen: seen.map(|t| t.parse().unwrap()),
        sessions: 12,
        users: 3,
        downloads_allowed: 4,
        downloads_blocked: 5,
    };
    vec![
        row("corp-files", AppStatus::Connected, Some("2026-03-04T05:06:07Z")),
        row("an-id-that-is-much-too-long-for-a-column", AppStatus::Waiting, None),
    ]
}

#[test]
fn the_table_fits_and_shows_nothing_that_moves_the_cursor() {
    for width in [Some(80), Some(120), Some(200), None] {
        let mut out = Vec::new();
        table(&rows(), Screen { width, colour: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{202E}'), "{text}");
        for line in text.lines() {
            let used = unicode_width::UnicodeWidthStr::width(line);
            assert!(width.is_none_or(|width| used <= width), "{width:?}: {used}\n{text}");
        }
        assert!(text.contains("connected") && text.contains("waiting"), "{text}");
        assert_eq!(text.contains("NAME"), width.is_none_or(|width| width >= NARROW), "{text}");
    }
}

#[test]
fn every_column_of_csv_is_in_the_row() {
    let row = serde_json::to_value(&rows()[0]).unwrap();
    for (name, pointer) in APP_COLUMNS {
        assert!(row.pointer(pointer).is_some(), "{name}");
    }
}
