//! The table of media types: what becomes of a response of each type.
//!
//! Facts after Blink's `mime_util`, Gecko's `nsContentDLF` and the WHATWG MIME Sniffing Standard, for a top-level
//! navigation that is answered 200 without a Content-Disposition.

/// What a browser does with a type when it navigates to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Handling {
    Render,
    Save,
    /// A viewer of the browser's own (PDF).
    Viewer,
    /// The type says nothing; the content decides.
    Sniff,
}

/// What a type carries, for requests by which no browser saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Content {
    Page,
    /// What programs exchange: JSON, scripts, styles, fonts, remote procedure calls.
    Data,
    Text,
    Image,
    Media,
    Pdf,
    /// What people keep: documents, archives, programs, tables, opaque octets.
    File,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) chromium: Handling,
    pub(super) gecko: Handling,
    pub(super) content: Content,
}

/// Looks up an essence (lower case).
pub(super) fn traits(essence: &str) -> Traits {
    use Content::*;
    use Handling::*;
    let both = |handling, content| Traits { chromium: handling, gecko: handling, content };
    let apart = |chromium, gecko, content| Traits { chromium, gecko, content };
    match essence {
        "text/html" | "application/xhtml+xml" => both(Render, Page),

        "text/css"
        | "text/javascript"
        | "application/javascript"
        | "application/x-javascript"
        | "application/ecmascript"
        | "text/ecmascript"
        | "text/jscript"
        | "text/livescript"
        | "text/x-javascript"
        | "text/x-ecmascript"
        | "application/x-ecmascript"
        | "application/json"
        | "text/json"
        | "text/xml"
        | "application/xml"
        | "text/vtt" => both(Render, Data),
        // Gecko saves each part of a type that it does not show, and each with a Content-Disposition that asks for it.
        "multipart/x-mixed-replace" => apart(Render, Save, Data),
        "application/atom+xml" | "application/rss+xml" => apart(Render, Save, Data),
        "application/mathml+xml" | "application/rdf+xml" => apart(Save, Render, Data),
        "text/event-stream" => apart(Render, Save, Data),

        "text/plain" => both(Render, Text),

        "image/svg+xml"
        | "image/png"
        | "image/jpeg"
        | "image/jpg"
        | "image/pjpeg"
        | "image/gif"
        | "image/webp"
        | "image/bmp"
        | "image/x-icon"
        | "image/vnd.microsoft.icon"
        | "image/apng"
        | "image/avif"
        | "image/x-png" => both(Render, Image),
        "image/tiff" | "image/heic" | "image/heif" | "image/vnd.adobe.photoshop" | "image/x-canon-cr2" => {
            both(Save, Image)
        }

        "video/mp4" | "video/webm" | "video/ogg" | "audio/mpeg" | "audio/mp3" | "audio/wav"
        | "audio/x-wav" | "audio/ogg" | "audio/webm" | "audio/flac" | "audio/aac" | "audio/mp4"
        | "audio/x-m4a" | "application/ogg" => both(Render, Media),
        "application/mp4" => both(Save, Media),
        "video/quicktime" => apart(Save, Render, Media),
        "video/x-matroska" => apart(Render, Save, Media),
        "application/vnd.apple.mpegurl" | "application/x-mpegurl" | "application/dash+xml" => {
            both(Save, Data)
        }

        "application/pdf" | "text/pdf" | "application/x-pdf" => both(Viewer, Pdf),

        "unknown/unknown" | "application/unknown" | "*/*" => both(Sniff, Unknown),

        // Text that browsers refuse to show, because other programs own it.
        "text/csv"
        | "text/x-csv"
        | "text/comma-separated-values"
        | "text/tab-separated-values"
        | "text/tsv"
        | "text/calendar"
        | "text/x-calendar"
        | "text/x-vcalendar"
        | "text/vcalendar"
        | "text/vcard"
        | "text/x-vcard"
        | "text/x-vcf"
        | "text/directory"
        | "text/rtf"
        | "text/ldif"
        | "text/qif"
        | "text/x-qif"
        | "text/ofx"
        | "text/vnd.sun.j2me.app-descriptor"
        | "text/x-ms-iqy"
        | "text/x-ms-odc"
        | "text/x-ms-rqy"
        | "text/x-ms-contact"
        | "text/x-sql" => both(Save, File),

        // Opaque octets.
        "application/octet-stream"
        | "binary/octet-stream"
        | "application/octetstream"
        | "application/x-binary"
        | "application/binary"
        | "application/force-download"
        | "application/x-force-download"
        | "application/x-download"
        | "application/download"
        | "application/x-unknown" => both(Save, File),

        // Archives and images of disks.
        "application/zip"
        | "application/x-zip-compressed"
        | "application/x-zip"
        | "multipart/x-zip"
        | "application/gzip"
        | "application/x-gzip"
        | "application/x-tar"
        | "application/x-gtar"
        | "application/x-compressed-tar"
        | "application/x-7z-compressed"
        | "application/vnd.rar"
        | "application/x-rar-compressed"
        | "application/x-rar"
        | "application/x-bzip"
        | "application/x-bzip2"
        | "application/x-xz"
        | "application/x-lzma"
        | "application/zstd"
        | "application/x-zstd"
        | "application/x-lzip"
        | "application/java-archive"
        | "application/x-java-archive"
        | "application/vnd.android.package-archive"
        | "application/x-apple-diskimage"
        | "application/x-iso9660-image"
        | "application/x-rpm"
        | "application/vnd.debian.binary-package"
        | "application/x-debian-package"
        | "application/x-cpio"
        | "application/rar"
        | "application/tar"
        | "application/x-tgz"
        | "application/x-gzip-compressed"
        | "application/gzip-compressed"
        | "application/x-compress"
        | "application/x-compressed"
        | "application/x-7z"
        | "application/x-zip-archive"
        | "application/x-winzip"
        | "application/x-stuffit"
        | "application/mac-binhex40"
        | "application/x-cd-image"
        | "application/x-virtualbox-vdi"
        | "application/x-virtualbox-vmdk"
        | "application/x-virtualbox-vhd"
        | "application/x-qemu-disk"
        | "application/x-deb"
        | "application/x-redhat-package-manager" => both(Save, File),

        // Programs.
        "application/x-msdownload"
        | "application/x-msi"
        | "application/x-ms-installer"
        | "application/vnd.microsoft.portable-executable"
        | "application/x-dosexec"
        | "application/x-executable"
        | "application/x-sh"
        | "application/x-chrome-extension"
        | "application/x-xpinstall"
        | "application/x-shockwave-flash"
        | "application/exe"
        | "application/x-exe"
        | "application/x-ms-dos-executable"
        | "application/x-mach-binary"
        | "application/x-elf" => both(Save, File),

        // Documents, tables, mail, keys.
        "application/msword"
        | "application/rtf"
        | "application/epub+zip"
        | "application/x-mobipocket-ebook"
        | "application/onenote"
        | "application/postscript"
        | "application/sql"
        | "application/x-sql"
        | "application/x-sqlite3"
        | "application/vnd.sqlite3"
        | "application/x-parquet"
        | "application/vnd.apache.parquet"
        | "application/csv"
        | "application/excel"
        | "application/x-excel"
        | "application/x-msexcel"
        | "application/mspowerpoint"
        | "application/ms-excel"
        | "application/vndms-excel"
        | "application/xls"
        | "application/xlsx"
        | "application/doc"
        | "application/docx"
        | "application/ppt"
        | "application/pptx"
        | "application/x-csv"
        | "application/ics"
        | "application/mbox"
        | "application/x-msg"
        | "application/x-msaccess"
        | "application/x-ole-storage"
        | "application/x-dbf"
        | "application/vnd.dbf"
        | "application/vnd.lotus-1-2-3"
        | "application/vnd.wordperfect"
        | "application/x-hwp"
        | "application/x-hwpml"
        | "application/hwp"
        | "application/haansofthwp"
        | "application/vnd.hancom.hwp"
        | "application/vnd.hancom.hwpx"
        | "application/oxps"
        | "application/winhlp"
        | "application/x-mspublisher"
        | "application/x-pst"
        | "application/x-ms-shortcut"
        | "application/x-abiword"
        | "application/acad"
        | "application/x-acad"
        | "application/dxf"
        | "application/illustrator"
        | "application/x-indesign"
        | "application/photoshop"
        | "application/x-photoshop"
        | "application/vnd.sketch"
        | "application/vnd.google-earth.kmz"
        | "application/vnd.tcpdump.pcap"
        | "application/x-bittorrent"
        | "application/x-hdf5"
        | "application/dicom"
        | "application/x-keepass2"
        | "application/pkcs12"
        | "application/pkcs7-mime"
        | "application/pkix-cert"
        | "application/x-x509-ca-cert"
        | "application/x-pkcs8"
        | "application/pkcs8"
        | "application/x-pkcs12"
        | "application/x-pem-file"
        | "application/pgp-keys"
        | "application/x-mimearchive"
        | "message/rfc822"
        | "application/x-git-upload-pack-result" => both(Save, File),

        // Calls and payloads between programs. Navigating to one saves it; fetching one is how applications work.
        "application/wasm"
        | "application/x-ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/yaml"
        | "application/x-yaml"
        | "application/grpc"
        | "application/grpc-web"
        | "application/grpc-web-text"
        | "application/x-protobuf"
        | "application/protobuf"
        | "application/x-google-protobuf"
        | "application/vnd.google.protobuf"
        | "application/x-thrift"
        | "application/msgpack"
        | "application/x-msgpack"
        | "application/vnd.msgpack"
        | "application/cbor"
        | "application/x-amz-json-1.0"
        | "application/x-amz-json-1.1"
        | "application/x-www-form-urlencoded"
        | "application/mapi-http"
        | "application/rpc"
        | "application/vnd.ms-sync.wbxml"
        | "application/jwt"
        | "application/jose"
        | "application/ocsp-response"
        | "application/pkix-crl"
        | "application/dns-message"
        | "application/x-git-upload-pack-advertisement"
        | "application/x-git-receive-pack-advertisement"
        | "application/x-git-receive-pack-result"
        | "application/font-woff"
        | "application/font-woff2"
        | "application/font-sfnt"
        | "application/x-font-woff"
        | "application/x-font-woff2"
        | "application/x-font-ttf"
        | "application/x-font-otf"
        | "application/x-font-opentype"
        | "application/x-font-truetype"
        | "application/vnd.ms-opentype"
        | "application/vnd.ms-fontobject"
        | "multipart/mixed"
        | "multipart/related"
        | "multipart/form-data"
        | "application/http" => both(Save, Data),

        other => by_family(other),
    }
}

