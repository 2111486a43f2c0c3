//! The issuing key in a process of its own: what the agent has of it, and what happens while nobody signs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
use lab::client::Curl;
use lab::{Lab, signal, wait};
use serde_json::Value;

use super::{MONITORED, check_blocked, url};

/// Other names of the monitored app.
const SECOND: &str = "api.corp.test";
const THIRD: &str = "docs.corp.test";

/// The signer that the agent started.
fn signer(agent: &Agent<'_>) -> u32 {
    let parent = format!("PPid:\t{}\n", agent.pid());
    wait::until("a signer", wait::PATIENCE, || {
        let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            let is_signer = arguments.split(|byte| *byte == 0).nth(1) == Some(b"signer");
            // Once it has shut itself in, it answers.
            (is_signer && status.contains(&parent) && status.contains("Seccomp:\t2")).then_some(pid)
        });
        Ok(processes.into_iter().next())
    })
    .unwrap()
}

fn health(agent: &Agent<'_>, part: &str) -> Value {
    let status = agent.command(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&status.text()).unwrap();
    let parts = status["health"].as_array().unwrap();
    parts.iter().find(|line| line["part"] == part).unwrap().clone()
}

/// The 32 octets that the key is about, as the file has them.
fn scalar(key: &Path) -> [u8; 32] {
    let output = Command::new("openssl").args(["pkey", "-outform", "DER", "-in"]).arg(key).output().unwrap();
    assert!(output.status.success());
    // ECPrivateKey (RFC 5915): version 1, then the octets.
    let at = output.stdout.windows(5).position(|part| part == [2, 1, 1, 4, 32]).unwrap() + 5;
    output.stdout[at..at + 32].try_into().unwrap()
}

/// Whether a process has these octets in its memory, in this order or the other, as arithmetic keeps them.
fn remembers(pid: u32, octets: &[u8; 32]) -> bool {
    let mut reversed = *octets;
    reversed.reverse();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut read = 0;
    let found = maps.lines().any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            return false;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        // What was unmapped meanwhile holds nothing any more.
        let Ok(length) = memory.read_at(&mut content, from) else { return false };
        read += length;
        content[..length].windows(32).any(|part| part == octets || part == reversed)
    });
    assert!(read > 100_000, "only {read} bytes of process {pid} could be read");
    found
}

#[test]
fn the_agent_signs_without_ever_having_the_key() {
    let lab = Lab::start().unwrap();
    // The authority is new, so its key was made a moment ago.
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let signer = signer(&agent);
    let key = scalar(&agent.ca().with_file_name("issuing.key"));
    assert!(remembers(signer, &key), "the search finds what is there");
    assert!(!remembers(agent.pid(), &key));

    let status = fs::read_to_string(format!("/proc/{signer}/status")).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(network(signer), network(agent.pid()));
    // Of what the agent holds it has nothing: no kernel object, no log, no connection but those that ask.
    let open = fs::read_dir(format!("/proc/{signer}/fd")).unwrap().flatten();
    for target in open.filter_map(|entry| fs::read_link(entry.path()).ok()) {
        let target = target.to_string_lossy().into_owned();
        assert!(!target.contains("bpf") && !target.contains("/state/"), "{target}");
    }
}

#[test]
fn without_a_signer_new_sites_are_refused_and_said_to_be() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let first = signer(&agent);
    signal(first, libc::SIGSTOP);
    // A certificate that is there is shown as before.
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    assert!(Curl::get(url(SECOND, DOCX)).send(&lab).is_err());
    let record = agent
        .wait_for_activity("the refusal", |record| {
            record["type"] == "access" && record["request"]["host"].as_str() == Some(SECOND)
                || record["type"] == "access" && record["server"]["name"].as_str() == Some(SECOND)
        })
        .unwrap();
    assert_eq!(record["decision"]["action"], "block");
    assert!(record.to_string().contains("no certificate could be signed for the name"), "{record}");
    assert!(agent.metric("portcullis_refusals_total", &[("failure", "leaf_not_signed")]).unwrap() >= 1.0);
    wait::until("status to say so", wait::PATIENCE, || {
        Ok((health(&agent, "certificate-authority")["state"] == "failed").then_some(()))
    })
    .unwrap();
    signal(first, libc::SIGCONT);
    wait::until("the second site", wait::PATIENCE, || {
        Ok(Curl::get(url(SECOND, DOCX)).send(&lab).ok().filter(|reply| reply.status == 403))
    })
    .unwrap();

    // Killed, it is started again, and whoever asks meanwhile waits.
    signal(first, libc::SIGKILL);
    check_blocked(&Curl::get(url(THIRD, DOCX)).send(&lab).unwrap(), DOCX);
    assert_ne!(signer(&agent), first);
    wait::until("status to be well", wait::PATIENCE, || {
        Ok((health(&agent, "certificate-authority")["state"] == "ok").then_some(()))
    })
    .unwrap();
}

#[test]
fn a_new_authority_is_taken_up_by_the_running_agent() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let before = fs::read(agent.ca()).unwrap();
    agent.command(&["ca", "init", "--force"]).unwrap().succeeded().unwrap();
    assert_ne!(before, fs::read(agent.ca()).unwrap());
    // curl trusts the new root only: a leaf of the old one would be refused.
    let only_new = Curl::get(url(MONITORED, DOCX));
    let ca = agent.ca().display().to_string();
    let reply = wait::until("a certificate of the new authority", wait::PATIENCE, || {
        Ok(only_new.clone().arguments(&["--cacert", &ca]).send(&lab).ok())
    })
    .unwrap();
    check_blocked(&reply, DOCX);
    let minted = agent.log();
    assert!(minted.contains("another certificate authority is in use"), "{minted}");
}

#[test]
fn the_agent_signs_itself_where_it_was_told_to() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    agent.stop().unwrap();
    agent.edit_config(|text| text.replace("[tls]\n", "[tls]\nsigner = \"in-process\"\n")).unwrap();
    agent.start_again().unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let key = scalar(&agent.ca().with_file_name("issuing.key"));
    assert!(remembers(agent.pid(), &key), "the key is in this process");
    assert!(agent.log().contains("the issuing key is with this process"), "{}", agent.log());
}
