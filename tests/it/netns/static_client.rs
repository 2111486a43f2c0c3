//! A statically linked program with a resolver and a TLS library of its own (A30): neither libc nor the system's
//! configuration of names has a part in what it does.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::{Lab, run, wait};
use serde_json::Value;

use super::{MONITORED, UNMONITORED, url};

const CLIENT: &str = include_str!("../../support/static_client.go");
const USER: u32 = 4242;

/// The program, where every user can run it.
fn built(lab: &Lab) -> PathBuf {
    let source = lab.directory().join("static_client.go");
    let program = lab.directory().join("static-client");
    std::fs::write(&source, CLIENT).unwrap();
    let mut go = Command::new("go");
    // Without C there is no libc to link to, so the resolver is Go's own as well.
    go.args(["build", "-trimpath", "-o"]).arg(&program).arg(&source).env("CGO_ENABLED", "0");
    go.env("GOCACHE", lab.directory().join("go-cache"))
        .env("GO111MODULE", "off")
        .env("HOME", lab.directory());
    run(go, Duration::from_secs(300)).unwrap().succeeded().unwrap();
    program
}

/// One answer for each URL.
fn ask(lab: &Lab, program: &PathBuf, questions: &str, urls: &[&str]) -> Vec<Value> {
    let mut command = lab.client().command(program, Some(USER)).unwrap();
    command.arg(lab.trust()).arg(questions).args(urls);
    let said = run(command, wait::PATIENCE).unwrap().succeeded().unwrap().text();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_static_program_with_its_own_resolver_is_inspected() {
    let lab = Lab::start().unwrap();
    let program = built(&lab);
    let urls = [url(MONITORED, DOCX), url("api.corp.test", PAGE), url(UNMONITORED, DOCX)];
    let urls = urls.each_ref().map(String::as_str);
    // Over TCP no answer is read: the address is unexplained, so it is peeked.
    for (guard, questions) in [("peek", "udp"), ("peek", "tcp"), ("sni", "udp"), ("off", "udp")] {
        let agent = Agent::start(&lab, &Settings { guard, ..Settings::default() }).unwrap();
        let case = format!("guard {guard}, questions over {questions}");
        let answers = ask(&lab, &program, questions, &urls);
        let [blocked, passed, other] = answers.as_slice() else { panic!("{case}: {answers:?}") };
        assert_eq!((&blocked["status"], &blocked["protocol"]), (&403.into(), &"HTTP/2.0".into()), "{case}");
        assert_eq!((&passed["status"], &other["status"]), (&200.into(), &200.into()), "{case}: {answers:?}");
        assert_eq!(blocked["issuer"], passed["issuer"], "{case}");
        assert_ne!(other["issuer"], passed["issuer"], "{case}: what is not monitored was inspected");
        let record = agent.wait_for_activity(&case, |record| record["id"] == blocked["activity"]).unwrap();
        assert_eq!(record["process"]["pid"], blocked["connector"], "{case}: {record}");
        assert_eq!(record["process"]["exe"], program.to_str().unwrap(), "{case}: {record}");
        assert_eq!(record["user"]["uid"], USER, "{case}: {record}");
    }
}
