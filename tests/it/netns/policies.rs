//! Policies as they are edited under a running agent.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lab::agent::{Agent, BLOCK_UNMANAGED, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, issuer};
use lab::{Lab, ORIGIN_CA_NAME, wait};

use super::{MONITORED, Stop, check_blocked, check_passed, request_until, url};

const FILE: &str = "10-downloads.toml";
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
