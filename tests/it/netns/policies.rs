//! Policies as they are edited under a running agent.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lab::agent::{Agent, BLOCK_UNMANAGED, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, issuer};
use lab::{Lab, NOBODY, ORIGIN_CA_NAME, wait};
use serde_json::{Value, json};

use super::{MONITORED, Stop, check_blocked, check_passed, request_until, url};

const FILE: &str = "10-downloads.toml";
/// The policy in it.
const BLOCKING: &str = "Prevent downloads from unmanaged devices";
/// A9: a policy takes effect within this time.
const EFFECT: Duration = Duration::from_secs(1);

/// A1, A9: new requests get the new verdict within a second, and none fails on the way but those whose connection is from
/// just before their app was selected: it is closed.
#[test]
fn an_edit_takes_effect_while_requests_go_on() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let stop = AtomicBool::new(false);
    let (seen, edits) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let requests = [Curl::get(url(MONITORED, DOCX))];
        let looping = scope.spawn({
            let (stop, lab) = (&stop, &lab);
            move || request_until(stop, lab, &requests)
        });
        let mut edits = vec![(Instant::now(), 403)];
        for (from, to, status) in
            [("enabled", "disabled", 200), ("", "", 403), ("block-downloads", "monitor-only", 200)]
        {
            std::thread::sleep(EFFECT * 2);
            edits.push((Instant::now(), status));
            agent.write_policy(FILE, &BLOCK_UNMANAGED.replace(from, to)).unwrap();
        }
        std::thread::sleep(EFFECT * 2);
        drop(_stop);
        (looping.join().unwrap(), edits)
    });
    let mut judged = [0; 4];
    for one in &seen {
        let status = match &one.result {
            Ok(status) => status,
            Err(error) => {
                let (selected, _) = edits[2];
                let apart = one.begun.max(selected) - one.begun.min(selected);
                assert!(apart < EFFECT, "a request failed: {error}\n{}", agent.log());
                continue;
            }
        };
        let number = edits.iter().rposition(|(at, _)| *at <= one.begun).unwrap_or(0);
        let (at, expected) = edits[number];
        if one.begun >= at + EFFECT || number == 0 {
            assert_eq!(*status, expected, "{:?} after edit {number}", one.begun - at);
            judged[number] += 1;
        } else {
            assert!([200, 403].contains(status), "{status}");
        }
    }
    assert!(judged.iter().all(|&count| count > 0), "too few requests to judge: {judged:?}");
}

/// A9: a broken file is refused with file and line, and the last good set stays in force.
#[test]
fn a_broken_file_keeps_the_last_good_policies() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    assert_eq!(agent.command(&["check"]).unwrap().code, Some(0));
    let reloads = agent.metric("portcullis_policy_reloads_total", &[]).unwrap();

    agent.write_policy(FILE, &BLOCK_UNMANAGED.replace("\"enabled\"", "\"enabld\"")).unwrap();
    wait::until("the agent to try the broken file", wait::PATIENCE, || {
        Ok((agent.metric("portcullis_policy_reloads_total", &[])? > reloads).then_some(()))
    })
    .unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    assert!(agent.log().contains(FILE), "the log does not name the file:\n{}", agent.log());

    let check = agent.command(&["check"]).unwrap();
    let said = check.text() + &check.stderr;
    assert_eq!(check.code, Some(2), "{said}");
    let line = BLOCK_UNMANAGED.lines().position(|line| line.starts_with("state")).unwrap() + 1;
    assert!(said.contains(&format!("{FILE}:{line}:")), "no file, line and column in: {said}");
    assert!(said.contains("state = \"enabld\""), "the line itself is not shown: {said}");

    agent.write_policy(FILE, &BLOCK_UNMANAGED.replace("block-downloads", "monitor-only")).unwrap();
    wait::until("the mended file to be in force", wait::PATIENCE, || {
        Ok((Curl::get(url(MONITORED, DOCX)).send(&lab)?.status == 200).then_some(()))
    })
    .unwrap();
}

