//! Lines and HAR documents, good and broken, and the answers written for them.

use super::*;
use crate::classify::{ActivityType, classify};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::session::{Device, User};

fn line(text: &str) -> Record {
    read_line(text, 1).expect("no error").expect("an exchange")
}

fn complaint(text: &str) -> String {
    read_line(text, 7).expect_err("a broken line").to_string()
}

#[test]
fn a_line_becomes_heads() {
    let record = line(
        r#"{"id":"a","request":{"method":"GET","url":"https://Files.Corp.Test.:8443/x/y%20z?q=1#f"},"response":
            {"protocol":"h2","status":200,"headers":[["Content-Disposition","attachment; filename=\u00e4.txt"]]}}"#,
    );
    assert_eq!((record.id.as_str(), record.host.as_str()), ("a", "files.corp.test"));
    assert_eq!((record.request.method(), record.request.target()), ("GET", "/x/y%20z?q=1"));
    assert_eq!(record.request.version(), Version::Http2);
    assert_eq!(
        record.response.fields().get("content-disposition"),
        Some(&b"attachment; filename=\xe4.txt"[..])
    );
    assert_eq!(record.body, None);
}

#[test]
fn what_may_be_left_out_is() {
    let record = line(r#"{"request":{"method":"GET","url":"/a"},"response":{"status":200}}"#);
    assert_eq!((record.id.as_str(), record.host.as_str()), ("1", ""));
    let record = line(
        r#"{"id":5,"request":{"method":"GET","url":"/a","headers":[["host","H.test:80"]]},
            "response":{"status":200,"body_base64":"aGk="},"unknown":[]}"#,
    );
    assert_eq!(
        (record.id.as_str(), record.host.as_str(), record.body.as_deref()),
        ("5", "h.test", Some(&b"hi"[..]))
    );
    assert!(read_line("  \r\n", 1).expect("blank").is_none());
}

#[test]
fn addresses_are_taken_apart() {
    let table = [
        ("https://h.test", "/", "h.test"),
        ("https://h.test?a=b", "/?a=b", "h.test"),
        ("http://u:p@h.test:80/a//b", "/a//b", "h.test"),
        ("https://[2001:db8::1]:443/", "/", "[2001:db8::1]"),
        ("https://[2001:db8::1]/x", "/x", "[2001:db8::1]"),
        ("https://h.test/a@b:c", "/a@b:c", "h.test"),
    ];
    for (url, target, host) in table {
        let address = Address::of(url).expect(url);
        assert_eq!((address.target.as_str(), address.host.as_deref()), (target, Some(host)), "{url}");
    }
    for url in ["", "h.test/a", "https:///a", "data:text/plain,x"] {
        assert!(Address::of(url).is_none(), "{url}");
    }
}

