//! Messages between a browser and a SharePoint-like origin: whole heads as bytes, parsed heads, chunked bodies.

use portcullis::http::h1::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use portcullis::http::h1::{Limits, Parsed, parse_request_head, parse_response_head};
use portcullis::http::head::{RequestHead, ResponseHead, Version};

/// The beginning of an archive that turns out to be a workbook with its last entry: local headers, stored entries.
pub fn archive(octets: usize) -> Vec<u8> {
    let mut archive = Vec::with_capacity(octets);
    let mut entry = |name: &str, size: usize| {
        archive.extend(b"PK\x03\x04\x14");
        // Version, flags, method, time, checksum.
        archive.extend([0; 13]);
        archive.extend(u32::try_from(size).unwrap_or_default().to_le_bytes());
        archive.extend(u32::try_from(size).unwrap_or_default().to_le_bytes());
        archive.extend(u16::try_from(name.len()).unwrap_or_default().to_le_bytes());
        archive.extend([0, 0]);
        archive.extend(name.as_bytes());
        archive.resize(archive.len() + size, b'x');
    };
    (0..20).for_each(|_| entry("docProps/custom.xml", 300));
    entry("xl/workbook.xml", octets);
    archive.truncate(octets);
    archive
}

/// Host of all requests here; the built-in catalog knows it.
pub const HOST: &str = "contoso.sharepoint.com";

/// Bytes of a request head as Chromium sends it to the page of a library.
pub const REQUEST_BYTES: usize = 600;
/// Field lines of the response.
pub const RESPONSE_FIELDS: usize = 26;
/// Bytes of the response head.
pub const RESPONSE_BYTES: usize = 1536;

const REQUEST: &str = "GET /sites/finance/_layouts/15/download.aspx?UniqueId=6c1b57d5 HTTP/1.1\r\n\
    Host: contoso.sharepoint.com\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    Cache-Control: private,max-age=0\r\n\
    Content-Length: 482133\r\n\
    Content-Type: application/vnd.openxmlformats-officedocument.wordprocessingml.document\r\n\
    Expires: Sat, 03 Jan 2026 08:00:00 GMT\r\n\
    Last-Modified: Mon, 12 Jan 2026 09:41:27 GMT\r\n\
    Accept-Ranges: bytes\r\n\
    ETag: \"{6C1B57D5-2A0E-4E2A-9A43-7D2F3A1B9C80},7\"\r\n\
    P3P: CP=\"ALL IND DSP COR ADM CONo CUR CUSo IVAo IVDo PSA PSD TAI TELo OUR SAMo CNT COM INT NAV ONL PHY PRE PUR UNI\"\r\n\
    Content-Disposition: attachment; filename=\"Quarterly report.docx\"; filename*=utf-8''Quarterly%20report.docx\r\n\
    X-NetworkStatistics: 0,525568,0,0,36712,0,26280,38\r\n\
    X-SharePointHealthScore: 1\r\n\
    X-AspNet-Version: 4.0.30319\r\n\
    X-DataBoundary: EU\r\n\
    X-1DSCollectorUrl: https://eu-mobile.events.data.test/OneCollector/1.0/\r\n\
    SPRequestGuid: 4c1ea2a1-f06b-4000-5dd1-0f9a4f1a8a6e\r\n\
    request-id: 4c1ea2a1-f06b-4000-5dd1-0f9a4f1a8a6e\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\
    Content-Security-Policy: frame-ancestors 'self' teams.cloud.test *.office.test\r\n\
    SPRequestDuration: 118\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-MS-InvokeApp: 1; RequireReadOnly\r\n\
    X-Download-Options: noopen\r\n\
    Date: Tue, 13 Jan 2026 08:00:00 GMT\r\n\
    X-Cache: CONFIG_NOCACHE\r\n";

/// The request head, filled up to [`REQUEST_BYTES`] by its cookie.
pub fn request_bytes() -> Vec<u8> {
    filled(REQUEST, "Cookie: FedAuth=", REQUEST_BYTES)
}

/// The head of a file's response, filled up to [`RESPONSE_BYTES`] by its last field.
pub fn response_bytes() -> Vec<u8> {
    filled(RESPONSE, "X-MSEdge-Ref: Ref A: ", RESPONSE_BYTES)
}

/// `head` with one more field line that makes it `size` bytes long, and the empty line.
fn filled(head: &str, field: &str, size: usize) -> Vec<u8> {
    let mut bytes = [head, field].concat().into_bytes();
    let end = b"\r\n\r\n";
    let missing = (size - end.len()).checked_sub(bytes.len()).expect("the sample is too long already");
    bytes.extend((0..missing).map(|n| b"77u/PD94bWwg"[n % 12]));
    bytes.extend(end);
    bytes
}

/// The parsed form of [`request_bytes`].
pub fn request() -> RequestHead {
    match parse_request_head(&request_bytes(), &Limits::default()) {
        Parsed::Complete(head, REQUEST_BYTES) => head,
        other => panic!("the sample is no request: {other:?}"),
    }
}

/// The parsed form of [`response_bytes`].
pub fn response() -> ResponseHead {
    match parse_response_head(&response_bytes(), &Limits::default()) {
        Parsed::Complete(head, RESPONSE_BYTES) if head.fields().len() == RESPONSE_FIELDS => head,
        other => panic!("the sample is no response: {other:?}"),
    }
}

/// A page, as most responses to a navigation are.
pub fn page() -> ResponseHead {
    ResponseHead::new(200, Version::Http11)
        .with("Cache-Control", "private, max-age=0")
        .with("Content-Type", "text/html; charset=utf-8")
        .with("X-Content-Type-Options", "nosniff")
        .with("Transfer-Encoding", "chunked")
}

/// What a sync client or a script outside of any browser asks for.
pub fn native_request() -> RequestHead {
    RequestHead::new("GET", "/sites/finance/Shared%20Documents/plan.bin", Version::Http11)
        .with("Host", HOST)
        .with("User-Agent", "rclone/v1.70.0")
        .with("Accept-Encoding", "gzip")
}

/// Bytes of no declared kind, without any name.
pub fn octet_stream() -> ResponseHead {
    ResponseHead::new(200, Version::Http11)
        .with("Content-Type", "application/octet-stream")
        .with("Content-Length", "482133")
        .with("ETag", "\"{6C1B57D5-2A0E-4E2A-9A43-7D2F3A1B9C80},7\"")
}

/// `payload` bytes in chunks of `chunk` bytes, without trailers.
pub fn chunked_body(payload: usize, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut left = payload;
    while let Some(header) = ChunkHeader::new(left.min(chunk)) {
        let size = left.min(chunk);
        out.extend(header.as_bytes());
        out.extend(std::iter::repeat_n(b'x', size));
        out.extend(CHUNK_END);
        left -= size;
    }
    out.extend(LAST_CHUNK);
    out
}
