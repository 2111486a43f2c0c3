//! Header values and what browsers make of them: the fixture, every prefix of it, and arbitrary bytes.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/content_disposition.json");

/// Effect and name, as the fixture writes them.
type Expected = (String, Option<String>);

#[derive(Deserialize)]
struct Case {
    id: String,
    /// Each character is one octet.
    values: Vec<String>,
    download: bool,
    filename: Option<String>,
    chromium: Option<Expected>,
    gecko: Option<Expected>,
}

fn octets(value: &str) -> Vec<u8> {
    value.chars().map(|c| u8::try_from(c).expect("a character above U+00FF")).collect()
}

fn cases() -> Vec<(Case, Vec<Vec<u8>>)> {
    let cases: Vec<Case> = serde_json::from_str(FIXTURE).expect("fixture");
    assert!(cases.len() > 200, "only {} cases", cases.len());
    cases
        .into_iter()
        .map(|case| {
            let values = case.values.iter().map(|value| octets(value)).collect();
            (case, values)
        })
        .collect()
}

fn parse(values: &[Vec<u8>]) -> ContentDisposition {
    ContentDisposition::parse(values.iter().map(Vec::as_slice))
}

fn one(value: &str) -> ContentDisposition {
    ContentDisposition::parse([value.as_bytes()])
}

fn written(reading: &Reading) -> Expected {
    let effect = match reading.effect {
        Effect::Inline => "inline",
        Effect::Download => "download",
        Effect::Refuse => "refuse",
    };
    (effect.to_owned(), reading.filename.clone())
}

