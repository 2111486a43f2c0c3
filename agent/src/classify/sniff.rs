//! Telling a type from the first octets of a body, for responses that do not say or are known to say it wrongly.
//!
//! Facts after the WHATWG MIME Sniffing Standard and Chromium's `mime_sniffer`.

/// Octets worth looking at: what the standard calls the resource header.
pub(super) const SNIFF_LENGTH: usize = 1445;

/// With fewer octets that may go on, text is not told from what only begins like it. Gecko waits for as many, Chromium for
/// twice as many.
pub(super) const TELLING: usize = 512;

/// Octets that are looked at as one.
const BLOCK: usize = 64;

/// Signatures at the very beginning.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    // A cursor.
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"OggS", "application/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"BZh", "application/x-bzip2"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
    (b"SQLite format 3\x00", "application/x-sqlite3"),
    (b"MZ", "application/x-msdownload"),
    (b"\x7fELF", "application/x-executable"),
    (b"\xca\xfe\xba\xbe", "application/octet-stream"),
    (b"\xfe\xff", "text/plain"),
    (b"\xff\xfe", "text/plain"),
    (b"\xef\xbb\xbf", "text/plain"),
];

/// Tags that begin a page, in lower case, to be followed by a blank or `>`.
const TAGS: &[&[u8]] = &[
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<script",
    b"<iframe",
    b"<h1",
    b"<div",
    b"<font",
    b"<table",
    b"<a",
    b"<style",
    b"<title",
    b"<b",
    b"<body",
    b"<br",
    b"<p",
];

/// HTML or XML, by how a body begins behind its blanks.
pub(super) fn markup(body: &[u8]) -> Option<&'static str> {
    let body = body.get(..SNIFF_LENGTH).unwrap_or(body);
    let start = body.iter().position(|b| !b.is_ascii_whitespace())?;
    let text = body.get(start..).filter(|text| text.starts_with(b"<"))?;
    if TAGS.iter().any(|tag| begins_with_tag(text, tag)) || text.starts_with(b"<!--") {
        return Some("text/html");
    }
    text.starts_with(b"<?xml").then_some("text/xml")
}

/// The type of a body that declares none.
pub(super) fn sniff(body: &[u8]) -> &'static str {
    let body = body.get(..SNIFF_LENGTH).unwrap_or(body);
    if let Some(essence) = markup(body) {
        return essence;
    }
    if let Some((_, essence)) = SIGNATURES.iter().find(|(signature, _)| body.starts_with(signature)) {
        return essence;
    }
    match (body.get(..4), body.get(4..8), body.get(8..12)) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => "image/webp",
        (Some(b"RIFF"), _, Some(b"WAVE")) => "audio/wav",
        (Some(b"RIFF"), _, Some(b"AVI ")) => "video/x-msvideo",
        (Some(b"FORM"), _, Some(b"AIFF")) => "audio/aiff",
        (_, Some(b"ftyp"), Some(b"avif")) => "image/avif",
        (_, Some(b"ftyp"), _) => "video/mp4",
        _ if is_binary(body) => "application/octet-stream",
        _ => "text/plain",
    }
}

/// Whether text is none: it holds an octet that no text has.
pub(super) fn is_binary(body: &[u8]) -> bool {
    let body = body.get(..SNIFF_LENGTH).unwrap_or(body);
    let marked = [&b"\xfe\xff"[..], b"\xff\xfe", b"\xef\xbb\xbf"].iter().any(|mark| body.starts_with(mark));
    // Whole blocks at a time, which takes vector instructions: nearly every body is looked at to its end.
    let of_no_text =
        |b: u8| (b < 0x20) & (b != b'\t') & (b != b'\n') & (b != 0x0c) & (b != b'\r') & (b != 0x1b);
    !marked && body.chunks(BLOCK).any(|block| block.iter().fold(false, |found, b| found | of_no_text(*b)))
}

fn begins_with_tag(text: &[u8], tag: &[u8]) -> bool {
    text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag))
        && text.get(tag.len()).is_none_or(|next| matches!(next, b'>' | b' ' | b'\t' | b'\r' | b'\n' | 0x0c))
}
