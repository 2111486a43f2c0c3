//! Pages in which a policy blocks copying, cutting, pasting and printing, as users of Chromium and Firefox meet them (A28).

use lab::agent::{Agent, Settings};
use lab::browser::{Kind, Session};
use lab::client::Curl;
use lab::{Lab, OWN_SITE};
use serde_json::{Value, json};

use super::browser;

/// Of another app, in whose pages nothing is blocked.
const MEMO: &str = "https://notes.memo.test/index.html";

const POLICY: &str = r#"
[[policy]]
name = "Keep text in the app"
[policy.apps]
include = ["corp-files"]
[policy.session]
control = "custom"
[[policy.session.rule]]
activity = ["copy", "cut", "paste"]
action = "block"
message = "Leave the text where it is <b>."
[[policy.session.rule]]
activity = ["print"]
action = "block"
"#;

const STRICT: &str = "default-src 'none'; script-src 'nonce-x'";

fn rows() -> Value {
    let row = |headers: Value, body: &str| json!({ "status": 200, "headers": headers, "body": body });
    let html = || json!(["content-type", "text/html; charset=utf-8"]);
    let parts = "<title>before</title><link rel=icon href=data:,><script nonce=x>document.title = 'ran'</script>\
        <script>document.title += ' bad'</script><p id=text>Secret words</p><textarea id=box>Own words</textarea>";
    let long = "<p style='break-after: page'>A sheet.</p>".repeat(4);
    let page = format!("<!doctype html><html lang=en><head><meta charset=utf-8>{parts}{long}");
    json!({
        "/page": row(json!([html(), ["etag", "\"1\""], ["cache-control", "max-age=600"]]), &page),
        "/strict": row(json!([html(), ["content-security-policy", STRICT]]), &page),
        "/packed": row(json!([html(), ["content-encoding", "gzip"]]), "no gzip"),
    })
}

fn own(path: &str) -> String {
    format!("https://{OWN_SITE}{path}")
}

fn select(session: &mut Session, id: &str) {
    let script = format!(
        "const e = document.getElementById('{id}'); if (e.select) {{ e.focus(); e.select() }} else {{
         document.activeElement.blur(); getSelection().selectAllChildren(e) }}"
    );
    session.run(&script).unwrap();
}

/// What stands in the text field after this.
fn written(session: &mut Session, letter: char, command: &str) -> Value {
    select(session, "box");
    session.keys(letter, command).unwrap();
    session.run("return document.getElementById('box').value").unwrap()
}

fn told(session: &mut Session) -> Value {
    session.run("const a = document.querySelector('[role=alert]'); const t = a && a.textContent; if (a) a.remove(); return t").unwrap()
}

/// A page of another app, with a text field and a text of its own.
fn elsewhere(session: &mut Session) {
    assert_eq!(session.open(MEMO).unwrap(), None);
    session
        .run("document.body.innerHTML = '<p id=text>Other words</p><textarea id=box></textarea>'")
        .unwrap();
}

fn nothing_is_blocked(session: &mut Session, path: &str) {
    assert_eq!(session.open(&own(path)).unwrap(), None);
    select(session, "text");
    session.keys('c', "copy").unwrap();
    assert_eq!(written(session, 'v', "paste"), "Secret words");
    assert_eq!(written(session, 'x', "cut"), "");
    assert_eq!(told(session), Value::Null);
    assert!(session.print().unwrap() > 3);
}

fn everything_is_blocked(session: &mut Session, path: &str, title: &str) {
    elsewhere(session);
    select(session, "text");
    session.keys('c', "copy").unwrap();
    assert_eq!(written(session, 'v', "paste"), "Other words", "another app's page");

    assert_eq!(session.open(&own(path)).unwrap(), None);
    assert_eq!(session.look().unwrap().title, title, "the page's own scripts");
    let message = "Leave the text where it is <b>.";
    select(session, "text");
    session.keys('c', "copy").unwrap();
    assert_eq!(told(session), message, "copy");
    assert_eq!(written(session, 'x', "cut"), "Own words");
    assert_eq!(told(session), message, "cut");
    assert_eq!(written(session, 'v', "paste"), "Own words");
    assert_eq!(told(session), message, "paste");
    let button = "try { await navigator.clipboard.writeText('Secret words'); return 'copied' } catch (e) { return e.name }";
    assert_eq!(session.run(button).unwrap(), "NotAllowedError", "a button of the page");
    assert_eq!(told(session), message);
    session.run("window.print()").unwrap();
    let printing = "Printing blocked. Printing this page is blocked by your organization's security policy.";
    assert_eq!(told(session), printing);
    session.keys('p', "").unwrap();
    assert_eq!(told(session), printing, "the keyboard");
    assert_eq!(session.print().unwrap(), 1, "the browser's menu");

    elsewhere(session);
    assert_eq!(written(session, 'v', "paste"), "Other words", "nothing of the page is in the clipboard");
}

#[test]
fn what_a_policy_blocks_in_pages_is_blocked_there_and_nowhere_else() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let _origin = lab.serve_table(&rows(), "h2,http/1.1").unwrap();
    let mut sessions = Vec::new();
    for kind in Kind::ALL {
        let Some(browser) = browser::open(&lab, &agent, kind) else { return };
        let mut session = browser.start(&[]).unwrap();
        nothing_is_blocked(&mut session, "/page");
        sessions.push((kind, browser, session));
    }
    agent.write_policy("30-pages.toml", POLICY).unwrap();
    let loaded = agent.command(&["reload"]).unwrap();
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    for (kind, _browser, mut session) in sessions {
        // Under another address, because a copy in the browser's cache is from before.
        everything_is_blocked(&mut session, "/page?again", "ran bad");
        everything_is_blocked(&mut session, "/strict", "ran");
        session.open(&own("/packed")).unwrap();
        let shown = session.look().unwrap();
        assert!(shown.text.contains("what policies block in pages cannot be blocked"), "{kind:?}: {shown:?}");
        session.close().unwrap();
    }
    // A program gets what the origin sent.
    let program = Curl::get(own("/page")).send(&lab).unwrap();
    assert!(program.text().contains("<head><meta charset=utf-8><title>"), "{}", program.text());
    let refused = agent.wait_for_activity("the refused page", |record| record["type"] == "access").unwrap();
    assert_eq!(refused["request"]["path"], "/packed", "{refused}");
}
