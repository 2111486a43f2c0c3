//! Records handed on to a real syslog daemon, over TCP and TLS, across its outage.

use std::collections::BTreeSet;
use std::path::Path;

use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
use lab::client::Curl;
use lab::syslog::Receiver;
use lab::{Lab, wait};
use serde_json::Value;

use super::{MONITORED, check_blocked, url};

fn block(lab: &Lab, count: usize) -> BTreeSet<String> {
    let blocked = Curl::get(url(MONITORED, DOCX));
    (0..count)
        .map(|_| {
            let reply = blocked.send(lab).unwrap();
            check_blocked(&reply, DOCX);
            reply.header("x-portcullis-activity").unwrap().to_owned()
        })
        .collect()
}

/// Waits until every id stands in some line of the file, and gives the lines.
#[track_caller]
fn wait_for(file: &Path, ids: &BTreeSet<String>) -> Vec<String> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    wait::until(&format!("{} to hold the records", file.display()), wait::PATIENCE * 2, || {
        let text = read();
        Ok(ids.iter().all(|id| text.contains(id)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", read()));
    read().lines().map(str::to_owned).collect()
}

#[test]
fn a_syslog_daemon_receives_every_record_also_after_its_outage() {
    let lab = Lab::start().unwrap();
    let mut receiver = Receiver::start(&lab).unwrap();
    let lines = lab.directory().join("lines.jsonl");
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    agent.stop().unwrap();
    agent
        .edit_config(|text| {
            format!(
                "{text}[[export]]\nname = \"plain\"\nformat = \"cef\"\nto = \"tcp://127.0.0.1:{}\"\n\
                 [[export]]\nname = \"secret\"\nformat = \"ocsf\"\nto = \"tls://127.0.0.1:{}\"\nroots = \"{}\"\n\
                 [[export]]\nname = \"lines\"\nto = \"file://{}\"\n",
                receiver.tcp_port(),
                receiver.tls_port(),
                receiver.ca().display(),
                lines.display(),
            )
        })
        .unwrap();
    agent.start_again().unwrap();
    let mut ids = block(&lab, 3);
    let cef = wait_for(&receiver.received("tcp"), &ids);
    let first = cef.iter().find(|line| ids.iter().any(|id| line.contains(id))).unwrap();
    assert!(first.contains("CEF:0|Portcullis|Portcullis|"), "{first}");
    assert!(first.contains("|download|download blocked|7|externalId="), "{first}");
    assert!(first.contains(" fname=report.docx "), "{first}");
    // As the daemon read the header of RFC 5424: application, message id, severity.
    assert!(first.starts_with("portcullis download warning "), "{first}");
    let ocsf = wait_for(&receiver.received("tls"), &ids);
    for line in &ocsf {
        let json = line.splitn(4, ' ').nth(3).unwrap();
        let event: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {line}"));
        let class = event["class_uid"].as_u64().unwrap();
        assert_eq!(event["type_uid"].as_u64(), Some(class * 100 + event["activity_id"].as_u64().unwrap()));
    }

    receiver.stop().unwrap();
    ids.extend(block(&lab, 3));
    let status = agent.command(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&status.text()).unwrap();
    assert_eq!(status["exports"].as_array().map(Vec::len), Some(3), "{status}");
    receiver.start_again(&lab).unwrap();
    wait_for(&receiver.received("tcp"), &ids);
    wait_for(&receiver.received("tls"), &ids);
    wait_for(&lines, &ids);

    // From where it was, after the agent's own restart.
    agent.stop().unwrap();
    agent.start_again().unwrap();
    let new = block(&lab, 1);
    let all = wait_for(&lines, &new);
    let unique: BTreeSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "a file confirms at once, so nothing is written twice");
}
