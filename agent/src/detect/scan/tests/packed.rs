//! Archives, Office files and content in base64.

use super::super::*;
use super::{cards, whole};
use crate::detect::Detector;

const CARD: &str = "4242424242424242";

/// An entry as writers make it: `behind`, its sizes stand behind the content.
fn entry(name: &str, method: u16, flags: u16, content: &[u8], behind: bool) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let said = if behind { [0; 4] } else { size };
    let flags = flags | u16::from(behind) << 3;
    let mut out = b"PK\x03\x04\x14\x00".to_vec();
    out.extend(flags.to_le_bytes());
    out.extend(method.to_le_bytes());
    // Time, date, sum: readers of text need none.
    out.extend([0; 8]);
    out.extend(said);
    out.extend([0; 4]);
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend([4, 0]);
    out.extend(name.as_bytes());
    out.extend(b"\xfe\xca\0\0");
    out.extend(content);
    if behind {
        out.extend(b"PK\x07\x08\0\0\0\0");
        out.extend(size);
        out.extend([0; 4]);
    }
    out
}

fn deflate(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut to = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    to.write_all(content).and_then(|()| to.finish()).unwrap()
}

fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
    let packed = entries.iter().flat_map(|(name, text)| entry(name, 8, 0, &deflate(text.as_bytes()), false));
    packed.chain(*b"PK\x05\x06\0\0\0\0").collect()
}

#[test]
fn entries_of_archives_are_read() {
    let content = format!("id,pan\n1,{CARD}\n");
    for behind in [false, true] {
        cards("application/zip", entry("a.csv", 8, 0, &deflate(content.as_bytes()), behind), 1);
        cards("application/zip", entry("a.csv", 0, 0, content.as_bytes(), behind), 1);
        let both = [
            entry("a.csv", 8, 0, &deflate(content.as_bytes()), behind),
            entry("b.csv", 0, 0, content.as_bytes(), behind),
            entry("c.csv", 8, 0, &deflate(content.as_bytes()), behind),
        ];
        cards("application/octet-stream", both.concat(), 3);
    }
    // What is claimed of it hides nothing.
    cards("text/html", zip(&[("a.txt", CARD)]), 1);
    cards("application/json", zip(&[("a.json", "{\"a\":\"\\u0034242424242424242\"}")]), 1);
    cards("", zip(&[("empty", ""), ("a", CARD)]), 1);
}

#[test]
fn archives_in_archives_are_read_so_deep() {
    let mut nested = zip(&[("a.txt", CARD)]);
    for _ in 0..2 {
        nested = entry("inner.zip", 0, 0, &nested, false);
        cards("application/zip", &nested, 1);
    }
    let deep = (0..3).fold(nested, |nested, _| entry("inner.zip", 8, 0, &deflate(&nested), false));
    let found = whole("application/zip", &deep);
    assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (0, Some(Unscanned::Format)));
}

#[test]
fn a_header_within_stored_content_is_followed() {
    let hidden = entry("a.txt", 8, 0, &deflate(CARD.as_bytes()), false);
    let content = [b"x".as_slice(), &hidden].concat();
    cards("application/zip", entry("picture.bin", 0, 0, &content, false), 1);
}

/// The text of a run may be cut wherever its looks or its history change.
#[test]
fn text_of_office_files_is_read_across_runs() {
    let word = "<?xml version=\"1.0\"?><w:document xmlns:w=\"x\"><w:body><w:p w:rsidR=\"00A1\"><w:r><w:t>4242 </w:t></w:r>\
        <w:proofErr w:type=\"spellStart\"/><w:r w:rsidRPr=\"00B2\"><w:rPr><w:b/><w:sz w:val=\"24\"/></w:rPr>\
        <w:t xml:space=\"preserve\">4242 4242</w:t></w:r><w:r><w:t> 4242</w:t></w:r></w:p>\
        <w:p><w:r><w:t>4242</w:t></w:r></w:p><w:p><w:r><w:t>4242 4242 4242</w:t></w:r></w:p></w:body></w:document>";
    cards(
        "application/octet-stream",
        zip(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", word)]),
        1,
    );
    let table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>4242</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r>\
        <w:t>424242424242</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
    cards("", zip(&[("word/document.xml", table)]), 0);
    let strings = "<?xml version=\"1.0\"?><sst><si><t>4242424242424242</t></si><si><r><rPr><sz val=\"11\"/>\
        <color theme=\"1\"/><rFont val=\"Calibri\"/></rPr><t>5555 5555 </t></r><r><rPr><b/></rPr><t>5555 4444</t></r></si>\
        <si><t>4242</t></si><si><t>424242424242</t></si></sst>";
    cards("", zip(&[("xl/sharedStrings.xml", strings)]), 2);
    let sheet = "<sheetData><row r=\"1\"><c r=\"A1\"><v>4242</v></c><c r=\"B1\"><v>424242424242</v></c></row>\
        <row><c r=\"A2\" t=\"inlineStr\"><is><t>4242424242424242</t></is></c></row></sheetData>";
    cards("", zip(&[("xl/worksheets/sheet1.xml", sheet)]), 1);
    let slide = "<p:txBody><a:p><a:r><a:rPr lang=\"en\"><a:solidFill><a:srgbClr val=\"FF0000\"/></a:solidFill></a:rPr>\
        <a:t>4242 4242 </a:t></a:r><a:r><a:t>4242 4242</a:t></a:r></a:p><a:p><a:r><a:t>4242</a:t></a:r></a:p></p:txBody>";
    cards("", zip(&[("ppt/slides/slide1.xml", slide)]), 1);
    let text = "<office:text><text:p>4242 <text:span text:style-name=\"T1\">4242</text:span> 4242 4242</text:p></office:text>";
    cards("", zip(&[("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", text)]), 1);
}

#[test]
fn what_of_an_archive_cannot_be_read_is_said() {
    let says = |octets: &[u8], complete, why| {
        let fields = Fields::new();
        let found = scan(&fields, Held { octets, complete });
        assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (1, Some(why)));
    };
    let readable = zip(&[("a.txt", CARD)]);
    let beside = |other: Vec<u8>| [readable.clone(), other].concat();
    says(&beside(entry("s", 8, 1, b"sealed", false)), true, Unscanned::Format);
    says(&beside(entry("lzma", 14, 0, b"packed", false)), true, Unscanned::Format);
    says(&beside(entry("old.doc", 0, 0, b"\xD0\xCF\x11\xE0...", false)), true, Unscanned::Format);
    says(&beside(entry("broken", 8, 0, b"\xff\xff\xff\xff", false)), true, Unscanned::Broken);
    let filler: String = (0..4000).map(|number| format!("{number} ")).collect();
    let long = entry("a.txt", 8, 0, &deflate(format!("{CARD} {filler}").as_bytes()), false);
    says(&long[..long.len() / 2], false, Unscanned::TooLarge);
    says(&long[..long.len() / 2], true, Unscanned::Broken);
}

