//! What the first octets of a body say, and what codings and parts keep from being seen.

use super::*;

#[test]
fn what_is_labelled_as_a_file_is_a_part_of_a_page_by_its_content() {
    let attachment = ("Content-Disposition", "attachment; filename=x");
    let png = &b"\x89PNG\r\n\x1a\n"[..];
    let part = |fields: &[(&str, &str)], first: &[u8], client| {
        let request = get(&[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]);
        let response = ok(fields);
        let exchange = Exchange { client, ..Exchange::new(&request, &response, "h") };
        let wanted = exchange.look_ahead(false);
        let found = classify(&Exchange { first_bytes: Some(FirstBytes::prefix(first)), ..exchange });
        (wanted, found.kind == Kind::Subresource && !found.download)
    };
    let looked = |is_part| (MAX_LOOK_AHEAD, is_part);
    let browser = Some(ClientKind::Browser);
    for declared in
        [Some("application/octet-stream"), Some("binary/octet-stream"), Some("application/x-own"), None]
    {
        let fields: Vec<_> =
            declared.map(|mime| ("Content-Type", mime)).into_iter().chain([attachment]).collect();
        for (first, is_part) in [
            (png, true),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", true),
            (b"\x00\x00\x00\x18ftypisom", true),
            (b"wOF2\x00\x01\x00\x00\x00\x00\x00\x00", true),
            (b"%PDF-1.7", false),
            (b"PK\x03\x04", false),
            (b"II*\x00", false),
            (b"8BPS\x00\x01", false),
            (b"name,card", false),
            (b"", false),
        ] {
            assert_eq!(
                part(&fields, first, browser),
                looked(is_part),
                "{declared:?} {}",
                first.escape_ascii()
            );
        }
        assert!(!part(&fields, png, Some(ClientKind::Native)).1, "{declared:?}");
    }
    // Its content makes no part of what is declared as a file.
    for declared in ["application/zip", "application/pdf", "image/png, application/zip"] {
        assert!(!part(&[("Content-Type", declared), attachment], png, browser).1, "{declared}");
    }
}

#[test]
fn only_doubtful_types_ask_for_a_look_at_the_body() {
    let request = get(&[("Sec-Fetch-Mode", "navigate")]);
    let wanted = |fields: &[(&str, &str)]| Exchange::new(&request, &ok(fields), "h").look_ahead(false);
    assert_eq!(wanted(&[("Content-Type", "text/html"), ("Content-Length", "9")]), 0);
    assert_eq!(wanted(&[("Content-Type", "application/zip")]), 0);
    assert_eq!(wanted(&[]), sniff::SNIFF_LENGTH);
    assert_eq!(wanted(&[("Content-Type", "unknown/unknown")]), sniff::SNIFF_LENGTH);
    assert_eq!(wanted(&[("Content-Type", "text/plain")]), sniff::SNIFF_LENGTH);
    assert_eq!(wanted(&[("Content-Type", "text/plain"), ("X-Content-Type-Options", "NoSniff")]), 0);
    assert_eq!(wanted(&[("Content-Encoding", "br")]), MAX_LOOK_AHEAD);
    assert_eq!(wanted(&[("Content-Length", "0")]), 0);
}

#[test]
fn scripts_and_programs_are_not_believed_about_types_that_have_a_length() {
    let wanted = |mode: &str, status, fields: &[(&str, &str)], true_type| {
        let request = get(&[("Sec-Fetch-Mode", mode)]);
        let head = fields.iter().fold(ResponseHead::new(status, Version::Http11), |h, (n, v)| h.with(n, v));
        Exchange::new(&request, &head, "h").look_ahead(true_type)
    };
    let (json, length) = (("Content-Type", "application/json"), ("Content-Length", "9"));
    assert_eq!(wanted("cors", 200, &[json, length], false), MAX_LOOK_AHEAD);
    assert_eq!(wanted("cors", 200, &[json], false), 0, "an answer that grows is not waited for");
    assert_eq!(wanted("cors", 404, &[json, length], false), 0);
    assert_eq!(wanted("navigate", 200, &[json, length], false), 0);
    let zip = ("Content-Type", "application/zip");
    assert_eq!(wanted("cors", 200, &[zip, length], false), 0, "a download whatever it holds");
    assert_eq!(wanted("navigate", 200, &[zip, length], true), MAX_LOOK_AHEAD);
    for nothing in [
        (200, &[("Content-Type", "text/event-stream")][..]),
        (204, &[]),
        (302, &[("Location", "/x"), ("Content-Length", "0")]),
        (302, &[("Location", "/x"), ("Content-Type", "text/event-stream")]),
        (206, &[zip, ("Content-Range", "bytes 5-9/10")]),
    ] {
        assert_eq!(wanted("navigate", nothing.0, nothing.1, true), 0, "{nothing:?}");
    }
    let start = [zip, ("Content-Range", "bytes 0-9/100")];
    assert_eq!(wanted("navigate", 206, &start, true), MAX_LOOK_AHEAD);
}

