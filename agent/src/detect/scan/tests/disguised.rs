//! Bodies that claim what they are not, or say in an unusual way what they are: nothing is hidden by it.

use super::super::*;
use super::{cards, coded, gzip, whole};
use crate::detect::Detector;

const CARD: &str = "4242424242424242";

/// Found, and why not all of it was read.
#[track_caller]
fn found(content_type: &str, octets: impl AsRef<[u8]>, unscanned: Option<Unscanned>) {
    let scan = whole(content_type, octets.as_ref());
    assert_eq!((scan.counts.of(Detector::CreditCard), scan.unscanned), (1, unscanned));
}

fn passwords(content_type: &str, text: &str) -> u32 {
    whole(content_type, text.as_bytes()).counts.of(Detector::Password)
}

#[test]
fn a_boundary_that_does_not_occur_and_what_stands_around_parts() {
    let broken = Some(Unscanned::Broken);
    found("multipart/mixed; boundary=zz", format!("card {CARD}"), broken);
    found("multipart/mixed; boundary=zz", r#"{"a":"\u0034242424242424242"}"#, broken);
    found("multipart/form-data; boundary=", format!("card {CARD}"), broken);
    cards("multipart/mixed; boundary=b", format!("card {CARD}\r\n--b\r\n\r\nx\r\n--b--"), 1);
    cards("multipart/mixed; boundary=b", format!("--b\r\n\r\nx\r\n--b--\r\ncard {CARD}"), 1);
    let many = format!("{}--b\r\n\r\n{CARD}\r\n--b--", "--b\r\n\r\nx\r\n".repeat(MAX_PARTS + 2));
    found("multipart/mixed; boundary=b", many, Some(Unscanned::TooLarge));
}

#[test]
fn tags_without_attributes_and_tags_without_end() {
    for text in ["<a\n{}\n", "<a {}", "<x {}>", "</x {}>", "<?x {}?>", "<!-- {}", "<a title='>{}", "</{}>"] {
        for content_type in ["text/html", "text/plain", "application/octet-stream", "application/xml"] {
            cards(content_type, text.replace("{}", CARD), 1);
        }
    }
    let long = format!("<a {} {CARD}", "x ".repeat(100_000));
    cards("text/plain", long, 1);
}

#[test]
fn a_coding_that_is_only_claimed() {
    let plain = format!("card {CARD}");
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, br", "x-gzip"] {
        let scan = coded(coding, plain.as_bytes(), true);
        assert_eq!(scan.counts.of(Detector::CreditCard), 1, "{coding}");
        assert!(scan.unscanned.is_some(), "{coding}");
        let cut = coded(coding, plain.as_bytes(), false);
        assert_eq!(cut.counts.of(Detector::CreditCard), 1, "{coding}");
    }
    let json = coded("gzip", br#"{"a":"4242\u00a04242\u00a04242\u00a04242"}"#, true);
    assert_eq!(json.counts.of(Detector::CreditCard), 1);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut zlib, b"x").unwrap();
    for (coding, start) in [("gzip", gzip(b"x")), ("deflate", zlib.finish().unwrap())] {
        let behind = [start, plain.clone().into_bytes()].concat();
        assert_eq!(coded(coding, &behind, true).counts.of(Detector::CreditCard), 1, "behind {coding}");
    }
    // What is seen both ways counts once.
    let stored = flate2::Compression::none();
    let mut stored = flate2::write::GzEncoder::new(Vec::new(), stored);
    std::io::Write::write_all(&mut stored, plain.as_bytes()).unwrap();
    assert_eq!(coded("gzip", &stored.finish().unwrap(), true).counts.of(Detector::CreditCard), 1);
}

