//! The notice that an app is monitored, as its users meet it in a browser (A27).

use lab::agent::{Agent, Settings};
use lab::browser::{Kind, Page, Session};
use lab::client::Curl;
use lab::{Lab, OWN_SITE, wait};
use serde_json::{Value, json};

use super::browser;

/// Of an app of its own.
const MEMO: &str = "https://notes.memo.test/index.html";

fn rows() -> Value {
    let row =
        |mime: &str, body: &str| json!({ "status": 200, "headers": [["content-type", mime]], "body": body });
    json!({
        "/page": row("text/html; charset=utf-8", "<!doctype html><title>An app</title><link rel=icon href=data:,><p>Its own page"),
        "/api": row("application/json", "{\"own\":1}"),
    })
}

fn own(path: &str) -> String {
    format!("https://{OWN_SITE}{path}")
}

/// Clicks a link of the notice, and waits for the page behind it.
fn follow(session: &mut Session, link: &str, text: &str) -> Page {
    // The page that ran it goes away.
    let _ = session.run(&format!("document.getElementById('{link}').click()"));
    wait::until("the page behind the notice", wait::PATIENCE, || {
        // Between two pages there is none to look at.
        Ok(session.look().ok().filter(|page| page.text.contains(text)))
    })
    .unwrap()
}

#[test]
fn a_notice_stands_before_the_first_page_of_an_app_and_before_nothing_else() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let _origin = lab.serve_table(&rows(), "h2,http/1.1").unwrap();
    let settings = |lines: &str| {
        agent
            .edit_config(|text| text.split("\n[notice]").next().unwrap_or_default().to_owned() + lines)
            .unwrap();
        let loaded = agent.command(&["reload"]).unwrap();
        assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    };
    let Some(browser) = browser::open(&lab, &agent, Kind::Chromium) else { return };
    let mut session = browser.start(&[]).unwrap();
    // It has to be asked for.
    assert_eq!(session.open(&own("/page")).unwrap(), None);
    assert!(session.look().unwrap().text.contains("Its own page"));

    settings("\n[notice]\nshow = true\n");
    let programs =
        Curl::get(own("/page")).header("Sec-Fetch-Mode: navigate").header("Sec-Fetch-Dest: document");
    assert!(programs.header("Accept: text/html").send(&lab).unwrap().text().contains("Its own page"));
    // A page that is open goes on with its calls.
    let data = session.run("return await (await fetch('/api')).json()").unwrap();
    assert_eq!(data, json!({ "own": 1 }));
    assert_eq!(session.open(&own("/page?a=1&b=%22")).unwrap(), None);
    let page = session.look().unwrap();
    assert!(page.text.contains("Access to Corp Files is monitored."), "{page:?}");
    assert_eq!((page.title.as_str(), page.address), ("Corp Files is monitored", own("/page?a=1&b=%22")));
    let page = follow(&mut session, "continue", "Its own page");
    assert_eq!(page.address, own("/page?a=1&b=%22"));
    session.open(&own("/page")).unwrap();
    assert!(session.look().unwrap().text.contains("Its own page"), "read a moment ago");

    settings("\n[notice]\nshow = true\ntext = \"Mind the rules of {app}. <b>\"\n");
    session.open(MEMO).unwrap();
    let page = session.look().unwrap();
    assert!(page.text.contains("Mind the rules of Memo. <b>"), "{page:?}");
    follow(&mut session, "hide", "notes.memo.test");
    session.close().unwrap();

    // What is hidden stays so, for all apps, over a restart of the agent.
    let hidden = agent.config().with_file_name("state").join("notices-hidden.json");
    wait::until("the file of what is hidden", wait::PATIENCE, || Ok(hidden.exists().then_some(()))).unwrap();
    agent.stop().unwrap();
    agent.start_again().unwrap();
    let mut session = browser.start(&[]).unwrap();
    session.open(&own("/page")).unwrap();
    assert!(session.look().unwrap().text.contains("Its own page"));
    session.close().unwrap();
}
