//! The types that are told by content: name, media type, group, extensions.

use super::FileGroup::{self, Archive, Database, Document, Image, Media, Other, Program, Text};
use super::FileType;

macro_rules! types {
    ($($id:ident = $name:literal, $mime:literal, $group:ident, [$($extension:literal),*];)*) => {
        $(pub(super) const $id: FileType = of($name, $mime, $group, &[$($extension),*]);)*
        pub(super) const ALL: &[FileType] = &[$($id),*];
    };
}

const fn of(
    name: &'static str,
    mime: &'static str,
    group: FileGroup,
    extensions: &'static [&'static str],
) -> FileType {
    FileType { name, mime, group, extensions }
}

types! {
    PDF = "pdf", "application/pdf", Document, ["pdf"];
    DOCX = "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Document,
        ["docx", "docm", "dotx", "dotm"];
    XLSX = "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Document,
        ["xlsx", "xlsm", "xltx", "xltm", "xlsb"];
    PPTX = "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", Document,
        ["pptx", "pptm", "potx", "potm", "ppsx", "ppsm"];
    VSDX = "vsdx", "application/vnd.ms-visio.drawing", Document, ["vsdx", "vsdm", "vstx"];
    OOXML = "ooxml", "application/vnd.openxmlformats-officedocument", Document,
        ["docx", "docm", "xlsx", "xlsm", "pptx", "pptm", "vsdx"];
    OOXML_LOCKED = "ooxml-encrypted", "application/x-ole-storage", Document,
        ["docx", "docm", "xlsx", "xlsm", "pptx", "pptm"];
    ODT = "odt", "application/vnd.oasis.opendocument.text", Document, ["odt", "ott"];
    ODS = "ods", "application/vnd.oasis.opendocument.spreadsheet", Document, ["ods", "ots"];
    ODP = "odp", "application/vnd.oasis.opendocument.presentation", Document, ["odp", "otp"];
    ODG = "odg", "application/vnd.oasis.opendocument.graphics", Document, ["odg", "otg"];
    ODF = "odf", "application/vnd.oasis.opendocument", Document, ["odf", "odb", "odc", "odm"];
    EPUB = "epub", "application/epub+zip", Document, ["epub"];
    IWORK = "iwork", "application/vnd.apple.iwork", Document, ["pages", "numbers", "key"];
    DOC = "doc", "application/msword", Document, ["doc", "dot"];
    XLS = "xls", "application/vnd.ms-excel", Document, ["xls", "xlt"];
    PPT = "ppt", "application/vnd.ms-powerpoint", Document, ["ppt", "pps", "pot"];
    VSD = "vsd", "application/vnd.visio", Document, ["vsd"];
    MSG = "msg", "application/vnd.ms-outlook", Document, ["msg"];
    OLE = "ole", "application/x-ole-storage", Document, ["doc", "xls", "ppt", "msg", "vsd", "pub", "mpp"];
    RTF = "rtf", "application/rtf", Document, ["rtf", "doc"];
    POSTSCRIPT = "ps", "application/postscript", Document, ["ps", "eps", "ai"];
    ONENOTE = "one", "application/onenote", Document, ["one"];
    DWG = "dwg", "image/vnd.dwg", Document, ["dwg", "dwt"];
    PST = "pst", "application/vnd.ms-outlook-pst", Document, ["pst", "ost"];
    DJVU = "djvu", "image/vnd.djvu", Document, ["djvu", "djv"];
    CHM = "chm", "application/vnd.ms-htmlhelp", Document, ["chm"];

    ZIP = "zip", "application/zip", Archive, ["zip"];
    RAR = "rar", "application/vnd.rar", Archive, ["rar"];
    SEVEN_ZIP = "7z", "application/x-7z-compressed", Archive, ["7z"];
    TAR = "tar", "application/x-tar", Archive, ["tar"];
    GZIP = "gz", "application/gzip", Archive, ["gz", "tgz", "svgz"];
    BZIP2 = "bz2", "application/x-bzip2", Archive, ["bz2", "tbz", "tbz2"];
    XZ = "xz", "application/x-xz", Archive, ["xz", "txz"];
    ZSTD = "zst", "application/zstd", Archive, ["zst", "tzst"];
    LZ4 = "lz4", "application/x-lz4", Archive, ["lz4"];
    CAB = "cab", "application/vnd.ms-cab-compressed", Archive, ["cab"];
    AR = "ar", "application/x-archive", Archive, ["a", "ar"];
    QCOW = "qcow2", "application/x-qemu-disk", Archive, ["qcow2", "qcow"];
    VHDX = "vhdx", "application/x-vhdx", Archive, ["vhdx"];
    VMDK = "vmdk", "application/x-vmdk", Archive, ["vmdk"];

    EXE = "exe", "application/vnd.microsoft.portable-executable", Program, ["exe", "dll", "sys", "scr", "com", "cpl"];
    MSI = "msi", "application/x-msi", Program, ["msi", "msp"];
    ELF = "elf", "application/x-executable", Program, ["so", "elf", "o", "bin", "run"];
    MACHO = "macho", "application/x-mach-binary", Program, ["dylib", "macho"];
    JAR = "jar", "application/java-archive", Program, ["jar", "war", "ear"];
    CLASS = "class", "application/java-vm", Program, ["class"];
    APK = "apk", "application/vnd.android.package-archive", Program, ["apk", "aab"];
    DEX = "dex", "application/vnd.android.dex", Program, ["dex"];
    IPA = "ipa", "application/x-ios-app", Program, ["ipa"];
    DEB = "deb", "application/vnd.debian.binary-package", Program, ["deb", "udeb"];
    RPM = "rpm", "application/x-rpm", Program, ["rpm"];
    CRX = "crx", "application/x-chrome-extension", Program, ["crx"];
    SCRIPT = "script", "application/x-sh", Program, ["sh", "bash", "py", "pl", "rb", "js"];
    LNK = "lnk", "application/x-ms-shortcut", Program, ["lnk"];

    SQLITE = "sqlite", "application/vnd.sqlite3", Database, ["sqlite", "sqlite3", "db"];
    ACCESS = "mdb", "application/vnd.ms-access", Database, ["mdb", "accdb"];
    PARQUET = "parquet", "application/vnd.apache.parquet", Database, ["parquet"];
    AVRO = "avro", "application/avro", Database, ["avro"];
    KEEPASS = "kdbx", "application/x-keepass2", Database, ["kdbx", "kdb"];

    PNG = "png", "image/png", Image, ["png", "apng"];
    JPEG = "jpg", "image/jpeg", Image, ["jpg", "jpeg", "jpe", "jfif"];
    GIF = "gif", "image/gif", Image, ["gif"];
    WEBP = "webp", "image/webp", Image, ["webp"];
    BMP = "bmp", "image/bmp", Image, ["bmp", "dib"];
    ICO = "ico", "image/x-icon", Image, ["ico", "cur"];
    TIFF = "tiff", "image/tiff", Image, ["tif", "tiff", "cr2", "nef", "dng", "arw"];
    AVIF = "avif", "image/avif", Image, ["avif"];
    HEIC = "heic", "image/heic", Image, ["heic", "heif"];
    PSD = "psd", "image/vnd.adobe.photoshop", Image, ["psd", "psb"];

    MP4 = "mp4", "video/mp4", Media, ["mp4", "m4v", "m4a", "mov", "3gp"];
    MATROSKA = "mkv", "video/x-matroska", Media, ["mkv", "webm", "mka"];
    AVI = "avi", "video/x-msvideo", Media, ["avi"];
    ASF = "wmv", "video/x-ms-asf", Media, ["wmv", "wma", "asf"];
    FLV = "flv", "video/x-flv", Media, ["flv"];
    MP3 = "mp3", "audio/mpeg", Media, ["mp3"];
    WAV = "wav", "audio/wav", Media, ["wav"];
    OGG = "ogg", "application/ogg", Media, ["ogg", "oga", "ogv", "opus"];
    FLAC = "flac", "audio/flac", Media, ["flac"];
    MIDI = "mid", "audio/midi", Media, ["mid", "midi"];

    WOFF = "woff", "font/woff", Other, ["woff", "woff2"];
    SFNT = "ttf", "font/sfnt", Other, ["ttf", "otf", "ttc"];
    WASM = "wasm", "application/wasm", Other, ["wasm"];

    HTML = "html", "text/html", Text, ["html", "htm", "xhtml"];
    XML = "xml", "text/xml", Text, ["xml", "svg"];
    TEXT = "txt", "text/plain", Text, ["txt"];
    BINARY = "bin", "application/octet-stream", Other, ["bin"];
}

/// One compressed stream without a directory.
pub(super) const STREAMS: [FileType; 5] = [GZIP, BZIP2, XZ, ZSTD, LZ4];