fn sixteen(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn charsets_that_lie_and_charsets_that_hold() {
    for charset in ["utf-16le", "utf-16be", "hz-gb-2312", "iso-2022-jp", "windows-1252", "nonsense"] {
        for kind in ["text/plain", "text/html", "application/json"] {
            cards(&format!("{kind}; charset={charset}"), format!("card {CARD} x"), 1);
        }
    }
    cards("text/plain", [b"\xff\xfecard ".as_slice(), CARD.as_bytes()].concat(), 1);
    let spaced = b"4242\xa04242\x964242";
    assert_eq!(whole("text/plain", spaced), Scan::default());
    cards("text/plain; charset=iso-8859-1", b"4242\xa04242\xa04242\xa04242", 1);
    cards("text/plain; charset=windows-1252", b"4242\x964242\x964242\x964242", 1);
    cards("text/html; charset=\"windows-1252\"", b"<p>4242\xa04242\xa04242\xa04242", 1);
    let texts = [
        ("application/json", format!("{{\"a\":\"{CARD}\"}}")),
        ("application/json", r#"{"a":"4242\u00a04242\u00a04242\u00a04242"}"#.to_owned()),
        ("application/vnd.api+json", format!("[\"{CARD}\"]")),
        ("text/html", "<p>4242&nbsp;4242&nbsp;4242&nbsp;4242</p>".to_owned()),
        ("application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?><p>{CARD}</p>")),
        ("text/csv", format!("name;number\nA;{CARD}\n")),
    ];
    for (kind, text) in texts {
        cards(kind, sixteen(&format!("\u{FEFF}{text}")), 1);
        cards(kind, sixteen(&text), 1);
        cards(&format!("{kind}; charset=utf-16le"), sixteen(&text), 1);
    }
}

#[test]
fn what_begins_like_an_archive() {
    let broken = Some(Unscanned::Broken);
    found("text/plain", format!("PK\x03\x04card {CARD}"), broken);
    cards("text/plain", format!("PK\x03\x04{}card {CARD}", "\0".repeat(26)), 1);
    // In the name of a header, and in its extra field.
    for lengths in ["\x15\0\0\0", "\0\0\x15\0"] {
        cards("application/zip", format!("PK\x03\x04{}{lengths}card {CARD}", "\0".repeat(22)), 1);
    }
    let encrypted = format!("PK\x03\x04\x14\0\x01\0{}card {CARD}", "\0".repeat(22));
    found("application/zip", encrypted, Some(Unscanned::Format));
    let broken_deflate = format!("PK\x03\x04\x14\0\0\0\x08\0{}\u{7}card {CARD}", "\0".repeat(20));
    found("application/zip", broken_deflate, broken);
    // A name stands in its header and in the directory, and counts once.
    let name = format!("{CARD}.txt");
    let header = format!("PK\x03\x04{}\x14\0\0\0{name}", "\0".repeat(22));
    let entry = format!("PK\x01\x02{}\x14\0\0\0\x02\0{}{name}--", "\0".repeat(24), "\0".repeat(12));
    cards("application/zip", format!("{header}{entry}{entry}PK\x05\x06"), 1);
    cards("application/zip", format!("{}{entry}PK\x05\x06", header.replace(CARD, "aaaaaaaaaaaaaaaa")), 1);
}

#[test]
fn fields_of_a_form_are_told_by_their_names() {
    let field = |head: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n--b--\r\n")
    };
    let form = "multipart/form-data; boundary=b";
    assert_eq!(passwords(form, &field("name=\"password\"", "Tr0ub4dor&3xyz")), 1);
    assert_eq!(passwords(form, &field("name=\"note\"", "Tr0ub4dor&3xyz")), 0);
    assert_eq!(passwords(form, &field("name=\"password\"; filename=\"a.txt\"", "Tr0ub4dor&3xyz")), 0);
    cards(form, field("name=\"n\"", CARD), 1);
}

#[test]
fn markup_and_json_within_strings() {
    let json = "application/json";
    cards(json, r#"{"content":"<p>4242&nbsp;4242&nbsp;4242&nbsp;4242</p>"}"#, 1);
    cards(json, r#"{"content":"\u003cp\u003e4242\u003cb\u003e4242\u003c/b\u003e42424242\u003c/p\u003e"}"#, 1);
    cards(json, r#"{"content":"4242<b>4242</b>42424242"}"#, 1);
    cards(json, r#"{"content":"4242&#160;4242&#160;4242&#160;4242"}"#, 1);
    cards(json, r#"{"content":"<a title='4242424242424242'>x</a>","more":"4242424242424242"}"#, 2);
    cards(json, r#"{"p":"{\"a\":\"4242\\u00a04242\\u00a04242\\u00a04242\"}"}"#, 1);
    let escaped = r#""payload={\"text\":\"4242\\u00a04242\\u00a04242\\u00a04242\"}""#;
    cards(json, escaped, 0);
    let form = "application/x-www-form-urlencoded";
    cards(form, "t=1&payload=%7B%22text%22%3A%224242%5Cu00a04242%5Cu00a04242%5Cu00a04242%22%7D&x=2", 1);
    cards(form, "body=%3Cp%3E4242%26nbsp%3B4242%26nbsp%3B4242%26nbsp%3B4242%3C%2Fp%3E", 1);
    // What only looks like markup stays what it is.
    assert_eq!(passwords(json, r#"{"password":"Tr0ub<4dor&3"}"#), 1);
    assert_eq!(passwords(json, r#"{"password":"a&b;Tr0ub4dor"}"#), 1);
    cards(json, r#"{"label":"SSN <b>and</b> card","value":"4242424242424242"}"#, 1);
    let ssn = whole(json, br#"{"label":"<b>SSN</b>","value":"536904399"}"#);
    assert_eq!(ssn.counts.of(Detector::UsSsn), 1);
}

#[test]
fn mail_is_read_by_its_encodings() {
    let quoted = "card 4242=204242=\r\n=204242=\n=204242\r\n";
    let base64 = "Y2FyZCA0MjQyNDI0MjQyNDI0MjQy\r\n";
    for (coding, body) in [("quoted-printable", quoted), ("base64", base64)] {
        let head =
            format!("Content-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: {coding}");
        let mail = format!("Subject: x\r\n{head}\r\n\r\n{body}");
        cards("message/rfc822", &mail, 1);
        let parts = format!("--b\r\n{head}\r\n\r\n{body}\r\n--b--");
        cards("multipart/mixed; boundary=b", &parts, 1);
        let folded = "Content-Type: multipart/mixed;\r\n\tboundary=\"b\"";
        cards("message/rfc822", format!("Subject: x\r\n{folded}\r\n\r\n{parts}"), 1);
    }
    let lie = |text: &str| format!("Content-Transfer-Encoding: base64\r\n\r\n{text} {CARD}");
    found("message/rfc822", lie("card:"), Some(Unscanned::Broken));
    found("message/rfc822", lie("card"), None);
}

#[test]
fn characters_by_their_names() {
    for blank in
        ["&ensp;", "&emsp;", "&thinsp;", "&shy;", "&hyphen;", "&#8203;", "&#xad;", "<text:s/>", "&ndash;"]
    {
        cards("text/html", format!("<p>{}", ["4242"; 4].join(blank)), 1);
    }
    cards("image/svg+xml", "<svg><text>4242<tspan>4242</tspan>42424242</text></svg>", 1);
}
