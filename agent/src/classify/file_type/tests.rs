//! Types told from made files, whole and cut anywhere.

use std::io::Write;

use proptest::prelude::*;

use super::*;

/// How an entry's sizes are written.
#[derive(Clone, Copy, PartialEq)]
enum Sizes {
    InHeader,
    Behind,
}

/// Local headers and contents of an archive, deflated but for `mimetype`; the directory does not matter here.
fn archive(sizes: Sizes, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in entries {
        let stored = *name == "mimetype";
        let data = if stored {
            content.to_vec()
        } else {
            let mut to = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
            to.write_all(content).and_then(|()| to.finish()).unwrap()
        };
        let behind = sizes == Sizes::Behind && !stored;
        let told = if behind { 0 } else { u32::try_from(data.len()).unwrap() };
        out.extend(b"PK\x03\x04\x14\x00");
        out.extend(if behind { [8, 0] } else { [0, 0] });
        out.extend(if stored { [0, 0] } else { [8, 0] });
        out.extend([0; 8]);
        out.extend(told.to_le_bytes());
        out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        out.extend([0, 0]);
        out.extend(name.as_bytes());
        out.extend(data);
        if behind {
            out.extend(b"PK\x07\x08");
            out.extend([0; 12]);
        }
    }
    out
}

#[track_caller]
fn check(octets: &[u8], expected: &str) {
    assert_eq!(FileType::of(octets).name(), expected, "{:?}", &octets[..octets.len().min(40)]);
}

#[test]
fn office_files_are_told_from_archives() {
    let filler = vec![b'x'; 3000];
    let parts = |main: &str| format!("<Types><Override PartName=\"{main}\"/></Types>");
    for sizes in [Sizes::InHeader, Sizes::Behind] {
        let is = |entries: &[(&str, &[u8])], expected| check(&archive(sizes, entries), expected);
        is(&[("[Content_Types].xml", parts("/word/document.xml").as_bytes())], "docx");
        is(&[("[Content_Types].xml", parts("/xl/workbook.xml").as_bytes())], "xlsx");
        is(&[("[Content_Types].xml", parts("/ppt/presentation.xml").as_bytes())], "pptx");
        is(
            &[("[Content_Types].xml", b"<Types>"), ("_rels/.rels", b"r"), ("word/document.xml", b"d")],
            "docx",
        );
        is(
            &[("docProps/app.xml", &filler), ("docProps/core.xml", b"c"), ("xl/worksheets/sheet1.xml", b"s")],
            "xlsx",
        );
        is(&[("_rels/.rels", b"r"), ("docProps/app.xml", b"a")], "ooxml");
        is(&[("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", b"c")], "odt");
        is(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")], "ods");
        is(&[("mimetype", b"application/vnd.oasis.opendocument.presentation")], "odp");
        is(&[("mimetype", b"application/epub+zip")], "epub");
        is(&[("META-INF/", b""), ("META-INF/MANIFEST.MF", b"m"), ("A.class", b"c")], "jar");
        is(&[("AndroidManifest.xml", b"m")], "apk");
        is(&[("Payload/App.app/Info.plist", b"m")], "ipa");
        is(&[("Index/Document.iwa", b"m")], "iwork");
        is(&[("photos/a.jpg", &filler), ("word.txt", b"w")], "zip");
    }
    check(b"PK\x03\x04", "zip");
    check(b"PK\x05\x06\x00\x00", "zip");
}

#[test]
fn compound_files_are_told_by_their_streams() {
    let with = |name: &str| {
        let wide = name.bytes().flat_map(|b| [b, 0]);
        [ole::SIGNATURE, &[0; 504], &wide.collect::<Vec<u8>>()].concat()
    };
    check(&with("WordDocument"), "doc");
    check(&with("Workbook"), "xls");
    check(&with("PowerPoint Document"), "ppt");
    check(&with("__substg1.0_0037001F"), "msg");
    check(&with("EncryptedPackage"), "ooxml-encrypted");
    check(&with("Root Entry"), "ole");
    let installer = b"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";
    check(&[ole::SIGNATURE, &[0; 80], installer].concat(), "msi");
}

#[test]
fn signatures_tell_types_and_texts_are_no_files() {
    for (octets, expected) in [
        (&b"%PDF-1.7\n"[..], "pdf"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"\x00\x00\x00\x18ftypheic", "heic"),
        (b"\x00\x00\x00\x18ftypisom", "mp4"),
        (b"MZ\x90\x00\x03", "exe"),
        (b"\x7fELF\x02\x01", "elf"),
        (b"\xca\xfe\xba\xbe\x00\x00\x00\x02", "macho"),
        (b"\xca\xfe\xba\xbe\x00\x00\x00\x41", "class"),
        (b"#!/bin/sh\necho", "script"),
        (b"BZh91AY&SY\x00", "bz2"),
        (b"{\\rtf1\\ansi", "rtf"),
        (b"SQLite format 3\x00", "sqlite"),
        (b"\x1f\x8b\x08\x00", "gz"),
        (b"<!DOCTYPE html><p>", "html"),
        (b"<?xml version=\"1.0\"?>", "xml"),
        (b"name,card\nA,1\n", "txt"),
        (b"MZ is the signature of programs, they say", "txt"),
        (b"BMW builds cars", "txt"),
        (b"BZh", "txt"),
        (b"some\x01thing", "bin"),
        (b"", "txt"),
    ] {
        check(octets, expected);
    }
    check(&[&[b'a'; 257][..], b"ustar\x0000"].concat(), "tar");
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let mut names: Vec<_> = FileType::all().map(|known| known.name()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    for known in FileType::all() {
        assert!(!known.extensions().is_empty() && known.mime().contains('/'), "{known:?}");
        assert_eq!(FileType::from_name(known.name()), Some(known));
        assert!(FileGroup::ALL.iter().all(|group| group.name() != known.name()), "{known:?}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_of_some_type(begin in 0usize..8, octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let begins: [&[u8]; 8] = [
            b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"RIFF", b"MZ", b"\xca\xfe\xba\xbe", b"<", b"#!",
        ];
        let _ = FileType::of(&[begins[begin], &octets].concat());
    }

    /// What an archive is said to be does not turn into another kind when less of it is seen.
    #[test]
    fn a_cut_archive_is_the_same_or_less(cut in 0usize..2000) {
        let whole = archive(Sizes::Behind, &[
            ("docProps/app.xml", &[b'x'; 900]), ("docProps/core.xml", b"c"), ("xl/workbook.xml", b"s"),
        ]);
        let seen = FileType::of(&whole[..cut.min(whole.len())]).name();
        prop_assert!(["xlsx", "ooxml", "zip", "txt", "bin"].contains(&seen), "{}", seen);
    }
}