#[test]
fn every_case_of_the_fixture_agrees() {
    let mut wrong = Vec::new();
    for (case, values) in cases() {
        let found = parse(&values);
        let readings =
            [("chromium", &case.chromium, found.chromium()), ("gecko", &case.gecko, found.gecko())];
        for (who, expected, reading) in readings {
            if expected.as_ref().is_some_and(|e| *e != written(reading)) {
                wrong.push(format!("{} {who}: {:?}, want {expected:?}", case.id, written(reading)));
            }
        }
        if (found.is_download(), found.filename()) != (case.download, case.filename.as_deref()) {
            wrong.push(format!(
                "{}: {:?} {:?}, want {:?} {:?}",
                case.id,
                found.is_download(),
                found.filename(),
                case.download,
                case.filename
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_prefix_of_every_case_is_read_without_a_panic() {
    for (_, values) in cases() {
        for value in &values {
            for end in 0..=value.len() {
                fuzz_disposition(&value[..end]);
            }
        }
    }
}

#[test]
fn a_type_that_is_no_plain_inline_stays_a_download_whatever_follows() {
    let kinds =
        ["attachment", "ATTACHMENT", "form-data", "x", "\"inline\"", "in line", "inline\u{b}", "*", "@"];
    let tails = ["", ";", "; filename=a", "; inline", ";;", "; filename=\"", "; =", " ; filename*=x''y"];
    for kind in kinds {
        for tail in tails {
            assert!(one(&format!("{kind}{tail}")).is_download(), "{kind}{tail}");
        }
    }
    for tail in tails {
        assert!(!one(&format!("inline{tail}")).is_download(), "inline{tail}");
    }
}

#[test]
fn a_field_that_contradicts_another_makes_a_download() {
    let (inline, attachment): (&[u8], &[u8]) = (b"inline; filename=a", b"attachment; filename=b");
    for values in [vec![inline, attachment], vec![attachment, inline], vec![inline, b"inline"]] {
        let found = ContentDisposition::parse(values);
        assert!(found.is_download());
        assert!(found.complaints().contains(&Complaint::RepeatedField));
        assert!(found.complaints().contains(&Complaint::FieldsDiffer));
    }
}

#[test]
fn names_of_all_clients_are_reported_once_each() {
    let found = one("attachment; filename=plain.txt; filename*0=a; filename*1=.exe");
    assert_eq!(found.filename(), Some("plain.txt"), "Chromium knows no continuations");
    assert_eq!(found.other_filenames(), ["a.exe"]);
    assert!(found.complaints().contains(&Complaint::NamesDiffer));

    let found = one("attachment; filename=report.pdf; filename*=UTF-8''report.exe");
    assert_eq!(found.filename(), Some("report.exe"));
    assert_eq!(found.other_filenames(), ["report.pdf"], "clients without RFC 8187 save under this one");

    let found = one("attachment; filename=same.txt");
    assert!(found.other_filenames().is_empty());
    assert!(found.complaints().is_empty());
}

#[test]
fn no_field_is_no_download() {
    let found = ContentDisposition::parse([]);
    assert_eq!((found.kind(), found.is_download(), found.filename()), (DispositionType::Absent, false, None));
}

#[test]
fn many_fields_and_long_values_stay_bounded() {
    let fields: Vec<String> = (0..500).map(|n| format!("attachment; filename={n}")).collect();
    let found = ContentDisposition::parse(fields.iter().map(String::as_bytes));
    assert!(found.is_download());
    assert!(found.other_filenames().len() < MAX_NAMES);
    // Quadratic reading would take minutes here.
    let long = format!("attachment{}", "; filename*=x".repeat(100_000));
    assert!(one(&long).is_download());
    let long = format!("attachment; filename=\"{}\"", "=?utf-8?Q?a?= ".repeat(20_000));
    assert!(one(&long).is_download());
}

#[test]
fn shown_names_cannot_steer_or_leave() {
    let table = [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\Users\\x.doc", "C:_Users_x.doc"),
        ("a\r\nSet-Cookie: x.txt", "a__Set-Cookie: x.txt"),
        ("\u{1b}[31mred.txt", "_[31mred.txt"),
        ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
        ("\u{2066}a\u{2069}.txt", "_a_.txt"),
        ("run.exe\0.pdf", "run.exe_.pdf"),
        ("  spaced.txt ", "spaced.txt"),
        ("планы.pdf", "планы.pdf"),
        ("<b>\"&'.html", "<b>\"&'.html"),
        (".gitignore", ".gitignore"),
    ];
    for (name, shown) in table {
        assert_eq!(display_name(name).as_deref(), Some(shown), "{name:?}");
    }
    for nothing in ["", " ", ".", "..", " . "] {
        assert_eq!(display_name(nothing), None, "{nothing:?}");
    }
}

#[test]
fn long_names_keep_their_extension() {
    let shown = display_name(&format!("{}.docx", "é".repeat(400))).expect("a name");
    assert!(shown.len() <= MAX_DISPLAY_NAME && shown.len() > MAX_DISPLAY_NAME - 4);
    assert!(shown.ends_with("é.docx"));
    let shown = display_name(&"x".repeat(300)).expect("a name");
    assert_eq!(shown.len(), MAX_DISPLAY_NAME);
    let shown = display_name(&format!("a.{}", "x".repeat(300))).expect("a name");
    assert_eq!(shown.len(), MAX_DISPLAY_NAME);
}

#[test]
fn base64_is_exact() {
    // Text, its octets when padding is required, its octets when it is optional.
    let table = [
        ("", Some(""), Some("")),
        ("Zg==", Some("f"), Some("f")),
        ("Zm8=", Some("fo"), Some("fo")),
        ("Zm9v", Some("foo"), Some("foo")),
        ("Zm8", None, Some("fo")),
        ("Zm9vY", None, None),
        ("Zm9*", None, None),
    ];
    for (text, required, optional) in table {
        let decode = |padding| base64_decode(text.as_bytes(), padding);
        assert_eq!(decode(Padding::Required).as_deref(), required.map(str::as_bytes), "{text:?}");
        assert_eq!(decode(Padding::Optional).as_deref(), optional.map(str::as_bytes), "{text:?}");
    }
}

/// Bytes that look like the header often enough to reach the corners.
fn header_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"attachment".to_vec()),
        Just(b"inline".to_vec()),
        Just(b"filename".to_vec()),
        Just(b"filename*".to_vec()),
        Just(b"filename*0".to_vec()),
        Just(b"filename*1*".to_vec()),
        Just(b"UTF-8''".to_vec()),
        Just(b"=?utf-8?Q?".to_vec()),
        Just(b"=?iso-2022-jp?B?".to_vec()),
        Just(b"?=".to_vec()),
        Just(b"%E2%80%AE".to_vec()),
        "[;=,\"'\\\\%*? \t\r\n\0a0F/.]{1,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_disposition(&data);
    }

    #[test]
    fn header_like_bytes_are_read(data in header_like()) {
        fuzz_disposition(&data);
    }

    /// A download stays one when another field joins: a second field never hides the first.
    #[test]
    fn a_second_field_never_hides_an_attachment(other in header_like()) {
        let found = ContentDisposition::parse([&b"attachment; filename=a.txt"[..], &other]);
        prop_assert!(found.is_download());
        let found = ContentDisposition::parse([&other, &b"attachment; filename=a.txt"[..]]);
        prop_assert!(found.is_download());
    }

    #[test]
    fn shown_names_hold_their_promise(name in any::<String>()) {
        if let Some(shown) = display_name(&name) {
            prop_assert!(!shown.contains(display_name::is_unsafe) && shown.len() <= MAX_DISPLAY_NAME);
        }
    }
}
