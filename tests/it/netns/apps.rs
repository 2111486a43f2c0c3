//! The list of apps as an admin reads it: selected, connected, used, and the sites beside them.

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE, PDF};
use lab::client::Curl;
use lab::{Lab, NOBODY, wait};
use serde_json::{Value, json};

use super::{MONITORED, check_blocked, check_passed, url};

fn apps(agent: &Agent<'_>, arguments: &[&str]) -> Vec<Value> {
    let finished = agent.command(&[&["apps", "--json"], arguments].concat()).unwrap().succeeded().unwrap();
    finished.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn app(agent: &Agent<'_>, id: &str) -> Value {
    let apps = apps(agent, &[]);
    apps.iter().find(|app| app["id"] == id).unwrap_or_else(|| panic!("no {id} in {apps:?}")).clone()
}

/// A20, A21, A22: listed without a connection, connected by the first one, counted, kept over a restart.
#[test]
fn apps_are_listed_connected_and_counted() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let waiting = app(&agent, "corp-files");
    for (key, expected) in [
        ("name", json!("Corp Files")),
        ("suite", json!("corp")),
        ("category", json!("file-hosting")),
        ("status", json!("waiting")),
        ("connected", json!(false)),
        ("available_controls", json!(["block-downloads", "monitor-only", "custom"])),
        ("first_seen", Value::Null),
        ("last_seen", Value::Null),
        ("sessions", json!(0)),
        ("users", json!(0)),
        ("downloads_allowed", json!(0)),
        ("downloads_blocked", json!(0)),
    ] {
        assert_eq!(waiting[key], expected, "{key} of {waiting}");
    }
    assert_eq!(app(&agent, "memo")["status"], "waiting");

    let portal =
        ["-H", "Referer: https://portal.example/start?code=s3cr3t", "-H", "Origin: https://memo.test"];
    let page = Curl::get(url(MONITORED, PAGE)).arguments(&portal);
    check_passed(&page.send(&lab).unwrap(), MONITORED, PAGE);
    let connected = wait::until("the app to be connected", wait::PATIENCE, || {
        Ok(Some(app(&agent, "corp-files")).filter(|app| app["status"] == "connected"))
    })
    .unwrap();
    assert!(connected["first_seen"].is_string() && connected["last_seen"].is_string(), "{connected}");
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    check_blocked(&Curl::get(url(MONITORED, DOCX)).user(4242).send(&lab).unwrap(), DOCX);
    check_passed(&Curl::get(url(MONITORED, DOCX)).user(NOBODY).send(&lab).unwrap(), MONITORED, DOCX);
    Curl::get(url("notes.memo.test", PDF)).send(&lab).unwrap();

    let counted = |agent: &Agent<'_>| {
        let app = app(agent, "corp-files");
        ["sessions", "users", "downloads_allowed", "downloads_blocked"].map(|key| app[key].as_u64().unwrap())
    };
    let expected = [4, 3, 1, 2];
    wait::until("the counts", wait::PATIENCE, || Ok((counted(&agent) == expected).then_some(())))
        .unwrap_or_else(|error| panic!("{error}: {}", app(&agent, "corp-files")));
    let inspected = [("app", "corp-files"), ("path", "inspected")];
    assert_eq!(agent.metric("portcullis_connections_total", &inspected).unwrap(), 4.0);

    let found = apps(&agent, &["--discovered"]);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (&one["domain"], &one["app"], &one["via"]),
        (&json!("portal.example"), &json!("corp-files"), &json!("referrer"))
    );
    let csv = agent.command(&["apps", "--discovered", "-o", "csv"]).unwrap().succeeded().unwrap().text();
    assert!(csv.contains("portal.example,corp-files,referrer,1,"), "{csv}");

    // Without the agent the files and the log say the same; a policy that is gone takes its app along.
    let before = app(&agent, "corp-files");
    agent.stop().unwrap();
    assert_eq!(app(&agent, "corp-files"), before);
    agent.start_again().unwrap();
    assert_eq!(app(&agent, "corp-files"), before, "after a restart");
    agent.remove_policy("20-memo.toml").unwrap();
    wait::until("memo to go", wait::PATIENCE, || {
        Ok(apps(&agent, &[]).iter().all(|app| app["id"] != "memo").then_some(()))
    })
    .unwrap();
    let table = agent.command(&["apps"]).unwrap().succeeded().unwrap().text();
    assert!(table.contains("corp-files") && table.contains("connected"), "{table}");
}

/// The generated scripts and pages name every command.
#[test]
fn completions_and_manual_pages_name_every_command() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = agent.command(&["completions", shell]).unwrap().succeeded().unwrap().text();
        assert!(script.contains("activity") && script.contains("discovered"), "{shell}");
    }
    let pages = lab.directory().join("man");
    agent.command(&["man", pages.to_str().unwrap()]).unwrap().succeeded().unwrap();
    for page in ["portcullis.1", "portcullis-apps.1", "portcullis-ca-export.1"] {
        let text =
            std::fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH"), "{page}");
    }
    agent.command(&["status", "--wait", "5"]).unwrap().succeeded().unwrap();
}
