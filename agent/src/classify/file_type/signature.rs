//! Types that begin with octets of their own.

use super::FileType;
use super::table::*;
use crate::classify::sniff;

/// Where a signature stands, its octets, the type. The first one that fits decides.
const SIGNATURES: &[(usize, &[u8], FileType)] = &[
    (0, b"%PDF-", PDF),
    (0, b"PK\x05\x06", ZIP),
    (0, b"PK\x07\x08", ZIP),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"\x1f\x8b\x08", GZIP),
    (0, b"Rar!\x1a\x07", RAR),
    (0, b"7z\xbc\xaf\x27\x1c", SEVEN_ZIP),
    (0, b"\xfd7zXZ\x00", XZ),
    (0, b"\x28\xb5\x2f\xfd", ZSTD),
    (0, b"\x04\x22\x4d\x18", LZ4),
    (WITHIN, b"ustar", TAR),
    (0, b"MSCF\x00\x00\x00\x00", CAB),
    (0, b"!<arch>\ndebian-binary", DEB),
    (0, b"!<arch>\n", AR),
    (0, b"\xed\xab\xee\xdb", RPM),
    (0, b"QFI\xfb", QCOW),
    (0, b"vhdxfile", VHDX),
    (0, b"KDMV", VMDK),
    (0, b"\x7fELF", ELF),
    (0, b"\xfe\xed\xfa\xce", MACHO),
    (0, b"\xfe\xed\xfa\xcf", MACHO),
    (0, b"\xce\xfa\xed\xfe", MACHO),
    (0, b"\xcf\xfa\xed\xfe", MACHO),
    (0, b"dex\n03", DEX),
    (0, b"Cr24", CRX),
    (0, b"\x4c\x00\x00\x00\x01\x14\x02\x00", LNK),
    (0, b"{\\rtf", RTF),
    (0, b"%!PS-Adobe-", POSTSCRIPT),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", ONENOTE),
    (0, b"!BDN", PST),
    (0, b"AT&TFORM", DJVU),
    (0, b"ITSF\x03\x00\x00\x00", CHM),
    (0, b"AC10", DWG),
    (0, b"SQLite format 3\x00", SQLITE),
    (0, b"\x00\x01\x00\x00Standard Jet DB", ACCESS),
    (0, b"\x00\x01\x00\x00Standard ACE DB", ACCESS),
    (0, b"PAR1", PARQUET),
    (0, b"Obj\x01", AVRO),
    (0, b"\x03\xd9\xa2\x9a", KEEPASS),
    (0, b"II*\x00", TIFF),
    (0, b"MM\x00*", TIFF),
    (0, b"8BPS\x00", PSD),
    (0, b"OggS\x00", OGG),
    (0, b"fLaC", FLAC),
    (0, b"MThd\x00\x00\x00\x06", MIDI),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (0, b"FLV\x01", FLV),
    (0, b"wOFF", WOFF),
    (0, b"wOF2", WOFF),
    (0, b"OTTO\x00", SFNT),
    (0, b"\x00\x01\x00\x00\x00", SFNT),
    (0, b"\x00asm", WASM),
    (0, b"\x00\x00\x01\x00", ICO),
];

/// Whether some signature begins a file with this octet: that of a text is none of them, most of the time.
static FIRST: [bool; 256] = {
    let (mut first, mut n) = ([false; 256], 0);
    while n < SIGNATURES.len() {
        let (at, wanted, _) = SIGNATURES[n];
        if at == 0 {
            first[wanted[0] as usize] = true;
        }
        n += 1;
    }
    first
};

/// Where the signature of a tape archive stands: the only one that is not at the beginning.
const WITHIN: usize = 257;

/// Signatures so short that a text can begin with them: they count only where the rest is no text.
const SHORT: &[(&[u8], FileType)] = &[(b"MZ", EXE), (b"ID3", MP3), (b"BM", BMP), (b"BZh", BZIP2)];

/// Octets in which readers of PDF look for its header (PDF Reference 1.7, appendix H.3, note 13).
const PDF_WITHIN: usize = 1024;

/// A PDF behind something else. Its version ends a line, which texts that only talk of it, and JSON, do not do.
fn begins_late(octets: &[u8]) -> bool {
    let start = octets.get(..PDF_WITHIN).unwrap_or(octets);
    memchr::memchr_iter(b'%', start).any(|at| {
        matches!(octets.get(at + 1..at + 9), Some([b'P', b'D', b'F', b'-', major, b'.', minor, b'\r' | b'\n'])
            if major.is_ascii_digit() && minor.is_ascii_digit())
    })
}

pub(super) fn of(octets: &[u8]) -> Option<FileType> {
    let stands = |at: usize, wanted: &[u8]| octets.get(at..).is_some_and(|rest| rest.starts_with(wanted));
    let first =
        octets.first().is_some_and(|first| FIRST.get(usize::from(*first)).is_some_and(|known| *known));
    if (first || stands(WITHIN, b"ustar"))
        && let Some((_, _, known)) = SIGNATURES.iter().find(|(at, wanted, _)| stands(*at, wanted))
    {
        return Some(*known);
    }
    if octets.starts_with(b"#!") && octets.get(2).is_some_and(|b| matches!(b, b'/' | b' ')) {
        return Some(SCRIPT);
    }
    match (octets.get(..4)?, octets.get(4..8), octets.get(8..12)) {
        (b"RIFF", _, Some(b"WEBP")) => return Some(WEBP),
        (b"RIFF", _, Some(b"WAVE")) => return Some(WAV),
        (b"RIFF", _, Some(b"AVI ")) => return Some(AVI),
        (_, Some(b"ftyp"), Some(b"avif" | b"avis")) => return Some(AVIF),
        (_, Some(b"ftyp"), Some(b"heic" | b"heix" | b"heim" | b"mif1" | b"msf1")) => return Some(HEIC),
        (_, Some(b"ftyp"), _) => return Some(MP4),
        // A universal binary counts its architectures where a class file has its version, which began at 45.
        (b"\xca\xfe\xba\xbe", Some([0, 0, 0, count]), _) if *count < 45 => return Some(MACHO),
        (b"\xca\xfe\xba\xbe", _, _) => return Some(CLASS),
        _ => {}
    }
    if begins_late(octets) {
        return Some(PDF);
    }
    let short = SHORT.iter().find(|(wanted, _)| octets.starts_with(wanted));
    short.filter(|_| sniff::is_binary(octets)).map(|(_, known)| *known)
}
