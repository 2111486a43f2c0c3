//! Exchanges and what they are: the fixture, what the process changes, what hostile heads may not do.

mod content;

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
fn nothing_is_announced_in_more_than_one_way() {
    let request = get(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]);
    let found = |lengths: &[&str]| {
        let mut fields = vec![("content-type", "application/octet-stream")];
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        by(None, &request, &ok(&fields)).download
    };
    for nothing in [&["0"][..], &["00"], &["0", "000"], &["0, 0"]] {
        assert!(!found(nothing), "{nothing:?}");
    }
    for something in [&[][..], &["10"], &["0", "1"], &[""], &["0, "]] {
        assert!(found(something), "{something:?}");
    }
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
