//! The same finding in every wrapping, and what is said of a body that cannot be read.

mod disguised;
mod packed;

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;
use crate::detect::Detector;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn whole(content_type: &str, octets: &[u8]) -> Scan {
    scan(&fields(&[("Content-Type", content_type)]), Held { octets, complete: true })
}

#[track_caller]
fn cards(content_type: &str, octets: impl AsRef<[u8]>, count: u32) {
    let found = whole(content_type, octets.as_ref());
    assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (count, None));
}

#[test]
fn text_and_tables_are_read_as_they_lie() {
    cards("text/plain", "4242 4242 4242 4242", 1);
    cards("text/csv", "id,pan\n1,4242424242424242\n2,5555555555554444\n", 2);
    cards("", "4242424242424242", 1);
    cards("image/png", "4242424242424242", 1);
    cards("application/octet-stream", b"\x00\x01\xff 4242424242424242 \x00", 1);
    let sixteen: Vec<u8> = "\u{FEFF}4242424242424242".encode_utf16().flat_map(u16::to_le_bytes).collect();
    cards("text/plain", &sixteen, 1);
    cards("text/plain; charset=UTF-16LE", &sixteen[2..], 1);
}

#[test]
fn escapes_of_json_are_undone() {
    cards("application/json", r#"{"text":"4242\u00204242\u00a042424242"}"#, 0);
    cards("application/json", r#"{"text":"4242\u00204242\u00a04242\u00204242"}"#, 1);
    cards("application/vnd.api+json; charset=utf-8", r#"{"a":"\u0034242424242424242"}"#, 1);
    cards("", r#"  ["4242\u002d4242\u002d4242\u002d4242"]"#, 1);
    let found = whole("application/json", br#"{"body":"{\"password\":\"Tr0ub4dor\"}"}"#);
    assert_eq!(found.counts.of(Detector::Password), 1);
    // Half an escape, half a pair of surrogates, an escape at the end.
    for broken in [r#"{"a":"\u00"#, r#"{"a":"\ud83d x"}"#, r#"{"a":"\"#, r#"{"a":"\uzzzz"}"#] {
        assert_eq!(whole("application/json", broken.as_bytes()), Scan::default());
    }
}

#[test]
fn forms_are_decoded() {
    let form = "application/x-www-form-urlencoded";
    cards(form, "a=1&card=4242+4242+4242+4242&b=2", 1);
    cards(form, format!("card=%34%32{}", "42".repeat(7)), 1);
    cards(form, format!("card=%34%32{}", "42".repeat(8)), 0);
    cards(form, "card=4242%204242%204242%204242%", 1);
    assert_eq!(whole(form, b"user=bob&password=Tr0ub4dor%263").counts.of(Detector::Password), 1);
}

#[test]
fn pages_are_read_as_they_are_seen_and_as_they_are_written() {
    cards("text/html", "<p>4242 <b>4242</b> 4242 <i class='x'>4242</i></p>", 1);
    cards("text/html", "<td>4242</td><td>4242</td><td>4242</td><td>4242</td>", 0);
    cards("text/html", "<input name=pan value='4242424242424242'>", 1);
    cards("text/html", "<!-- 4242424242424242 --><p>&#52;242&nbsp;4242&#xa0;4242 4242", 2);
    cards("image/svg+xml", "<svg><text>4242424242424242</text></svg>", 1);
    cards("text/html", "1 < 2 & 4242424242424242 <", 1);
    cards("text/html", "<a title=\"it's 4242424242424242", 1);
}

#[test]
fn parts_are_read_by_their_own_types() {
    let body = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n4242 4242 4242 4242\r\n\
                --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n\
                {\"x\":\"4242\\u00204242\\u00204242\\u00204242\"}\r\n\
                --b\r\nContent-Transfer-Encoding: base64\r\n\r\nNDI0MjQyNDI0MjQy\r\nNDI0Mg==\r\n\
                --b\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\n5555555555554444\r\n--inner--\r\n\
                --b--\r\nepilogue";
    cards("multipart/form-data; boundary=b", body, 4);
    cards("multipart/mixed; charset=utf-8; boundary=\"b\"", body, 4);
    // Without a boundary, or with too many parts in parts, it is looked at as it lies, and said.
    let found = whole("multipart/form-data", b"4242424242424242");
    assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (1, Some(Unscanned::Broken)));
    let many = "--b\r\n\r\nx\r\n".repeat(MAX_PARTS + 2);
    assert_eq!(
        whole("multipart/form-data; boundary=b", many.as_bytes()).unscanned,
        Some(Unscanned::TooLarge)
    );
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::new(6));
    to.write_all(plain).and_then(|()| to.finish()).unwrap()
}

fn coded(coding: &str, octets: &[u8], complete: bool) -> Scan {
    scan(&fields(&[("Content-Encoding", coding)]), Held { octets, complete })
}

#[test]
fn content_codings_are_undone() {
    let plain = b"pay with 4242424242424242 please";
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
    let zlib = zlib.write_all(plain).and_then(|()| zlib.finish()).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::new(6));
    let bare = bare.write_all(plain).and_then(|()| bare.finish()).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    // A stream of RFC 7932: one uncompressed meta-block of 16 octets, then the end.
    let brotli = [b"\x8b\x07\x80".as_slice(), b"4242424242424242", b"\x03"].concat();
    let twice = gzip(&zstd);
    for (coding, octets) in [
        ("gzip", &gzip(plain)),
        ("x-gzip", &gzip(plain)),
        ("deflate", &zlib),
        ("Deflate", &bare),
        ("zstd", &zstd),
        ("br", &brotli),
        ("zstd, gzip", &twice),
        ("identity", &plain.to_vec()),
    ] {
        let found = coded(coding, octets, true);
        assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (1, None), "{coding}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let packed = gzip(b"4242424242424242");
    assert_eq!(coded("compress", b"4242424242424242", true).unscanned, Some(Unscanned::UnknownCoding));
    assert_eq!(coded("compress", b"4242424242424242", true).counts.of(Detector::CreditCard), 1);
    assert_eq!(coded("gzip", b"4242424242424242", true).unscanned, Some(Unscanned::Broken));
    assert_eq!(coded("gzip", &packed[..packed.len() - 9], true).unscanned, Some(Unscanned::Broken));
    assert_eq!(coded("gzip", &packed[..packed.len() - 9], false).unscanned, Some(Unscanned::TooLarge));
    assert_eq!(coded("gzip, gzip, gzip, gzip", &packed, true).unscanned, Some(Unscanned::Broken));
    assert_eq!(
        whole("application/zip", b"PK\x03\x04...").unscanned,
        Some(Unscanned::Broken),
        "a header that is none"
    );
    assert_eq!(whole("text/plain", b"%PDF-1.7").unscanned, Some(Unscanned::Format));
    let held = Held { octets: b"4242424242424242", complete: false };
    let found = scan(&Fields::new(), held);
    assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (1, Some(Unscanned::TooLarge)));
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let bomb = gzip(&vec![b' '; MAX_DECODED + 100]);
    assert!(bomb.len() < 20_000);
    assert_eq!(coded("gzip", &bomb, true).unscanned, Some(Unscanned::TooLarge));
    assert_eq!(coded("gzip", &gzip(&vec![b' '; MAX_DECODED]), true).unscanned, None);
}
