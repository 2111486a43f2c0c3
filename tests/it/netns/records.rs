//! The activity log and the metrics, as an admin reads them.

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PDF};
use lab::client::Curl;
use lab::{Lab, NOBODY};

use super::{MONITORED, check_blocked, check_passed, url};

/// A33: who, on what device, from where, to what, what was decided and why.
#[test]
fn a_blocked_download_is_on_record_with_its_facts() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let secret = format!("{}?token=s3cr3t", url(MONITORED, DOCX));
    let reply = Curl::get(secret).arguments(&["-4"]).user(4242).send(&lab).unwrap();
    check_blocked(&reply, DOCX);
    let id = reply.header("x-portcullis-activity").unwrap().to_owned();
    let record = agent.wait_for_activity("the block", |record| record["id"] == id.as_str()).unwrap();

    for (pointer, expected) in [
        ("/type", "download"),
        ("/app/id", "corp-files"),
        ("/app/name", "Corp Files"),
        ("/app/suite", "corp"),
        ("/process/name", "curl"),
        ("/process/exe", "/usr/bin/curl"),
        ("/server/name", MONITORED),
        ("/server/address", "198.18.0.10"),
        ("/request/method", "GET"),
        ("/request/host", MONITORED),
        ("/request/path", DOCX.path),
        ("/file/name", "report.docx"),
        ("/file/extension", "docx"),
        ("/decision/action", "block"),
        ("/decision/policy", "Prevent downloads from unmanaged devices"),
    ] {
        assert_eq!(
            record.pointer(pointer).and_then(|value| value.as_str()),
            Some(expected),
            "{pointer} of {record}"
        );
    }
    assert_eq!(record["user"]["uid"], 4242);
    assert!(record["user"]["name"].is_null(), "a name was invented: {record}");
    assert_eq!(record["device"]["compliant"], false);
    assert_eq!(record["decision"]["enforced"], true);
    assert_eq!(record["response"]["status"], 200);
    assert!(!record.to_string().contains("s3cr3t"), "a query string was stored: {record}");
}

/// A15: the download passes unchanged, one record says `monitor`.
#[test]
fn monitor_only_passes_and_is_recorded_once() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let host = "notes.memo.test";
    check_passed(&Curl::get(url(host, PDF)).send(&lab).unwrap(), host, PDF);
    agent.wait_for_activity("the download", |record| record["file"]["name"] == "contract.pdf").unwrap();
    let records = agent.activities(&["--type", "download"]).unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["decision"]["action"], "monitor");
    assert_eq!(records[0]["decision"]["policy"], "Watch Memo");
    assert_eq!(records[0]["app"]["id"], "memo");
}

/// A35, A38: filters find exactly their records, and the metrics count the same.
#[test]
fn filters_and_metrics_agree_with_what_happened() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let corp = Curl::get(url(MONITORED, DOCX));
    for _ in 0..3 {
        check_blocked(&corp.send(&lab).unwrap(), DOCX);
    }
    check_passed(&corp.clone().user(NOBODY).send(&lab).unwrap(), MONITORED, DOCX);
    for _ in 0..2 {
        Curl::get(url("notes.memo.test", PDF)).send(&lab).unwrap();
    }
    agent
        .wait_for_activity("the excluded user", |record| record["user"]["name"] == "nobody")
        .unwrap_or_else(|error| panic!("{error:#}: {:?}", agent.activities(&[])));
    lab::wait::until("all records", lab::wait::PATIENCE, || {
        Ok((agent.activities(&["--type", "download"])?.len() >= 6).then_some(()))
    })
    .unwrap();

    for (filters, expected) in [
        (&["--action", "block"][..], 3),
        (&["--action", "monitor"], 2),
        (&["--app", "memo"], 2),
        (&["--app", "corp-files"], 4),
        (&["--user", "nobody"], 1),
        (&["--file", "report.docx", "--action", "block"], 3),
        (&["--policy", "Watch Memo"], 2),
        (&["--action", "block", "--app", "memo"], 0),
        (&["--limit", "2"], 2),
    ] {
        let mut arguments = vec!["--type", "download"];
        arguments.extend(filters);
        let found = agent.activities(&arguments).unwrap();
        assert_eq!(found.len(), expected, "{filters:?}: {found:?}");
    }
    for (labels, expected) in [
        (&[("app", "corp-files"), ("type", "download"), ("action", "block")][..], 3.0),
        (&[("app", "memo"), ("type", "download"), ("action", "monitor")], 2.0),
    ] {
        assert_eq!(agent.metric("portcullis_activities_total", labels).unwrap(), expected, "{labels:?}");
    }
    let blocks = [("policy", "Prevent downloads from unmanaged devices"), ("action", "block")];
    assert_eq!(agent.metric("portcullis_decisions_total", &blocks).unwrap(), 3.0);
    assert_eq!(agent.metric("portcullis_activity_log_lost_total", &[]).unwrap(), 0.0);

    // The table for people names the same file.
    let table = agent.command(&["activity"]).unwrap().succeeded().unwrap().text();
    assert!(table.contains("report.docx"), "{table}");
}