#[test]
fn a_broken_line_is_named_with_what_is_wrong() {
    let with = |url: &str, status: &str, header: &str, body: &str| {
        format!(
            r#"{{"id":"a","request":{{"method":"GET","url":"{url}"}},"response":{{"status":{status},"headers":[{header}]{body}}}}}"#
        )
    };
    let good = with("https://h/", "200", "", "");
    assert!(read_line(&good, 1).is_ok());
    let table = [
        ("{", "line 7: EOF while parsing"),
        ("[]", "line 7: invalid length 0"),
        ("nonsense", "line 7: expected ident"),
        (r#"{"id":"a"}"#, "line 7: missing field `request` (column 10)"),
        (
            r#"{"id":["a"],"request":{"method":"GET","url":"/"},"response":{"status":200}}"#,
            "line 7: `id` is neither",
        ),
        (r#"{"request":{"method":"GET"},"response":{"status":200}}"#, "line 7: missing field `url`"),
        (&with("h/x", "200", "", ""), "line 7: `request.url` is no absolute URL: \"h/x\""),
        (&with("https://h/", "99", "", ""), "line 7: `response.status` is 99"),
        (&with("https://h/", "\"200\"", "", ""), "line 7: invalid type: string \"200\""),
        (&with("https://h/", "200", r#"["a"]"#, ""), "line 7: invalid length 1"),
        (
            &with("https://h/", "200", r#"["a","€"]"#, ""),
            "line 7: response header \"a\": '€' is above U+00FF",
        ),
        (
            &with("https://h/", "200", "", r#","body_base64":"*""#),
            "line 7: `response.body_base64` is not base64",
        ),
        (&format!("{good} x"), "line 7: trailing characters"),
    ];
    for (text, start) in table {
        let found = complaint(text);
        assert!(found.starts_with(start), "{text}: {found}");
        assert!(!found.contains("at line"), "{found}");
    }
    for end in 1..good.len() {
        assert!(read_line(&good[..end], 1).is_err(), "{}", &good[..end]);
    }
}

#[test]
fn a_har_document_is_told_by_its_first_line() {
    for line in ["{", "{\n", "\u{FEFF}{\r\n", r#"{"log":{"entries":[]}}"#, r#" { "log": {"#] {
        assert_eq!(Format::of_first_line(line), Format::Har, "{line}");
    }
    for line in [r#"{"id":"a"}"#, r#"{"logs":1}"#, "nonsense", "[", ""] {
        assert_eq!(Format::of_first_line(line), Format::JsonLines, "{line}");
    }
}

#[test]
fn a_har_document_becomes_records() {
    let text = r#"{
      "log": {"version": "1.2", "entries": [
        {"request": {"method": "GET", "url": "https://files.corp.test/a.zip", "httpVersion": "HTTP/2",
           "headers": [{"name": ":authority", "value": "files.corp.test"}, {"name": "Sec-Fetch-Mode", "value": "navigate"}]},
         "response": {"status": 200, "httpVersion": "HTTP/2.0",
           "headers": [{"name": "Content-Encoding", "value": "gzip"}],
           "content": {"size": 4, "mimeType": "", "text": "UEsDBA==", "encoding": "base64"}}},
        {"request": {"method": "GET", "url": "https://files.corp.test/b", "headers": []},
         "response": {"status": 200, "headers": [{"name": "Content-Type", "value": "text/html"},
             {"name": "Content-Disposition", "value": "attachment; filename=планы.pdf"}], "content": {"text": "<p>"}}},
        {"request": {"method": "GET", "url": "data:text/plain,x", "headers": []},
         "response": {"status": 0, "headers": []}}
      ]}
    }"#;
    let records = read_har(text).expect("a HAR document");
    let found: Vec<_> = records.iter().map(|record| classify(&record.exchange())).collect();
    assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!((found[0].mime.as_deref(), found[0].download), (Some("application/zip"), true));
    assert_eq!(found[0].filename.as_deref(), Some("a.zip"));
    assert_eq!(found[1].filename.as_deref(), Some("планы.pdf"));
    assert_eq!((found[2].activity, found[2].download), (ActivityType::None, false));
}

#[test]
fn a_broken_har_document_is_named_too() {
    let error = read_har("{\n \"log\": {\n  \"entries\": [ {} ] } }").expect_err("broken");
    assert_eq!(error.line, 3);
    assert!(error.to_string().contains("missing field `request`"), "{error}");
    let entry = |status: &str, content: &str| {
        format!(
            r#"{{"log":{{"entries":[{{"request":{{"method":"GET","url":"https://h/"}},
            "response":{{"status":{status},"content":{content}}}}}]}}}}"#
        )
    };
    assert!(read_har(&entry("200", "null")).is_ok());
    let error = read_har(&entry("99999", "null")).expect_err("broken").to_string();
    assert_eq!(error, "entry 1: `response.status` is 99999, not a status code");
    let error =
        read_har(&entry("200", r#"{"text":"*","encoding":"base64"}"#)).expect_err("broken").to_string();
    assert_eq!(error, "entry 1: `response.content.text` is not base64");
}

#[test]
fn an_answer_is_exact_for_programs_and_harmless_for_terminals() {
    let record = line(
        r#"{"id":"\u001b[2J","request":{"method":"GET","url":"https://h/x"},"response":{"status":200,"headers":
        [["content-disposition","attachment; filename*=UTF-8''%2Ftmp%2Fa%E2%80%AEgpj.exe%F3%A0%81%81"],
         ["content-type","text/html"]]}}"#,
    );
    let found = classify(&record.exchange());
    assert_eq!(found.filename.as_deref(), Some("_tmp_a_gpj.exe_"));
    let answer = Answer::new(&record, &found);
    let json = answer.to_json();
    assert!(!json.contains(['\u{1b}', '\u{202e}', '\u{e0041}', '\n']), "{json}");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["filename"], "/tmp/a\u{202e}gpj.exe\u{e0041}");
    assert_eq!((&value["id"], &value["download"]), (&"\u{1b}[2J".into(), &true.into()));
    assert_eq!((&value["activity"], &value["kind"]), (&"download".into(), &"attachment".into()));
    let keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["activity", "download", "filename", "id", "kind", "mime", "reason"]);
    let text = answer.to_text();
    assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains("_tmp_a_gpj.exe_"), "{text}");
}