/// Whether a type is text by its very name, so that no part of it can hold what no text has.
pub(super) fn is_textual(essence: &str) -> bool {
    let ends = ["/json", "+json", "/xml", "+xml", "javascript", "ecmascript"];
    matches!(traits(essence).content, Content::Page | Content::Text)
        || essence.starts_with("text/")
        || ends.iter().any(|end| essence.ends_with(end))
}

/// Whether no page shows a type of image or media: files of cameras, drawings and programs, and recordings of another age.
/// Listed, since what scripts draw and play themselves (segments of streams, single codecs, misspelt types) is listed nowhere.
pub(super) fn is_shown_nowhere(essence: &str) -> bool {
    matches!(
        essence,
        "image/tiff"
            | "image/tif"
            | "image/x-tiff"
            | "image/vnd.djvu"
            | "image/x-djvu"
            | "image/heic"
            | "image/heif"
            | "image/heic-sequence"
            | "image/heif-sequence"
            | "image/vnd.adobe.photoshop"
            | "image/x-photoshop"
            | "image/x-psd"
            | "image/psd"
            | "image/x-xcf"
            | "image/vnd.dwg"
            | "image/x-dwg"
            | "image/vnd.dxf"
            | "image/x-adobe-dng"
            | "image/x-canon-cr2"
            | "image/x-canon-cr3"
            | "image/x-nikon-nef"
            | "image/x-sony-arw"
            | "image/wmf"
            | "image/x-wmf"
            | "image/emf"
            | "image/x-emf"
            | "video/x-msvideo"
            | "video/avi"
            | "video/msvideo"
            | "video/x-ms-wmv"
            | "video/x-ms-asf"
            | "video/mpeg"
            | "video/3gpp"
            | "video/3gpp2"
            | "audio/x-ms-wma"
            | "audio/aiff"
            | "audio/x-aiff"
            | "audio/midi"
            | "audio/x-midi"
            | "audio/amr"
    )
}

