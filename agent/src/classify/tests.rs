//! Exchanges and what they are: the fixture, what the process changes, what hostile heads may not do.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::catalog::Catalog;
use crate::diagnostic::SourceFile;
use crate::exchange::{Answer, Record, read_line};
use crate::http::head::Version;

const FIXTURE: &str = include_str!("../../../tests/fixtures/exchanges.jsonl");
/// With as much of what is expected as a standard, or what the app does, says.
const IN_PARTS: &str = include_str!("../../../tests/fixtures/classified.jsonl");

fn records(fixture: &str) -> Vec<(Record, Value)> {
    let records: Vec<_> = fixture
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let record = read_line(line, index + 1).expect("an exchange").expect("no blank line");
            let value: Value = serde_json::from_str(line).expect("JSON");
            (record, value["expect"].clone())
        })
        .collect();
    assert!(records.len() > 120, "only {} exchanges", records.len());
    records
}

#[test]
fn every_exchange_of_the_fixture_agrees() {
    let mut wrong = Vec::new();
    let catalog = Catalog::builtin();
    for (record, expect) in records(FIXTURE).into_iter().chain(records(IN_PARTS)) {
        let found = classify(&record.exchange_with(&catalog));
        let answer = Answer::new(&record, &found);
        let mut found = serde_json::json!({
            "activity": answer.activity,
            "download": answer.download,
            "filename": answer.filename,
            "mime": answer.mime,
            "kind": answer.kind,
        });
        let asked = expect.as_object().expect("an object");
        found.as_object_mut().expect("an object").retain(|key, _| asked.contains_key(key));
        if found != expect {
            wrong.push(format!("{}: {found}\n    want {expect}", record.id));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn get(fields: &[(&str, &str)]) -> RequestHead {
    fields.iter().fold(RequestHead::new("GET", "/a.bin", Version::Http11), |head, (n, v)| head.with(n, v))
}

fn ok(fields: &[(&str, &str)]) -> ResponseHead {
    fields.iter().fold(ResponseHead::new(200, Version::Http11), |head, (n, v)| head.with(n, v))
}

fn by(client: Option<ClientKind>, request: &RequestHead, response: &ResponseHead) -> Classification {
    classify(&Exchange { client, ..Exchange::new(request, response, "files.corp.test") })
}

#[test]
fn nobody_gets_a_file_by_posing_as_a_part_of_a_page() {
    let request =
        get(&[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"), ("User-Agent", "Mozilla/5.0")]);
    let downloads = |client, fields: &[(&str, &str)]| by(client, &request, &ok(fields)).download;
    let attachment = ("Content-Disposition", "attachment; filename=x");
    for client in [None, Some(ClientKind::Native), Some(ClientKind::Browser)] {
        for mime in ["application/zip", "application/pdf", "application/octet-stream", "application/x-own"] {
            assert!(downloads(client, &[("Content-Type", mime), attachment]), "{client:?} {mime}");
        }
        assert!(downloads(client, &[attachment]), "{client:?}");
        assert!(downloads(client, &[("Content-Type", "application/zip")]), "{client:?}");
        assert!(downloads(client, &[("Content-Type", "image/png, application/zip"), attachment]));
    }
    let image = [("Content-Type", "image/png"), attachment];
    assert!(downloads(Some(ClientKind::Native), &image));
    assert!(!downloads(Some(ClientKind::Browser), &image));
    assert!(!downloads(Some(ClientKind::Browser), &[("Content-Type", "application/octet-stream")]));
}

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

/// An app with a rule of each kind.
fn app() -> std::sync::Arc<App> {
    let rules = ["sign-in", "sign-in-failed", "message", "share", "print", "view", "upload", "download"];
    let rules: String =
        rules.iter().map(|kind| format!("[[app.activity]]\ntype = '{kind}'\npath = '/{kind}/*'\n")).collect();
    let text = format!("[[app]]\nid = 'corp'\ndomains = ['files.corp.test']\n{rules}");
    let catalog = Catalog::build(&[SourceFile::new("a.toml", text)]).expect("an app");
    catalog.app("corp").expect("the app").clone()
}

fn under_rules(request: &RequestHead, response: &ResponseHead) -> Classification {
    classify(&Exchange { app: Some(&app()), ..Exchange::new(request, response, "files.corp.test") })
}

#[test]
fn rules_of_the_app_name_activities() {
    let called = |path: &str, status| {
        let request = RequestHead::new("POST", path, Version::Http11).with("Sec-Fetch-Mode", "cors");
        let response = ResponseHead::new(status, Version::Http11).with("Content-Type", "application/json");
        let found = under_rules(&request, &response);
        (found.activity.name(), found.kind.name())
    };
    assert_eq!(called("/message/1", 201), ("message", "page"));
    assert_eq!(called("/share/1", 200), ("share", "page"));
    assert_eq!(called("/upload/1", 200), ("upload", "page"));
    assert_eq!(called("/print/1", 200), ("print", "page"));
    assert_eq!(called("/print/1", 404), ("none", "error"));
    assert_eq!(called("/view/1", 200), ("view", "page"));
    assert_eq!(called("/view/1", 404), ("none", "error"));
    // Attempts are worth a record, whatever came of them; the status stands in it.
    assert_eq!(called("/message/1", 403), ("message", "error"));
    assert_eq!(called("/download/1", 200), ("none", "api"));
    assert_eq!(called("/other", 200), ("none", "api"));
}

#[test]
fn a_sign_in_is_told_from_a_failed_one() {
    let called = |status, location: &str| {
        let request =
            RequestHead::new("POST", "/sign-in/x", Version::Http11).with("Sec-Fetch-Mode", "navigate");
        let response = ResponseHead::new(status, Version::Http11)
            .with("Content-Type", "text/html")
            .with("Location", location);
        under_rules(&request, &response).activity.name()
    };
    assert_eq!(called(200, ""), "sign-in");
    assert_eq!(called(302, "https://app.test/?code=1&state=2"), "sign-in");
    assert_eq!(called(302, "https://app.test/errors?kind=error"), "sign-in");
    assert_eq!(called(302, "https://app.test/?error=access_denied&state=2"), "sign-in-failed");
    assert_eq!(called(302, "https://app.test/#state=2&error=access_denied"), "sign-in-failed");
    assert_eq!(called(400, ""), "sign-in-failed");
    assert_eq!(called(401, ""), "sign-in-failed");
    assert_eq!(called(500, ""), "sign-in-failed");
}

#[test]
fn where_the_app_hands_out_files_scripts_and_programs_take_them() {
    let taken = |mode: Option<&str>, mime: &str| {
        let request = RequestHead::new("GET", "/download/a.md", Version::Http11);
        let request = mode.map_or(request.clone(), |mode| request.with("Sec-Fetch-Mode", mode));
        let found = under_rules(&request, &ok(&[("Content-Type", mime)]));
        (found.download, found.kind.name())
    };
    assert_eq!(taken(Some("cors"), "text/markdown"), (true, "fetch"));
    assert_eq!(taken(Some("cors"), "application/json"), (false, "api"));
    assert_eq!(taken(Some("cors"), "image/png"), (false, "preview"));
    assert_eq!(taken(Some("cors"), "text/html"), (false, "api"));
    assert_eq!(taken(Some("navigate"), "text/plain"), (false, "render"));
    assert_eq!(taken(None, "application/json"), (true, "mime"));
    assert_eq!(taken(None, "image/png"), (true, "mime"));
    assert_eq!(taken(None, "text/html"), (false, "api"), "the app asks back");
}

#[test]
fn a_request_is_named_before_its_answer() {
    let named = |method: &str, path: &str, mime: &str| {
        let request = RequestHead::new(method, path, Version::Http11).with("Content-Type", mime);
        let (nothing, app) = (no_answer(Version::Http11), app());
        let exchange = Exchange::new(&request, &nothing, "files.corp.test");
        classify_request(&Exchange { app: Some(&app), ..exchange }).activity.name()
    };
    assert_eq!(named("POST", "/message/1", "application/json"), "message");
    assert_eq!(named("PUT", "/x", "application/pdf"), "upload");
    assert_eq!(named("POST", "/x", "application/json"), "none");
}

#[test]
fn an_api_names_its_file_in_a_field_of_its_own() {
    let request = RequestHead::new("POST", "/2/files/download", Version::Http11);
    let named = |result: &str, more: (&str, &str)| {
        let fields = [("Content-Type", "application/octet-stream"), ("Dropbox-API-Result", result), more];
        by(None, &request, &ok(&fields)).filename
    };
    let nothing = ("X", "y");
    assert_eq!(named(r#"{"name":"Q3 plan.pptx","size":1}"#, nothing).as_deref(), Some("Q3 plan.pptx"));
    assert_eq!(named(r#"{"name":"../x"}"#, nothing).as_deref(), Some(".._x"));
    let disposition = ("Content-Disposition", "attachment; filename=b.txt");
    assert_eq!(named(r#"{"name":"a.txt"}"#, disposition).as_deref(), Some("b.txt"));
    for broken in ["", "{", "[]", r#"{"name":1}"#] {
        assert_eq!(named(broken, nothing).as_deref(), Some("download"), "{broken}");
    }
}

#[test]
fn a_browser_without_metadata_is_told_by_what_it_accepts() {
    let image = ok(&[("Content-Type", "image/png"), ("Content-Disposition", "attachment")]);
    let accept = |accept| by(Some(ClientKind::Browser), &get(&[("Accept", accept)]), &image);
    assert_eq!(accept("image/avif,image/webp,*/*;q=0.8").kind, Kind::Subresource);
    assert_eq!(accept("text/html,application/xhtml+xml,*/*;q=0.8").kind, Kind::Attachment);
    assert_eq!(accept("*/*").kind, Kind::Fetch);
    let native = by(None, &get(&[("Accept", "image/avif")]), &image);
    assert_eq!(
        (native.download, native.kind),
        (true, Kind::Attachment),
        "what only claims to be a browser is none"
    );
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
fn what_a_redirect_carries_is_judged_as_if_nobody_followed_it() {
    let carried = |mode: Option<&str>, fields: &[(&str, &str)], body: Option<&[u8]>| {
        let request = get(&mode.map_or_else(Vec::new, |mode| vec![("Sec-Fetch-Mode", mode)]));
        let head = fields.iter().fold(ResponseHead::new(302, Version::Http11), |h, (n, v)| h.with(n, v));
        let head = head.with("Location", "/x");
        let first_bytes = body.map(FirstBytes::whole);
        let exchange = Exchange { first_bytes, ..Exchange::new(&request, &head, "h") };
        let class = classify(&exchange);
        assert_eq!((class.download, class.kind, class.filename), (false, Kind::Redirect, None), "{fields:?}");
        let wanted = Exchange::new(&request, &head, "h").look_ahead(false);
        (wanted, classify_carried(&exchange).map(|class| (class.kind, class.filename)))
    };
    let file = [("Content-Disposition", "attachment; filename=a.zip"), ("Content-Type", "application/zip")];
    let html = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "9")];
    let zip = &b"PK\x03\x04\x14\0"[..];
    for mode in [None, Some("navigate"), Some("cors")] {
        let (wanted, found) = carried(mode, &file, Some(zip));
        let found = found.expect("a download");
        assert!(matches!(found.0, Kind::Attachment | Kind::Fetch), "{mode:?}");
        assert_eq!((wanted, found.1.as_deref()), (1, Some("a.zip")), "{mode:?}");
        // As with SharePoint and Google Drive: the head is the file's, and there is no body.
        assert_eq!(carried(mode, &file, Some(b"")).1, None, "{mode:?}");
        assert_eq!(carried(mode, &[file[0], file[1], ("Content-Length", "0")], None), (0, None), "{mode:?}");
        assert_eq!(carried(mode, &html, Some(b"<html>Go</html>")).1, None, "{mode:?}");
    }
    assert_eq!(carried(Some("navigate"), &html, None).0, 0);
    // A link with the download attribute saves what the redirect leads to, not the page that says so.
    let link = get(&[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "empty")]);
    let first_bytes = Some(FirstBytes::whole(b"<html>Go</html>"));
    let answered =
        |status| html.iter().fold(ResponseHead::new(status, Version::Http11), |h, (n, v)| h.with(n, v));
    let (page, on) = (answered(200), answered(302).with("Location", "/x"));
    assert_eq!(
        classify(&Exchange { first_bytes, ..Exchange::new(&link, &page, "h") }).kind,
        Kind::RequestSignal
    );
    let carries = Exchange { first_bytes, ..Exchange::new(&link, &on, "h") };
    assert_eq!((classify_carried(&carries), carries.look_ahead(false)), (None, 0));
    // Without a type, what comes tells.
    for (body, kind) in [(zip, Some(Kind::Sniff)), (b"<html>Go</html>", None), (b"", None)] {
        let (wanted, found) = carried(None, &[], Some(body));
        assert_eq!((wanted, found.map(|found| found.0)), (sniff::SNIFF_LENGTH, kind), "{body:?}");
    }
    let not_followed = ResponseHead::new(302, Version::Http11).with("Content-Type", "application/zip");
    assert_eq!(
        classify_carried(&Exchange::new(&get(&[]), &not_followed, "h")),
        None,
        "judged like any other"
    );
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
fn other_names_come_along_for_policies() {
    let request = get(&[("Sec-Fetch-Mode", "navigate")]);
    let response = ok(&[(
        "Content-Disposition",
        "attachment; filename=a/b.txt; filename*0=\"..\\\\run\"; filename*1=.exe",
    )]);
    let found = by(None, &request, &response);
    assert_eq!(found.filename.as_deref(), Some("a_b.txt"));
    assert_eq!(found.other_filenames, [".._run.exe"]);
}

#[test]
fn an_address_is_saved_under_the_extension_of_the_type_too() {
    let names = |address: &str, mime: &str, body: &[u8]| {
        let request = RequestHead::new("GET", address, Version::Http11);
        let response = ok(&[("content-type", mime)]);
        let first = FirstBytes { octets: body, complete: true };
        let found =
            classify(&Exchange { first_bytes: Some(first), ..Exchange::new(&request, &response, "a.test") });
        assert!(found.download, "{address} {mime}");
        found.filename.into_iter().chain(found.other_filenames).collect::<Vec<_>>()
    };
    let zip = b"PK\x05\x06";
    assert_eq!(names("/b.pdf?x=1", "application/zip", zip), ["b.pdf", "b.zip"]);
    assert_eq!(names("/b.pdf", "application/zip", zip), ["b.pdf"], "nobody calls a program");
    assert_eq!(names("/export?id=7", "application/zip", zip), ["export", "export.zip"]);
    assert_eq!(names("/export", "application/octet-stream", zip), ["export", "export.zip"]);
    assert_eq!(names("/b.ZIP?x=1", "application/zip", zip), ["b.ZIP"]);
    assert_eq!(names("/b.php?x=1", "application/octet-stream", b"\0\x01"), ["b.php"]);
    assert_eq!(names("/?x=1", "application/zip", zip), Vec::<String>::new());
}

#[test]
fn the_table_of_types_agrees_with_the_browsers() {
    use media_type::Handling;
    let table = include_str!("../../../tests/fixtures/media_types.tsv");
    let name = |handling| match handling {
        Handling::Render => "render",
        Handling::Save => "save",
        Handling::Viewer => "viewer",
        Handling::Sniff => "sniff",
    };
    let mut seen = 0;
    for row in table.lines().skip(1) {
        let [essence, chromium, gecko] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row:?}") };
        let traits = media_type::traits(essence);
        assert_eq!([name(traits.chromium), name(traits.gecko)], [chromium, gecko], "{essence}");
        seen += 1;
    }
    assert!(seen > 140, "only {seen} types");
}

#[test]
fn types_are_read_as_browsers_do() {
    let table: [(&[&str], Option<&str>); 9] = [
        (&["text/html; charset=utf-8"], Some("text/html")),
        (&[" Text/HTML "], Some("text/html")),
        (&["text/html", "image/png"], Some("image/png")),
        (&["text/html, garbage"], Some("text/html")),
        (&["text/html;x=\"a,b/c\""], Some("text/html")),
        (&["text/"], None),
        (&["/html"], None),
        (&["text html"], None),
        (&[""], None),
    ];
    for (values, essence) in table {
        let response = values.iter().fold(ok(&[]), |head, value| head.with("Content-Type", value));
        assert_eq!(Declared::of(response.fields()).essence(), essence, "{values:?}");
    }
    let long = format!("text/{}", "x".repeat(300));
    assert_eq!(Declared::of(ok(&[("Content-Type", &long)]).fields()).essence(), None);
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

/// Heads made of words that matter, in any combination.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("navigate".to_owned()),
        Just("no-cors".to_owned()),
        Just("document".to_owned()),
        Just("empty".to_owned()),
        Just("image".to_owned()),
        Just("inline; filename=\"x".to_owned()),
        Just("attachment; filename*=UTF-8''%2e%2e%2f%00".to_owned()),
        Just("text/plain".to_owned()),
        Just("application/zip".to_owned()),
        "[ -~]{0,12}",
    ]
}

proptest! {
    #[test]
    fn any_head_gets_an_answer_that_is_safe_to_show(
        mode in word(), dest in word(), disposition in word(), kind in word(), status in 0u16..1000,
        path in "/[ -~]{0,20}", body in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let request = RequestHead::new("GET", &path, Version::Http11)
            .with("Sec-Fetch-Mode", &mode)
            .with("Sec-Fetch-Dest", &dest);
        let response = ResponseHead::new(status, Version::Http11)
            .with("Content-Disposition", &disposition)
            .with("Content-Type", &kind);
        let exchange = Exchange {
                first_bytes: body.as_deref().map(FirstBytes::prefix),
                ..Exchange::new(&request, &response, "files.corp.test")
            };
        let found = classify(&exchange);
        prop_assert_eq!(found.download, found.activity == ActivityType::Download);
        for name in found.filename.iter().chain(&found.other_filenames) {
            prop_assert!(!name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')), "{:?}", name);
        }
        prop_assert!(!found.reason.chars().any(char::is_control));
    }

    /// Whatever else a response says, an attachment navigated to is a download.
    #[test]
    fn an_attachment_navigated_to_is_always_a_download(kind in word(), other in word(), more in word()) {
        let request = get(&[("Sec-Fetch-Mode", "navigate")]);
        let response = ok(&[
            ("Content-Type", &kind),
            ("Content-Disposition", "attachment; filename=x"),
            ("X-Other", &other),
            ("Content-Disposition", &more),
        ]);
        prop_assert!(by(None, &request, &response).download);
    }
}