#[test]
fn columns_stand_below_each_other() {
    let record = |id: &str| {
        line(&format!(
            r#"{{"id":"{id}","request":{{"method":"GET","url":"https://h/x"}},"response":{{"status":204}}}}"#
        ))
    };
    let text = |id| {
        let record = record(id);
        Answer::new(&record, &classify(&record.exchange())).to_text()
    };
    assert_eq!(text("a").find("api"), text("longer").find("api"));
}

const POLICIES: &str = r#"
[[policy]]
name = "No downloads\u202e"
users = { include = ["user:alice", "uid:7"], exclude = ["group:breakglass"] }
apps.include = ["office365", "corp-files"]
session.control = "block-downloads"
[policy.conditions]
client_apps = ["browser"]
devices = { include = ["all"], exclude = ["compliant"] }
locations = { include = ["all"], exclude = ["a name of the settings"] }
"#;
const APPS: &str = "[[app]]\nid = \"corp-files\"\ndomains = [\"files.corp.test\"]\n";

/// Of the user and the device: name, uid, groups, whether it is compliant.
type Who = (Option<&'static str>, Option<u32>, &'static [&'static str], bool);

fn trial(policies: &str, (name, uid, groups, compliant): Who) -> Result<Trial, Vec<Diagnostic>> {
    let groups = groups.iter().map(|group| (*group).into()).collect();
    let user = User { uid, name: name.map(Into::into), groups };
    let device =
        Device { id: "d".into(), compliant, reason: "test".into(), tags: Vec::new(), os: "linux".into() };
    Trial::new(&[SourceFile::new("a.toml", APPS)], &[SourceFile::new("p.toml", policies)], user, device)
}

/// A file fetched from `host` with this request header.
fn file_from(host: &str, header: &str, mime: &str) -> Record {
    line(&format!(
        r#"{{"id":"a","request":{{"method":"GET","url":"https://{host}/f.zip","headers":[[{header}]]}},
            "response":{{"status":200,"headers":[["content-type","{mime}"],["content-length","12"]]}}}}"#
    ))
}

#[test]
fn policies_decide_recorded_exchanges() {
    const ALICE: Who = (Some("alice"), None, &[], false);
    const BROWSER: &str = r#""user-agent","Mozilla/5.0 (X11)""#;
    const FETCH_METADATA: &str = r#""sec-fetch-mode","navigate""#;
    const CURL: &str = r#""user-agent","curl/8.5""#;
    let (sharepoint, zip) = ("contoso.sharepoint.com", "application/zip");
    let decided = |who, host, header, mime| {
        let record = file_from(host, header, mime);
        let decision =
            trial(POLICIES, who).expect("no errors").decide(&record, &classify(&record.exchange()));
        decision.map(|decision| (decision.action().name(), decision.policy().is_some()))
    };
    let (blocked, passed, left_alone) =
        (Some(("block", true)), Some(("allow", false)), Some(("allow", true)));
    assert_eq!(decided(ALICE, sharepoint, BROWSER, zip), blocked);
    assert_eq!(decided(ALICE, sharepoint, FETCH_METADATA, zip), blocked);
    assert_eq!(decided(ALICE, "FILES.corp.test.:443", BROWSER, zip), blocked);
    assert_eq!(decided((None, Some(7), &[], false), sharepoint, BROWSER, zip), blocked);
    assert_eq!(decided(ALICE, sharepoint, FETCH_METADATA, "text/html"), left_alone);
    assert_eq!(decided(ALICE, sharepoint, CURL, zip), passed);
    assert_eq!(decided((Some("alice"), None, &[], true), sharepoint, BROWSER, zip), passed);
    assert_eq!(decided((Some("alice"), None, &["breakglass"], false), sharepoint, BROWSER, zip), passed);
    assert_eq!(decided((Some("bob"), None, &[], false), sharepoint, BROWSER, zip), passed);
    assert_eq!(decided(ALICE, "www.slack.com", BROWSER, zip), passed);
    assert_eq!(decided(ALICE, "example.test", BROWSER, zip), None);
}

