//! What a ZIP archive is, by the local headers it begins with.
//!
//! The directory at the end is not needed: Office files, OpenDocument, Java and Android packages are told by the names
//! of their first entries, or by what the first of them says.

use super::FileType;
use super::table::*;
use crate::classify::first_bytes::inflate;
use crate::zip::{Entry, Method, next_header};

/// Entries looked at; the octets seen rarely hold more.
const MAX_ENTRIES: usize = 128;
/// Octets of `[Content_Types].xml` looked at, decompressed. Real ones have 1 to 10 KiB.
const MAX_CONTENT_TYPES: usize = 64 << 10;

pub(super) fn of(octets: &[u8]) -> FileType {
    let mut generic = ZIP;
    let mut rest = octets;
    for _ in 0..MAX_ENTRIES {
        let Some(entry) = Entry::read(rest) else { break };
        match by_entry(&entry) {
            Some(OOXML) => generic = OOXML,
            Some(known) => return known,
            None => {}
        }
        let next = match entry.size {
            Some(size) => entry.rest.get(size..),
            None => next_header(entry.rest),
        };
        let Some(next) = next else { break };
        rest = next;
    }
    generic
}

/// What one entry tells of the whole. `OOXML` is an Office file of a kind still to be found out.
fn by_entry(entry: &Entry<'_>) -> Option<FileType> {
    let content = entry.content();
    let below = |folder: &[u8]| entry.name.starts_with(folder);
    match entry.name {
        b"mimetype" if entry.method == Method::Stored => by_mimetype(content),
        b"[Content_Types].xml" => Some(by_content_types(entry.method, content)),
        b"META-INF/MANIFEST.MF" => Some(JAR),
        b"AndroidManifest.xml" | b"classes.dex" | b"BundleConfig.pb" => Some(APK),
        b"Index.zip" => Some(IWORK),
        _ if below(b"word/") => Some(DOCX),
        _ if below(b"xl/") => Some(XLSX),
        _ if below(b"ppt/") => Some(PPTX),
        _ if below(b"visio/") => Some(VSDX),
        _ if below(b"Payload/") => Some(IPA),
        _ if below(b"Index/") && entry.name.ends_with(b".iwa") => Some(IWORK),
        _ if below(b"_rels/.rels") || below(b"docProps/") || below(b"customXml/") => Some(OOXML),
        _ => None,
    }
}

/// OpenDocument and EPUB store their media type as the first entry, uncompressed.
fn by_mimetype(content: &[u8]) -> Option<FileType> {
    let is = |prefix: &[u8]| content.starts_with(prefix);
    [
        (&b"application/epub+zip"[..], EPUB),
        (b"application/vnd.oasis.opendocument.text", ODT),
        (b"application/vnd.oasis.opendocument.spreadsheet", ODS),
        (b"application/vnd.oasis.opendocument.presentation", ODP),
        (b"application/vnd.oasis.opendocument.graphics", ODG),
        (b"application/vnd.oasis.opendocument.", ODF),
    ]
    .into_iter()
    .find_map(|(prefix, known)| is(prefix).then_some(known))
}

/// The list of parts names the main one (ECMA-376 part 2, section 7.2.3).
fn by_content_types(method: Method, content: &[u8]) -> FileType {
    let text = match method {
        Method::Stored => content.get(..MAX_CONTENT_TYPES).unwrap_or(content).to_vec(),
        Method::Deflate => inflate(content, MAX_CONTENT_TYPES),
        Method::Other => Vec::new(),
    };
    let names = |word: &str| memchr::memmem::find(&text, word.as_bytes()).is_some();
    if names("/word/document") || names("wordprocessingml.document") || names("ms-word.document") {
        DOCX
    } else if names("/xl/workbook") || names("spreadsheetml.sheet") || names("ms-excel.sheet") {
        XLSX
    } else if names("/ppt/presentation") || names("presentationml.") || names("ms-powerpoint.presentation") {
        PPTX
    } else if names("ms-visio.drawing") {
        VSDX
    } else {
        OOXML
    }
}
