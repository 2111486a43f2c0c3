//! A browser that DNS would promise HTTP/3: it is not told, stays with TCP, and is shown the block page (A31).

use lab::Lab;
use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::browser::Kind;

use super::browser;
use super::{MONITORED, url};

#[test]
fn chromium_is_told_of_no_quic_and_sees_the_block_page() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let Some(browser) = browser::open(&lab, &agent, Kind::Chromium) else { return };
    let refused =
        || agent.metric("portcullis_kernel_events_total", &[("event", "https-question-refused")]).unwrap();
    let mut before = refused();
    for (resource, expected) in [
        (PAGE, format!("Welcome to {MONITORED}")),
        (DOCX, "Download blocked. Downloading report.docx is blocked".to_owned()),
    ] {
        let seen = browser.document(&url(MONITORED, resource), &["--enable-quic"]).unwrap();
        assert!(seen.contains(&expected), "{}: {seen}\n{}", resource.path, agent.log());
        // It did ask for the record that offers h3: otherwise this would be no test of QUIC.
        assert!(refused() > before, "{}: the browser never asked for the HTTPS record", resource.path);
        before = refused();
    }
    // Next best is HTTP/2, of which nobody kept it.
    let block =
        agent.wait_for_activity("the block", |record| record["decision"]["action"] == "block").unwrap();
    assert_eq!(block["request"]["version"], "HTTP/2");
}