/// A18: without any policy nothing is steered and nothing recorded.
#[test]
fn without_a_policy_nothing_is_steered() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { policies: Vec::new(), ..Settings::default() }).unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    assert!(issuer(&lab, MONITORED).unwrap().contains(ORIGIN_CA_NAME));
    assert_eq!(agent.activities(&[]).unwrap(), Vec::<serde_json::Value>::new());

    // A1: and the first policy is in force for the next connection.
    agent.write_policy(FILE, BLOCK_UNMANAGED).unwrap();
    wait::until("the first policy to be in force", wait::PATIENCE, || {
        Ok((Curl::get(url(MONITORED, DOCX)).send(&lab)?.status == 403).then_some(()))
    })
    .unwrap();
    // A1: its removal, too.
    agent.remove_policy(FILE).unwrap();
    wait::until("the removal to be in force", wait::PATIENCE, || {
        Ok(issuer(&lab, MONITORED)?.contains(ORIGIN_CA_NAME).then_some(()))
    })
    .unwrap();
}

/// A36: a record is explained by the policies as they were, whatever they are by now; A10: with the exclusion that let a
/// user pass.
#[test]
fn a_decision_is_explained_as_it_was_made() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let reply = Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap();
    check_blocked(&reply, DOCX);
    let id = reply.header("x-portcullis-activity").unwrap().to_owned();
    agent.wait_for_activity("the block", |record| record["id"] == id.as_str()).unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).user(NOBODY).send(&lab).unwrap(), MONITORED, DOCX);
    let passed = agent.wait_for_activity("the pass", |record| record["user"]["name"] == "nobody").unwrap();

    // The running daemon says what it has loaded.
    let listed = agent.command(&["policy", "list", "--json"]).unwrap().succeeded().unwrap();
    assert!(listed.stderr.contains("the running daemon"), "{}", listed.stderr);
    let names: Vec<Value> = listed.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        names.iter().any(|policy| policy["name"] == BLOCKING && policy["state"] == "enabled"),
        "{names:?}"
    );
    let shown = agent.command(&["policy", "show", BLOCKING]).unwrap().succeeded().unwrap().text();
    assert!(shown.contains("[[policy]]") && shown.contains("block-downloads"), "{shown}");
    let what_if =
        ["policy", "what-if", "--user", "nobody", "--app", "corp-files", "--file", "a.docx", "--json"];
    let answer = agent.command(&what_if).unwrap().succeeded().unwrap().text();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["decision"]["action"], "allow", "{answer}");
    let answer = agent.command(&[&what_if[..], &["--group", "users"]].concat()).unwrap().succeeded().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer.text()).unwrap()["decision"]["action"], "block");

    // Edited, and the daemon gone: the log alone explains.
    agent.write_policy(FILE, &BLOCK_UNMANAGED.replace("block-downloads", "monitor-only")).unwrap();
    wait::until("the edit to be in force", wait::PATIENCE, || {
        Ok((Curl::get(url(MONITORED, DOCX)).send(&lab)?.status == 200).then_some(()))
    })
    .unwrap();
    let explain = |id: &str| -> Value {
        let said = agent.command(&["explain", id, "--json"]).unwrap().succeeded().unwrap().text();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let policy = |explained: &Value| {
        let policies = explained["explanation"]["policies"].as_array().unwrap();
        policies.iter().find(|policy| policy["name"] == BLOCKING).unwrap().clone()
    };
    let explained = explain(&id);
    assert_eq!(explained["caveats"], json!([]), "{explained}");
    assert_eq!(explained["explanation"]["decision"]["action"], "block");
    let blocking = policy(&explained);
    assert_eq!((&blocking["control"], &blocking["matched"]), (&json!("block-downloads"), &json!(true)));
    let outcomes: Vec<(&Value, &Value)> = blocking["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| (&condition["condition"], &condition["matched"]))
        .collect();
    let expected =
        ["users", "apps", "client_apps", "devices", "locations"].map(|name| (json!(name), json!(true)));
    assert_eq!(outcomes, expected.iter().map(|(name, matched)| (name, matched)).collect::<Vec<_>>());
    let explained = explain(passed["id"].as_str().unwrap());
    let users = policy(&explained)["conditions"][0].clone();
    assert_eq!(users["matched"], false);
    assert!(users["why"].as_str().unwrap().contains("group:breakglass"), "{users}");
    let text = agent.command(&["explain", &id]).unwrap().succeeded().unwrap().text();
    assert!(text.contains("report.docx") && text.contains("asks for block"), "{text}");
    assert_eq!(agent.command(&["explain", "not-an-id"]).unwrap().code, Some(2));
    let nobody = agent.command(&["explain", "00000000-0000-7000-8000-000000000000"]).unwrap();
    assert!(nobody.code == Some(1) && nobody.stderr.contains("no activity"), "{}", nobody.stderr);
}
