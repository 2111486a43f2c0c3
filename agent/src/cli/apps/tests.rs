//! The tables at the widths of terminals.

use super::*;

fn rows() -> Vec<AppRow> {
    let row = |id: &str, status, seen: Option<&str>| AppRow {
        id: id.into(),
        name: "Corp Files \u{202E}gnp".into(),
        suite: (id == "corp-files").then(|| "corp-and-its-suite".into()),
        category: Some("file-hosting".into()),
        status,
        connected: seen.is_some(),
        available_controls: vec!["block-downloads".into(), "monitor-only".into(), "custom".into()],
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
    for width in [Some(30), Some(56), Some(80), Some(120), Some(149), Some(150), Some(180), Some(200), None] {
        let mut out = Vec::new();
        table(&rows(), Screen { width, colour: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{202E}'), "{text}");
        for line in text.lines() {
            let used = unicode_width::UnicodeWidthStr::width(line);
            assert!(width.is_none_or(|width| used <= width), "{width:?}: {used}\n{text}");
        }
        if width.is_none_or(|width| width >= 80) {
            assert!(text.contains("connected") && text.contains("waiting"), "{text}");
        }
        let wide = |from: usize| width.is_none_or(|width| width >= from);
        assert_eq!(text.contains("SUITE") && text.contains("file-hosting"), wide(SHOWS_SUITE), "{text}");
        assert_eq!(text.contains("block-downloads monitor-only custom"), wide(SHOWS_CONTROLS), "{text}");
        let whole =
            text.contains("corp-and-its-suite") && text.contains("an-id-that-is-much-too-long-for-a-column");
        assert_eq!(whole, width.is_none(), "{text}");
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