#[test]
fn archives_are_read_to_a_bound_whatever_they_hold() {
    let bomb = entry("bomb", 8, 0, &deflate(&vec![b' '; MAX_DECODED / 2 + 1]), false);
    let two = [bomb.clone(), entry("a.txt", 0, 0, CARD.as_bytes(), false)].concat();
    cards("", &two, 1);
    assert_eq!(whole("", &[bomb.clone(), bomb].concat()).unscanned, Some(Unscanned::TooLarge));
    // Each header claims all that follows it.
    let nested = (0..1000)
        .fold(vec![b'a'; 20 << 10], |inner, _| entry("", 0, 0, &[b"x", inner.as_slice()].concat(), false));
    assert_eq!(whole("", &nested).unscanned, Some(Unscanned::TooLarge));
    let many = entry("", 0, 0, b"", false).repeat(MAX_ENTRIES + 1);
    assert_eq!(whole("", &many).unscanned, Some(Unscanned::TooLarge));
    assert_eq!(whole("", &many[..many.len() / 2]).unscanned, None);
}

/// As `base64` writes it.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in octets.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            out.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    out
}

#[test]
fn content_in_base64_within_json_is_read() {
    let json = "application/json";
    let encoded = base64(CARD.as_bytes());
    assert_eq!(encoded, "NDI0MjQyNDI0MjQyNDI0Mg==");
    let graph = |digits: &str| {
        format!(
            "{{\"@odata.type\":\"#microsoft.graph.fileAttachment\",\"name\":\"a\",\"contentBytes\":\"{digits}\"}}"
        )
    };
    cards(json, graph(&encoded), 1);
    cards(json, graph(encoded.trim_end_matches('=')), 1);
    cards(json, graph(&format!("data:text/plain;charset=utf-8;base64,{encoded}")), 1);
    cards(json, graph(&base64(&zip(&[("word/document.xml", "<w:t>4242424242424242</w:t>")]))), 1);
    cards(json, graph(&base64(graph(&encoded).as_bytes())), 1);
    cards(json, graph(&base64(b"a>>>b???c 4242424242424242").replace('+', "-").replace('/', "_")), 1);
    // Escapes, as some writers have them, and lines.
    let slashes =
        base64("\u{ff}\u{ff}??? 4242424242424242".as_bytes()).replace('/', "\\/").replace('+', "\\u002b");
    cards(json, graph(&slashes), 1);
    cards(json, graph(&format!("{}\\r\\n{}", &encoded[..8], &encoded[8..])), 1);
    // The text around is one text all the same.
    cards(json, format!("{{\"a\":\"{encoded}\",\"b\":\"{CARD}\"}}"), 2);
    // Words, hashes and numbers are none, and hold nothing.
    for word in [
        "thisIsAnIdentifierOfSomeLength",
        "0123456789abcdef0123456789abcdef",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(whole(json, graph(word).as_bytes()), Scan::default(), "{word}");
    }
    // A string that lies partly beyond the bound is read as far as it goes.
    let long = graph(&base64(format!("{CARD} {}", "and so on ".repeat(100)).as_bytes()));
    let found = scan(&Fields::new(), Held { octets: &long.as_bytes()[..long.len() - 101], complete: false });
    assert_eq!((found.counts.of(Detector::CreditCard), found.unscanned), (1, Some(Unscanned::TooLarge)));
}