/// Whether a type says only that these are octets.
pub(super) fn is_octets(essence: &str) -> bool {
    matches!(
        essence,
        "application/octet-stream"
            | "binary/octet-stream"
            | "application/octetstream"
            | "application/x-binary"
            | "application/binary"
    )
}

/// Types that no list names.
fn by_family(essence: &str) -> Traits {
    use Content::*;
    use Handling::*;
    let (family, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    let of = |chromium, gecko, content| Traits { chromium, gecko, content };
    let office = [
        "vnd.openxmlformats-",
        "vnd.ms-",
        "vnd.oasis.opendocument.",
        "vnd.visio",
        "vnd.apple.",
        "x-iwork-",
        "vnd.sun.xml.",
        "vnd.stardivision.",
        "vnd.adobe.",
        "wps-office.",
    ];
    match family {
        "application" if subtype.ends_with("+json") => of(Render, Render, Data),
        _ if subtype.ends_with("+xml") => of(Save, Save, Data),
        "application"
            if ["grpc", "connect+", "vnd.google.octet-stream"].iter().any(|p| subtype.starts_with(p)) =>
        {
            of(Save, Save, Data)
        }
        "application" if office.iter().any(|prefix| subtype.starts_with(prefix)) => of(Save, Save, File),
        // Chromium shows every text it has no reason to save; Gecko only the ones it lists.
        "text" => of(Render, Save, Text),
        "image" => of(Save, Save, Image),
        "audio" | "video" => of(Save, Save, Media),
        "font" | "model" => of(Save, Save, Data),
        "chemical" => of(Save, Save, File),
        _ => of(Save, Save, Unknown),
    }
}