#[test]
fn a_renamed_file_is_seen_by_its_content() {
    let first = |mode: &str, mime: &str, octets: &[u8]| {
        let request = get(&[("Sec-Fetch-Mode", mode)]);
        let response = ok(&[("Content-Type", mime), ("X-Content-Type-Options", "nosniff")]);
        let exchange = Exchange::new(&request, &response, "h");
        let found = classify(&Exchange { first_bytes: Some(FirstBytes::prefix(octets)), ..exchange });
        (found.download, found.kind, found.file_type.map(|known| known.name()))
    };
    let zip = b"PK\x03\x04";
    assert_eq!(first("cors", "application/json", zip), (true, Kind::Sniff, Some("zip")));
    assert_eq!(first("cors", "image/png", b"%PDF-1.7"), (true, Kind::Sniff, Some("pdf")));
    assert_eq!(first("cors", "application/pdf", b"%PDF-1.7"), (false, Kind::Preview, Some("pdf")));
    assert_eq!(first("cors", "application/json", b"{}"), (false, Kind::Api, Some("txt")));
    assert_eq!(first("cors", "application/x-protobuf", b"\x1f\x8b\x08"), (false, Kind::Api, Some("gz")));
    // A browser shows what it was told this is.
    assert_eq!(first("navigate", "text/html", zip), (false, Kind::Render, Some("zip")));
    assert_eq!(first("navigate", "text/plain", zip), (false, Kind::Render, Some("zip")));
}

#[test]
fn the_middle_of_a_file_does_not_tell_its_type() {
    let request = get(&[("Sec-Fetch-Mode", "cors")]);
    let told = |range: &str| {
        let response = ResponseHead::new(206, Version::Http11)
            .with("Content-Type", "text/plain")
            .with("Content-Range", range);
        let exchange = Exchange::new(&request, &response, "h");
        let found = classify(&Exchange { first_bytes: Some(FirstBytes::prefix(b"MZ\x90\x00")), ..exchange });
        found.file_type.map(|known| known.name())
    };
    assert_eq!(told("bytes 0-3/100"), Some("exe"));
    assert_eq!(told("bytes 4-7/100"), None);
    assert_eq!(told("pages 0-3/100"), None);
}

fn asked(who: &str) -> RequestHead {
    if who == "program" { get(&[("User-Agent", "curl/8.0")]) } else { get(&[("Sec-Fetch-Mode", who)]) }
}

#[test]
fn what_came_too_slowly_to_be_told_is_taken_for_unseen() {
    let told = |who: &str, mime: Option<&str>, first: FirstBytes<'_>| {
        let (request, response) = (asked(who), mime.map_or(ok(&[]), |mime| ok(&[("Content-Type", mime)])));
        let found =
            classify(&Exchange { first_bytes: Some(first), ..Exchange::new(&request, &response, "h") });
        (found.download, found.kind)
    };
    let long = "text ".repeat(200);
    for who in ["navigate", "program"] {
        for few in ["", "P", "PK", "text that may go on"] {
            let few = few.as_bytes();
            assert_eq!(told(who, None, FirstBytes::prefix(few)), (true, Kind::Sniff), "{who} {few:?}");
            assert!(!told(who, None, FirstBytes::whole(few)).0, "{who} {few:?}");
            assert!(!told(who, Some("text/plain"), FirstBytes::prefix(few)).0, "{who} {few:?}");
        }
        assert!(!told(who, None, FirstBytes::prefix(long.as_bytes())).0, "{who}");
        assert!(!told(who, None, FirstBytes::prefix(b"<!doctype html>")).0, "{who}");
    }
    assert_eq!(told("cors", None, FirstBytes::prefix(b"P")), (false, Kind::Api));
}

