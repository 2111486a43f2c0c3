//! What admins look at: outputs as their schemas say, `top` on a terminal, the support bundle.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE, PDF};
use lab::client::Curl;
use lab::{Lab, NOBODY, run, wait};
use serde_json::{Value, json};

use super::{MONITORED, check_blocked, url};

const POLICY: &str = "Prevent downloads from unmanaged devices";

/// Some of everything, and the id of a block.
fn traffic(lab: &Lab, agent: &Agent<'_>) -> String {
    let blocked = Curl::get(url(MONITORED, DOCX)).send(lab).unwrap();
    check_blocked(&blocked, DOCX);
    let from = ["-H", "Referer: https://intranet.elsewhere.test/"];
    Curl::get(url(MONITORED, PAGE)).arguments(&from).send(lab).unwrap();
    Curl::get(url(MONITORED, DOCX)).user(NOBODY).send(lab).unwrap();
    Curl::get(url("notes.memo.test", PDF)).send(lab).unwrap();
    Curl::get(url(MONITORED, PAGE)).arguments(&["-H", "Host: elsewhere.corp.test"]).send(lab).unwrap();
    agent.wait_for_activity("the last one", |record| record["type"] == "access").unwrap();
    blocked.header("x-portcullis-activity").unwrap().to_owned()
}

/// What the validator says of the values.
fn faults(values: &[(&str, Value)]) -> String {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/schemas");
    let mut validator = Command::new("/usr/bin/python3")
        .args(["-I", "-W", "ignore", "-c", include_str!("../../support/schemas.py")])
        .arg(schemas)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = validator.stdin.take().unwrap();
    for (schema, value) in values {
        writeln!(input, "{}", json!({ "schema": schema, "value": value })).unwrap();
    }
    drop(input);
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success(), "the validator failed: is python3-jsonschema installed?");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_commands_print_as_json_is_as_their_schemas_say() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let id = traffic(&lab, &agent);
    wait::until("the site that made the request", wait::PATIENCE, || {
        let found = agent.command(&["apps", "--discovered", "--json"])?.succeeded()?.text();
        Ok(found.contains("intranet.elsewhere.test").then_some(()))
    })
    .unwrap();
    let candidates = lab.directory().join("candidates");
    std::fs::create_dir_all(&candidates).unwrap();
    let monitor =
        "[[policy]]\nname = \"Watch all\"\napps.include = [\"all\"]\nsession.control = \"monitor-only\"\n";
    std::fs::write(candidates.join("a.toml"), monitor).unwrap();
    let candidates = candidates.to_str().unwrap();

    let mut values = Vec::new();
    for (schema, arguments) in [
        ("status", &["status"][..]),
        ("app-list", &["apps"]),
        ("app-list", &["apps", "--discovered"]),
        ("activity", &["activity"]),
        ("explain", &["explain", &id]),
        ("policy", &["policy", "list"]),
        ("policy", &["policy", "show", POLICY]),
        ("what-if", &["policy", "what-if", "--user", "alice", "--app", "corp-files"]),
        ("replay", &["policy", "replay", candidates]),
        ("doctor", &["doctor"]),
    ] {
        let mut all = arguments.to_vec();
        all.push("--json");
        let finished = agent.command(&all).unwrap();
        let lines = finished.text();
        let found = lines.lines().map(|line| {
            (
                schema,
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}")),
            )
        });
        let before = values.len();
        values.extend(found);
        assert!(values.len() > before, "{arguments:?} printed nothing: {}", finished.stderr);
    }
    assert_eq!(faults(&values), "");
    let kinds = |schema| values.iter().filter(|(name, _)| *name == schema).count();
    assert!(kinds("app-list") >= 3 && kinds("activity") >= 4 && kinds("replay") >= 2, "{values:?}");

    // The schemas say no to what is not so.
    let mut tried = BTreeSet::new();
    for (schema, value) in values.iter().filter(|(schema, _)| tried.insert(*schema)) {
        let mut more = value.clone();
        more["no-such-key"] = json!(1);
        assert!(faults(&[(*schema, more)]).contains("no-such-key"), "{schema} takes any key");
        if *schema == "status" {
            let mut other = value.clone();
            other["policies"]["count"] = json!("two");
            assert!(faults(&[(*schema, other)]).contains("count"), "{schema} takes any value");
        }
    }
}

#[test]
fn top_shows_what_goes_on_and_gives_the_terminal_back() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    traffic(&lab, &agent);
    let on_terminal = |columns: &str, lines: &str, wanted: &str| -> Value {
        let mut command = lab.client().command("/usr/bin/python3", None).unwrap();
        command.args(["-I", "-c", include_str!("../../support/terminal.py"), columns, lines, wanted, "q"]);
        command.arg(lab::agent::binary().unwrap()).args(["top", "--config"]).arg(agent.config());
        let text = run(command, wait::PATIENCE * 3).unwrap().succeeded().unwrap().text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    for (columns, lines, wanted) in
        [("120", "40", "corp-files .* 2\n"), ("80", "24", "corp-files"), ("40", "10", "portcullis")]
    {
        let shown = on_terminal(columns, lines, wanted);
        assert!(
            shown["found"] == true && shown["status"] == 0 && shown["restored"] == true,
            "{columns}: {shown:#}"
        );
    }
    let once = agent.command(&["top", "--once", "1"]).unwrap().succeeded().unwrap().text();
    assert!(once.contains("corp-files") && once.contains("verdicts"), "{once}");
    let piped = agent.command(&["top"]).unwrap();
    assert_eq!(piped.code, Some(2), "{}", piped.stderr);
}

#[test]
fn a_support_bundle_is_listed_first_and_names_nobody() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    traffic(&lab, &agent);
    let out = lab.directory().join("bundle.tar.gz");
    let out = out.to_str().unwrap();
    let listed = agent.command(&["support-bundle", "--out", out]).unwrap();
    assert_eq!(listed.code, Some(2), "without a terminal nobody can agree: {}", listed.stderr);
    assert!(listed.text().contains("status.json") && !Path::new(out).exists(), "{}", listed.text());
    let written =
        agent.command(&["support-bundle", "--out", out, "--yes"]).unwrap().succeeded().unwrap().text();
    for part in ["system.txt", "doctor.json", "status.json", "metrics.txt", "config/", "config/policies.d/"] {
        assert!(written.contains(part), "{part}: {written}");
    }
    let unpacked = Command::new("tar").args(["-xzOf", out]).output().unwrap();
    let text = String::from_utf8(unpacked.stdout).unwrap();
    assert!(text.contains("portcullis_activities_total") && text.contains("block-downloads"), "{text}");
    let status = agent.command(&["status", "--json"]).unwrap().text();
    let status: Value = serde_json::from_str(&status).unwrap();
    let device = status["device"]["id"].as_str().unwrap();
    for name in
        [POLICY, "corp-files", "breakglass", "nobody", MONITORED, "notes.memo.test", device, "198.18.0.10"]
    {
        assert!(!text.contains(name), "{name} is in the bundle");
    }
}
