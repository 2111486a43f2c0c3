//! `portcullis doctor` on this host, in a lab: what root sees, what an ordinary user sees, what breaks it.

use std::fs;

use lab::agent::{Agent, METRICS_PORT, Settings};
use lab::{Finished, Lab, NOBODY};
use serde_json::Value;

use super::binary_for_everybody;

/// The line of a check: outcome, what was found, remedy.
#[track_caller]
fn check(answer: &Value, name: &str) -> (String, String, String) {
    let checks = answer["checks"].as_array().expect("a list of checks");
    let one =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {answer}"));
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("found"), text("remedy"))
}

#[track_caller]
fn answer(finished: &Finished) -> Value {
    serde_json::from_str(&finished.text()).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn root_is_told_of_every_part_and_that_clients_do_not_trust_the_authority_yet() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let seen = agent.command(&["doctor", "--json"]).unwrap();
    let report = answer(&seen);

    let programs = report["programs"].as_array().unwrap();
    assert!(programs.len() >= 8, "{programs:?}");
    for program in programs {
        assert!(program["name"].as_str().is_some_and(|name| name.starts_with("pc_")), "{program}");
        assert_eq!(program["refusal"], Value::Null, "{program}");
        assert!(program["instructions"].as_u64().is_some_and(|count| count > 0), "{program}");
    }
    assert_eq!(check(&report, "programs").0, "ok");
    assert_eq!(check(&report, "map lpm_trie"), ("ok".into(), "there".into(), String::new()));
    assert_eq!(check(&report, "daemon").1, format!("running, pid {}", agent.pid()));
    let (outcome, found, _) = check(&report, "port metrics.listen");
    assert_eq!((outcome.as_str(), found.contains("the daemon is running")), ("ok", true), "{found}");
    // The authority that the first start made is in no store of this machine: the one thing that is wrong.
    let (outcome, _, remedy) = check(&report, "system-trust");
    assert_eq!((outcome.as_str(), remedy.contains("portcullis ca trust")), ("failed", true), "{remedy}");
    // This machine may have programs that no system's store reaches.
    let own = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "own-trust-store");
    let failed = 1 + own.count();
    assert_eq!((&report["failed"], &report["healthy"]), (&failed.into(), &false.into()), "{report}");
    assert_eq!(seen.code, Some(1));
    // Looking has disturbed nobody.
    assert_eq!(agent.metric("portcullis_build_info", &[]).unwrap(), 1.0);

    agent.stop().unwrap();
    let held = lab::run(
        {
            let program = format!(
                "import socket, time\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\ns.bind(('127.0.0.1', {METRICS_PORT}))\ns.listen()\n\
                 import subprocess, sys\nsys.exit(subprocess.run(sys.argv[1:]).returncode)"
            );
            let mut command = lab.client().command("/usr/bin/python3", None).unwrap();
            command.args(["-I", "-c", &program]).arg(binary_for_everybody(&lab)).args(["doctor", "--json", "--config"]);
            command.arg(agent.config());
            command
        },
        lab::wait::PATIENCE,
    )
    .unwrap();
    let report = answer(&held);
    assert_eq!(check(&report, "daemon").0, "skipped");
    let (outcome, found, remedy) = check(&report, "port metrics.listen");
    assert_eq!(outcome, "failed", "{found}");
    assert!(found.contains("is in use") && remedy.contains("[metrics.listen]"), "{found} {remedy}");
}

#[test]
fn an_ordinary_user_is_told_what_was_not_checked_and_a_broken_file_is_no_host() {
    let lab = Lab::start().unwrap();
    let binary = binary_for_everybody(&lab);
    let config = lab.directory().join("portcullis.toml");
    let paths = format!("[paths]\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n", lab.directory().display());
    fs::write(&config, &paths).unwrap();
    let run = |uid, json: bool| {
        let mut command = vec![binary.to_str().unwrap(), "doctor", "--config", config.to_str().unwrap()];
        command.extend(json.then_some("--json"));
        lab.run(&command, uid).unwrap()
    };

    let seen = run(Some(NOBODY), true);
    let report = answer(&seen);
    assert_eq!((seen.code, &report["failed"]), (Some(0), &0.into()), "{report}");
    for name in ["programs", "capabilities", "map lru_hash", "program cgroup_skb"] {
        let (outcome, found, _) = check(&report, name);
        assert_eq!((outcome.as_str(), found.as_str()), ("skipped", "not checked: needs root"), "{name}");
    }
    assert_eq!(report["programs"], Value::Array(Vec::new()));
    for name in ["kernel", "btf", "cgroup", "disk-space", "clock"] {
        assert_eq!(check(&report, name).0, "ok", "{name}");
    }
    let text = run(Some(NOBODY), false).text();
    assert!(text.lines().any(|line| line.starts_with("skipped programs ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ok      kernel ")), "{text}");

    // Root, before any start: nothing is wrong, and nothing was made.
    let seen = run(None, true);
    assert_eq!((seen.code, check(&answer(&seen), "programs").0.as_str()), (Some(0), "ok"), "{}", seen.text());
    assert!(!lab.directory().join("state").exists());

    fs::write(&config, format!("{paths}[steering]\nguard = \"pek\"\n")).unwrap();
    // A slip in the settings is one of the things that are wrong; the rest is looked at all the same.
    let seen = run(None, true);
    let report = answer(&seen);
    assert_eq!((seen.code, &report["failed"]), (Some(1), &1.into()), "{report}");
    let (outcome, found, remedy) = check(&report, "configuration");
    assert_eq!(outcome, "failed");
    assert!(found.contains("portcullis.toml:5:") && found.contains("pek"), "{found}");
    assert!(remedy.contains("portcullis check"), "{remedy}");
    assert_eq!(check(&report, "btf").0, "ok");
    // Where it cannot be told what is meant, there is no host to look at.
    fs::write(&config, "[paths]\nstate = 7\n").unwrap();
    let seen = run(None, true);
    assert_eq!(seen.code, Some(2));
    assert!(seen.stderr.contains("paths.state") && seen.stdout.is_empty(), "{seen:?}");
}
