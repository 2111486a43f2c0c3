//! What a reader sees of a diagnostic.
use super::*;

const TEXT: &str = "[steering]\nmode = \"hots\"\nports = [443]\n";

fn sample() -> Diagnostic {
    let source = SourceFile::new("/etc/portcullis/portcullis.toml", TEXT);
    Diagnostic::new(&source, 18..24, "unknown value \"hots\"")
        .field("steering.mode")
        .label("not a mode")
        .help("did you mean `host`?")
}

#[test]
fn a_diagnostic_knows_line_and_column() {
    let diagnostic = sample();
    assert_eq!((diagnostic.line(), diagnostic.column()), (2, 8));
    let source = SourceFile::new("f", "ä = 1\nöö = 2");
    assert_eq!(source.position(9), (2, 2), "columns count characters, offset 9 lies within the second ö");
    assert_eq!(source.position(10_000), (2, 7));
}

#[test]
fn the_plain_form_names_the_place_shows_the_line_and_the_remedy() {
    let text = sample().render(Style::Plain);
    for part in [
        "error: `steering.mode`: unknown value \"hots\"",
        "--> /etc/portcullis/portcullis.toml:2:8",
        "2 | mode = \"hots\"",
        "^^^^^^ not a mode",
        "help: did you mean `host`?",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
    assert!(!text.contains("ports"), "other lines are not shown:\n{text}");
}

#[test]
fn the_coloured_form_is_the_plain_form_with_escapes() {
    let coloured = sample().render(Style::Coloured);
    assert!(coloured.contains('\u{1b}'));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        stripped.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    stripped.push_str(rest);
    assert_eq!(stripped, sample().render(Style::Plain));
}

#[test]
fn a_related_place_in_another_file_is_shown() {
    let other = SourceFile::new("policies.d/10-a.toml", "[[policy]]\nname = \"A\"\n");
    let text = sample().related(&other, 18..21, "the name was taken here").render(Style::Plain);
    assert!(text.contains("note: the name was taken here"), "{text}");
    assert!(text.contains("policies.d/10-a.toml:2:8"), "{text}");
}

#[test]
fn one_line_for_the_log() {
    assert_eq!(
        sample().to_string(),
        "/etc/portcullis/portcullis.toml:2:8: `steering.mode`: unknown value \"hots\" (did you mean `host`?)"
    );
}

#[test]
fn a_whole_file_needs_no_text() {
    let text =
        Diagnostic::whole_file("apps.d/x.toml", "cannot be read: permission denied").render(Style::Plain);
    assert!(text.contains("cannot be read") && text.contains("apps.d/x.toml"), "{text}");
}

#[test]
fn spans_outside_the_text_or_within_a_character_are_harmless() {
    let source = SourceFile::new("f", "ä\nb\u{1b}[31m\r\n");
    for start in 0..14 {
        for end in 0..16 {
            let diagnostic = Diagnostic::new(&source, start..end, "m").label("l");
            assert!(diagnostic.render(Style::Plain).contains("f:"));
            assert!(
                !diagnostic.render(Style::Plain).contains('\u{1b}'),
                "the file must not steer the terminal"
            );
        }
    }
}
