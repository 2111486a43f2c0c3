//! Forms of several parts: an upload where they carry a file, over both versions of HTTP, with a real client.

use lab::Lab;
use lab::agent::{Agent, Settings};
use lab::client::Curl;

use super::MONITORED;

const NO_UPLOADS: &str = r#"[[policy]]
name = "No uploads"
apps.include = ["corp-files"]
[policy.session]
control = "custom"
[[policy.session.rule]]
activity = ["upload"]
action = "block"
"#;

/// The status that a form gets.
fn post(lab: &Lab, version: &str, path: &str, parts: &[&str]) -> u16 {
    let request = Curl::get(format!("https://{MONITORED}{path}"));
    let mut request = if version == "HTTP/2" { request.http2() } else { request };
    for part in parts {
        request = request.arguments(&["--form", part]);
    }
    request.send(lab).unwrap().status
}

const VERSIONS: [&str; 2] = ["HTTP/1.1", "HTTP/2"];

/// What a form is stands in its record, and costs nobody a policy of his own.
#[test]
fn a_form_is_an_upload_where_it_carries_a_file() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let file = lab.directory().join("plan.docx");
    std::fs::write(&file, vec![b'x'; 300_000]).unwrap();
    let file = format!("file=@{}", file.display());
    for version in VERSIONS {
        let answers = [
            post(&lab, version, "/fields", &["note=hello", "more=text;type=text/plain"]),
            post(
                &lab,
                version,
                "/none-chosen",
                &["note=hello", "file=;filename=\"\";type=application/octet-stream"],
            ),
            post(&lab, version, "/file", &["note=hello", &file, "other=x;filename=b.txt"]),
        ];
        assert_eq!(answers, [404; 3], "{version}: the origin knows no such address");
        let record = agent
            .wait_for_activity("the upload", |record| {
                record["request"]["path"] == "/file" && record["request"]["version"] == version
            })
            .unwrap();
        assert_eq!(record["type"], "upload", "{record}");
        assert_eq!(record["file"]["name"], "plan.docx", "{record}");
    }
    let records = agent.activities(&[]).unwrap();
    assert!(records.iter().all(|record| record["request"]["path"] == "/file"), "{records:#?}");
}

#[test]
fn where_uploads_are_blocked_forms_without_files_pass() {
    let lab = Lab::start().unwrap();
    let policies = vec![("10-uploads.toml".to_owned(), NO_UPLOADS.to_owned())];
    let agent = Agent::start(&lab, &Settings { policies, ..Settings::default() }).unwrap();
    let long = format!("note={}", "x".repeat(40_000));
    for version in VERSIONS {
        let answers = [
            post(&lab, version, "/fields", &["note=hello"]),
            post(&lab, version, "/long", &[&long]),
            post(&lab, version, "/file", &["note=hello", "file=MZ;filename=setup.exe"]),
            post(&lab, version, "/unnamed", &["file={};type=application/zip"]),
        ];
        assert_eq!(answers, [404, 404, 403, 403], "{version}");
        let record = agent
            .wait_for_activity("the upload", |record| {
                record["request"]["path"] == "/file" && record["request"]["version"] == version
            })
            .unwrap();
        assert_eq!(record["file"]["name"], "setup.exe", "{record}");
        assert_eq!(record["decision"]["action"], "block", "{record}");
    }
    let asked: Vec<String> = lab.origin_requests();
    assert!(!asked.iter().any(|line| line.contains("/file") || line.contains("/unnamed")), "{asked:?}");
}