#[test]
fn codings_that_hide_what_is_in_them_make_a_download() {
    let told = |who: &str, mime: Option<&str>, codings: &str, first: Option<&[u8]>| {
        let response = ok(&[("Content-Encoding", codings)]);
        let response = mime.map_or(response.clone(), |mime| response.with("Content-Type", mime));
        let request = asked(who);
        let first_bytes = first.map(FirstBytes::prefix);
        classify(&Exchange { first_bytes, ..Exchange::new(&request, &response, "h") }).download
    };
    let empty = [&b"\x1f\x8b\x08\x00\0\0\0\0\0\xff"[..], &b"\0\0\0\xff\xff".repeat(40_000)].concat();
    let many = "gzip, gzip, gzip, gzip, gzip";
    let zip = b"PK\x03\x04\x14\x00\x00\x00";
    for mime in [None, Some("text/plain"), Some("application/json"), Some("text/html")] {
        for who in ["cors", "program"] {
            assert!(told(who, mime, "gzip", Some(&empty)), "{who} {mime:?}");
            assert!(told(who, mime, many, None), "{who} {mime:?}");
            assert!(told(who, mime, "gzip", Some(zip)), "{who} {mime:?}: no gzip");
            assert!(told(who, mime, "br", Some(zip)), "{who} {mime:?}: no br");
        }
        let sniffed = mime.is_none_or(|mime| mime == "text/plain");
        assert_eq!(told("navigate", mime, "gzip", Some(&empty)), sniffed, "{mime:?}");
        assert_eq!(told("navigate", mime, many, None), sniffed, "{mime:?}");
    }
    // The beginning of an ordinary answer, of which nothing came yet.
    for coding in ["gzip", "br", "zstd", "deflate"] {
        assert!(!told("cors", Some("application/json"), coding, Some(b"")), "{coding}");
        assert!(!told("program", Some("application/json"), coding, None), "{coding}");
    }
}

#[test]
fn parts_of_text_are_text() {
    let part = |who: &str, fields: &[(&str, &str)], first: Option<&[u8]>| {
        let response = fields.iter().fold(ResponseHead::new(206, Version::Http11), |h, (n, v)| h.with(n, v));
        let response = response.with("Content-Range", "bytes 1-99/100");
        let request = asked(who);
        let exchange = Exchange::new(&request, &response, "h");
        let wanted = exchange.look_ahead(false);
        let first_bytes = first.map(FirstBytes::prefix);
        let found = classify(&Exchange { first_bytes, ..exchange });
        (wanted > 0, (found.download, found.kind))
    };
    let (zip, text) = (&b"K\x03\x04\x14\x00\x00"[..], &b"ext, and more of it"[..]);
    let range = (true, Kind::Range);
    for mime in ["text/plain", "text/html", "application/json", "text/css", "application/javascript"] {
        let declared = [("Content-Type", mime)];
        for who in ["cors", "program"] {
            assert_eq!(part(who, &declared, Some(zip)), (true, range), "{who} {mime}");
            assert!(!part(who, &declared, Some(text)).1.0, "{who} {mime}");
            let unseen = part(who, &declared, None).1.0;
            assert_eq!(unseen, mime == "text/plain", "{who} {mime}");
            let coded = [declared[0], ("Content-Encoding", "gzip")];
            let (wanted, (download, _)) = part(who, &coded, Some(zip));
            assert_eq!((wanted, download), (false, mime == "text/plain"), "{who} {mime}");
        }
    }
    let (plain, nosniff) = (("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff"));
    assert!(part("navigate", &[plain], Some(zip)).1.0);
    assert!(!part("navigate", &[plain, nosniff], Some(zip)).1.0);
    assert!(!part("navigate", &[plain], Some(text)).1.0);
    assert!(part("program", &[plain, nosniff], None).1.0);
    // Fonts, calls and media are no text in any part.
    for mime in ["font/woff2", "application/x-protobuf", "video/mp4", "image/png"] {
        let (wanted, (download, _)) = part("cors", &[("Content-Type", mime)], Some(zip));
        assert_eq!((wanted, download), (false, false), "{mime}");
    }
}

#[test]
fn a_series_of_parts_is_saved_where_gecko_navigates_to_it() {
    let response = ok(&[("Content-Type", "multipart/x-mixed-replace; boundary=x")]);
    let saved = |agent: &str, mode: &str, dest: &str| {
        let request = get(&[("User-Agent", agent), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)]);
        by(None, &request, &response).download
    };
    let (firefox, chrome) = ("Mozilla/5.0 Gecko/20100101 Firefox/153.0", "Mozilla/5.0 AppleWebKit/537.36");
    assert!(saved(firefox, "navigate", "document"));
    assert!(saved(firefox, "navigate", "iframe"));
    assert!(!saved(firefox, "no-cors", "image"), "a camera");
    assert!(!saved(chrome, "navigate", "document"));
}

#[test]
fn content_is_told_from_its_first_octets() {
    let table: [(&[u8], &str); 14] = [
        (b"<!DOCTYPE HTML>", "text/html"),
        (b"\n <body class=x>", "text/html"),
        (b"<bodyguard>", "text/plain"),
        (b"<?xml version=\"1.0\"?>", "text/xml"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
        (b"MZ\x90\x00", "application/x-msdownload"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\xef\xbb\xbf\x00", "text/plain"),
        (b"plain\ttext\r\n\x0c\x1b[0m", "text/plain"),
        (b"some\x01thing", "application/octet-stream"),
        (b"", "text/plain"),
    ];
    for (body, essence) in table {
        assert_eq!(sniff::sniff(body), essence, "{body:?}");
        for end in 0..body.len() {
            let _ = sniff::sniff(&body[..end]);
        }
    }
}