#[test]
fn a_rule_about_sizes_reads_the_announced_length() {
    let policy = |bound: &str| {
        format!(
            "[[policy]]\nname = \"P\"\napps.include = [\"all\"]\nsession.control = \"custom\"\n\
             [[policy.session.rule]]\nactivity = [\"download\"]\nfiles = {{ larger_than = \"{bound}\" }}\n\
             action = \"block\"\n"
        )
    };
    let record = file_from("contoso.sharepoint.com", r#""a","b""#, "application/zip");
    let action = |bound| {
        let trial = trial(&policy(bound), (None, None, &[], false)).expect("no errors");
        trial.decide(&record, &classify(&record.exchange())).map(|decision| decision.action().name())
    };
    assert_eq!((action("11B"), action("12B")), (Some("block"), Some("allow")));
}

#[test]
fn a_rule_about_content_reads_the_recorded_bodies() {
    let policy = "[[policy]]\nname = \"P\"\napps.include = [\"all\"]\nsession.control = \"custom\"\n\
                  [[policy.session.rule]]\ncontent = { detect = [\"credit-card\"], at_least = 1 }\naction = \"block\"\n";
    let trial = trial(policy, (None, None, &[], false)).expect("no errors");
    let action = |record: &Record| {
        trial.decide(record, &classify(&record.exchange())).map(|decision| decision.action().name())
    };
    // `{"a":"4242\u00a04242\u00a04242\u00a04242"}` and that with another last digit.
    let card = "eyJhIjoiNDI0Mlx1MDBhMDQyNDJcdTAwYTA0MjQyXHUwMGEwNDI0MiJ9";
    let near = "eyJhIjoiNDI0Mlx1MDBhMDQyNDJcdTAwYTA0MjQyXHUwMGEwNDI0MSJ9";
    let exchange = |kind: &str, sent: &str, received: &str| {
        action(&line(&format!(
            r#"{{"request":{{"method":"POST","url":"https://files.corp.test/api","headers":[["Content-Type","{kind}"]]{sent}}},
                "response":{{"status":200,"headers":[["Content-Type","{kind}"]]{received}}}}}"#
        )))
    };
    let body = |digits: &str| format!(",\"body_base64\":\"{digits}\"");
    assert_eq!(exchange("application/json", "", &body(card)), Some("block"));
    assert_eq!(exchange("application/json", "", &body(near)), Some("allow"));
    assert_eq!(exchange("application/json", &body(card), ""), Some("block"));
    assert_eq!(exchange("application/json", &body(near), &body(near)), Some("allow"));
    assert_eq!(exchange("application/json", "", ""), Some("allow"));
    // The agent does not hold it back, so it does not look at it.
    assert_eq!(exchange("text/event-stream", "", &body(card)), Some("allow"));
    let har = |sent: &str, received: &str| {
        let document = format!(
            r#"{{"log":{{"entries":[{{"request":{{"method":"POST","url":"https://files.corp.test/a","postData":{{"text":"{sent}"}}}},
                "response":{{"status":200,"content":{{"text":"{received}"}}}}}}]}}}}"#
        );
        action(&read_har(&document).expect("HAR")[0])
    };
    assert_eq!(har("4242424242424242", ""), Some("block"));
    assert_eq!(har("x", "4242424242424242"), Some("block"));
    assert_eq!(har("x", "y"), Some("allow"));
}

#[test]
fn every_error_in_the_files_is_told() {
    let broken = POLICIES.replace("office365", "office366").replace("block-downloads", "block");
    let faults = trial(&broken, (None, None, &[], false)).expect_err("two errors");
    assert_eq!(faults.iter().map(Diagnostic::line).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn a_decision_is_a_member_for_programs_and_a_column_for_people() {
    let trial = trial(POLICIES, (Some("alice"), None, &[], false)).expect("no errors");
    let answers = |host| {
        let record = file_from(host, r#""sec-fetch-mode","navigate""#, "application/zip");
        let found = classify(&record.exchange());
        let answer = Answer::new(&record, &found).with_decision(trial.decide(&record, &found).as_ref());
        let json = answer.to_json();
        assert!(json.is_ascii(), "{json}");
        (serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), answer.to_text())
    };
    let (json, text) = answers("files.corp.test");
    let reason = "the policy applies and its session control covers this activity";
    let expected = serde_json::json!({"action": "block", "policy": "No downloads\u{202e}", "reason": reason});
    assert_eq!(json["decision"], expected);
    assert!(text.ends_with(&format!("; \"No downloads_\": {reason}")), "{text}");
    assert!(text.contains("  block    "), "{text}");

    let (json, text) = answers("slack.com");
    assert_eq!((&json["decision"]["action"], &json["decision"]["policy"]), (&"allow".into(), &().into()));
    assert!(text.ends_with("; no enabled policy applies to this session"), "{text}");

    let (json, text) = answers("example.test");
    assert!(json.as_object().expect("an object").contains_key("decision"));
    assert!(json["decision"].is_null());
    assert!(text.ends_with("; the host belongs to no app"), "{text}");
}
