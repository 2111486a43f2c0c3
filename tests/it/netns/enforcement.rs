//! What a user meets: which answers are blocked, how a block reads, and that everything else passes unchanged.

use lab::agent::{Agent, Settings};
use lab::attachment::{BIG, DATA, DOCX, DOWNLOADS, PAGE, PASSING};
use lab::client::Curl;
use lab::{Lab, NOBODY};

use super::{MONITORED, check_blocked, check_passed, url};

/// A3, A6, A14: every attachment, whatever its type and name; nothing else.
#[test]
fn every_attachment_is_blocked_and_nothing_else() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    for resource in DOWNLOADS {
        check_blocked(&Curl::get(url(MONITORED, resource)).send(&lab).unwrap(), resource);
    }
    for resource in PASSING {
        check_passed(&Curl::get(url(MONITORED, resource)).send(&lab).unwrap(), MONITORED, resource);
    }
}

/// A23: HTML for a navigation, JSON where the client asks for it, else plain text.
#[test]
fn a_block_is_told_in_the_form_that_the_client_reads() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let asked = |accept: &str, more: &[&str]| {
        let mut request = Curl::get(url(MONITORED, DOCX)).header(&format!("Accept: {accept}"));
        for line in more {
            request = request.header(line);
        }
        let reply = request.send(&lab).unwrap();
        check_blocked(&reply, DOCX);
        (reply.header("content-type").unwrap_or_default().to_owned(), reply)
    };

    let (kind, page) = asked(
        "text/html,application/xhtml+xml,*/*;q=0.8",
        &["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    );
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(page.text().contains("<html"), "{}", page.text());

    let (kind, data) = asked("application/json", &[]);
    assert!(kind.starts_with("application/json"), "{kind}");
    let value: serde_json::Value = serde_json::from_slice(&data.body).unwrap();
    assert_eq!(value["error"]["code"], "download_blocked");
    assert_eq!(value["error"]["filename"], "report.docx");
    assert_eq!(value["error"]["activity"].as_str(), data.header("x-portcullis-activity"));

    let (kind, text) = asked("*/*", &[]);
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert!(!text.text().contains('<'), "{}", text.text());
}

/// A7, A13: the device becomes compliant, the next download follows byte for byte; and back.
#[test]
fn a_compliant_device_downloads_byte_for_byte() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let get = |resource| Curl::get(url(MONITORED, resource)).send(&lab).unwrap();
    check_blocked(&get(DOCX), DOCX);
    agent.set_compliant(true).unwrap();
    for resource in DOWNLOADS.into_iter().chain([BIG]) {
        check_passed(&get(resource), MONITORED, resource);
    }
    agent.set_compliant(false).unwrap();
    check_blocked(&get(DOCX), DOCX);
}

/// A10: an excluded user passes, the others do not.
#[test]
fn an_excluded_user_passes() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let request = Curl::get(url(MONITORED, DOCX));
    check_passed(&request.clone().user(NOBODY).send(&lab).unwrap(), MONITORED, DOCX);
    check_blocked(&request.clone().user(4242).send(&lab).unwrap(), DOCX);
    check_blocked(&request.send(&lab).unwrap(), DOCX);
}

#[test]
fn the_body_of_a_blocked_download_is_not_fetched_further() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, BIG)).send(&lab).unwrap(), BIG);
    let wanted = format!("{MONITORED} GET {} ", BIG.path);
    let line = lab.wait_for_origin_request("the blocked download", |line| line.starts_with(&wanted)).unwrap();
    let sent: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(sent < BIG.size, "the origin sent all {sent} bytes");
}

/// An origin whose certificate no client should trust is not given a better one.
#[test]
fn an_untrusted_origin_stays_untrusted() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    for resource in [PAGE, DATA] {
        let finished = Curl::get(url("broken.corp.test", resource)).run(&lab).unwrap();
        let answered = String::from_utf8_lossy(&finished.stdout).into_owned();
        let refused = finished.code != Some(0) || answered.starts_with("HTTP/1.1 502");
        assert!(refused, "{answered}");
    }
    assert!(lab.origin_requests().iter().all(|line| !line.starts_with("broken.corp.test")));
}
