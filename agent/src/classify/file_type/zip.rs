//! What a ZIP archive is, by the local headers it begins with (APPNOTE.TXT 6.3.10, section 4.3.7).
//!
//! The directory at the end is not needed: Office files, OpenDocument, Java and Android packages are told by the names
//! of their first entries, or by what the first of them says.

use super::FileType;
use super::table::*;
use crate::classify::first_bytes::inflate;

pub(super) const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
/// Octets of a local header before the name.
const FIXED: usize = 30;
/// Entries looked at; the octets seen rarely hold more.
const MAX_ENTRIES: usize = 128;
/// Octets of `[Content_Types].xml` looked at, decompressed. Real ones have 1 to 10 KiB.
const MAX_CONTENT_TYPES: usize = 64 << 10;
/// Sizes stand behind the content, not in the header.
const DATA_DESCRIPTOR: u16 = 1 << 3;

struct Entry<'a> {
    name: &'a [u8],
    /// Compression method: 0 stored, 8 deflate.
    method: u16,
    /// The content and all that follows.
    rest: &'a [u8],
    /// Octets of the content, where the header says it.
    size: Option<usize>,
}

/// Reads the entry that `octets` begin with. `None` when they are no local header, or cut within it.
fn entry(octets: &[u8]) -> Option<Entry<'_>> {
    let head = octets.strip_prefix(LOCAL_HEADER)?;
    let number = |at: usize| head.get(at - 4..at - 2)?.try_into().ok().map(u16::from_le_bytes);
    let (flags, method, name, extra) = (number(6)?, number(8)?, number(26)?, number(28)?);
    let size = head.get(18 - 4..22 - 4)?.try_into().ok().map(u32::from_le_bytes)?;
    let (name, rest) = octets.get(FIXED..)?.split_at_checked(usize::from(name))?;
    let rest = rest.get(usize::from(extra)..)?;
    let told = flags & DATA_DESCRIPTOR == 0 && size != u32::MAX;
    Some(Entry { name, method, rest, size: usize::try_from(size).ok().filter(|_| told) })
}

pub(super) fn of(octets: &[u8]) -> FileType {
    let mut generic = ZIP;
    let mut rest = octets;
    for _ in 0..MAX_ENTRIES {
        let Some(entry) = entry(rest) else { break };
        match by_entry(&entry) {
            Some(OOXML) => generic = OOXML,
            Some(known) => return known,
            None => {}
        }
        let next = match entry.size {
            Some(size) => entry.rest.get(size..),
            None => memchr::memmem::find(entry.rest, LOCAL_HEADER).and_then(|at| entry.rest.get(at..)),
        };
        let Some(next) = next else { break };
        rest = next;
    }
    generic
}

/// What one entry tells of the whole. `OOXML` is an Office file of a kind still to be found out.
fn by_entry(entry: &Entry<'_>) -> Option<FileType> {
    let content = entry.size.and_then(|size| entry.rest.get(..size)).unwrap_or(entry.rest);
    let below = |folder: &[u8]| entry.name.starts_with(folder);
    match entry.name {
        b"mimetype" if entry.method == 0 => by_mimetype(content),
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
fn by_content_types(method: u16, content: &[u8]) -> FileType {
    let text = match method {
        0 => content.get(..MAX_CONTENT_TYPES).unwrap_or(content).to_vec(),
        8 => inflate(content, MAX_CONTENT_TYPES),
        _ => Vec::new(),
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
