//! What requests are by the rules of their app, and where redirects of an app lead.

use lab::agent::{APPS, Agent, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, issuer};
use lab::{Lab, ORIGIN_CA_NAME};

use super::{MONITORED, check_blocked, check_passed, url};

const STORAGE: &str = "bucket.storage.test";

/// The lab's apps, with rules for Corp Files, and a storage that nobody selects.
fn settings() -> Settings {
    let rules = r#"
[[app.activity]]
type = "sign-in"
method = ["POST"]
path = "/session*"
[[app.activity]]
type = "message"
method = ["POST"]
path = "/messages"
"#;
    let storage = r#"
[[app]]
id = "storage"
redirect_target = true
domains = ["*.storage.test"]
"#;
    let policy = r#"
[[policy]]
name = "No messages"
apps.include = ["corp-files"]
session.control = "custom"
[[policy.session.rule]]
activity = ["message"]
action = "block"
[[policy.session.rule]]
activity = ["sign-in"]
action = "monitor"
"#;
    // Behind the first app of the lab.
    let apps = APPS.replacen("\n[[app]]", &format!("{rules}\n[[app]]"), 1);
    let mut settings = Settings { apps: format!("{apps}{storage}"), ..Settings::default() };
    settings.policies.push(("30-messages.toml".to_owned(), policy.to_owned()));
    settings
}

/// A34: successful and failed sign-ins are two types; a rule of a policy on messages finds them.
#[test]
fn requests_are_what_the_rules_of_their_app_call_them() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings()).unwrap();
    let post = |path: &str| {
        let request = Curl::get(format!("https://{MONITORED}{path}")).arguments(&["--data", "x=1"]);
        request.send(&lab).unwrap()
    };
    assert_eq!(post("/session").status, 302);
    assert_eq!(post("/session/wrong").status, 401);
    assert_eq!(post("/messages").status, 403);
    for (kind, path, action) in [
        ("sign-in", "/session", "monitor"),
        ("sign-in-failed", "/session/wrong", "monitor"),
        ("message", "/messages", "block"),
    ] {
        let record = agent.wait_for_activity(kind, |record| record["type"] == kind).unwrap();
        assert_eq!(record["request"]["path"], path, "{record}");
        assert_eq!(record["decision"]["action"], action, "{record}");
    }
}

/// The target of a redirect is the app's for whom it was led there, and for nobody else.
#[test]
fn a_redirect_takes_its_app_along_to_signed_storage() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings()).unwrap();
    check_passed(&Curl::get(url(STORAGE, DOCX)).user(4243).send(&lab).unwrap(), STORAGE, DOCX);
    let led = Curl::get(format!("https://{MONITORED}/lead{}", DOCX.path)).user(4242).send(&lab).unwrap();
    assert_eq!(led.status, 302, "{}", led.text());
    let target = led.header("location").unwrap().to_owned();
    assert!(target.starts_with(&url(STORAGE, DOCX)), "{target}");
    let reply = Curl::get(&target).user(4242).send(&lab).unwrap();
    check_blocked(&reply, DOCX);
    let record = agent.wait_for_activity("the block", |record| record["type"] == "download").unwrap();
    for (pointer, expected) in [
        ("/app/id", "corp-files"),
        ("/server/name", STORAGE),
        ("/decision/action", "block"),
        ("/decision/policy", "Prevent downloads from unmanaged devices"),
    ] {
        assert_eq!(record.pointer(pointer).and_then(|v| v.as_str()), Some(expected), "{record}");
    }
    assert!(!record.to_string().contains("s3cr3t"), "a signature was stored: {record}");
    // Another user was not led there: the file passes, and the certificate is the origin's own.
    check_passed(&Curl::get(&target).user(4243).send(&lab).unwrap(), STORAGE, DOCX);
    let shown = issuer(&lab, STORAGE).unwrap();
    assert!(shown.contains(ORIGIN_CA_NAME), "{shown}");
}
