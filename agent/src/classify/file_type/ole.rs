//! What a compound file is ([MS-CFB]): old Office files, Outlook messages, installers, encrypted new Office files.
//!
//! Its directory may stand anywhere. What the octets seen hold of it is searched for the names of streams; where they
//! hold nothing of it, the file is `ole`.

use memchr::memmem;

use super::FileType;
use super::table::*;

pub(super) const SIGNATURE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Class id of the root of an installer package: {000C1084-0000-0000-C000-000000000046}.
const INSTALLER: &[u8] = b"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";
/// Of a patch: {000C1086-…}.
const PATCH: &[u8] = b"\x86\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";

/// Streams by which a kind is told, in the order in which they decide: a message can hold a document.
const STREAMS: &[(&str, FileType)] = &[
    ("__properties_version1.0", MSG),
    ("__substg1.0_", MSG),
    ("EncryptedPackage", OOXML_LOCKED),
    ("WordDocument", DOC),
    ("PowerPoint Document", PPT),
    ("VisioDocument", VSD),
    ("Workbook", XLS),
];

pub(super) fn of(octets: &[u8]) -> FileType {
    if [INSTALLER, PATCH].iter().any(|class| memmem::find(octets, class).is_some()) {
        return MSI;
    }
    let found = STREAMS.iter().find(|(name, _)| {
        // Names in the directory are UTF-16, low octet first.
        let wide: Vec<u8> = name.bytes().flat_map(|b| [b, 0]).collect();
        memmem::find(octets, &wide).is_some()
    });
    found.map_or(OLE, |(_, known)| *known)
}
