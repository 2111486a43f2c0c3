//! What a policy's apps and its session control come to, with real clients: A4, A11, A16, A17, A19.

use lab::agent::{APPS, Agent, BLOCK_UNMANAGED, Settings};
use lab::attachment::{CSV, DOCX, PDF, ZIP};
use lab::client::{Curl, issuer};
use lab::{Lab, ORIGIN_CA_NAME, wait};
use serde_json::{Value, json};

use super::{MONITORED, UNMONITORED, check_blocked, check_passed, url};

const FILE: &str = "10-downloads.toml";

fn only(policy: &str) -> Settings {
    Settings { policies: vec![(FILE.to_owned(), policy.to_owned())], ..Settings::default() }
}

/// A4: a policy that asks for no control steers and blocks nothing, and leaves no record.
#[test]
fn a_policy_without_a_session_control_does_nothing() {
    let lab = Lab::start().unwrap();
    let without: String =
        BLOCK_UNMANAGED.split_inclusive('\n').take_while(|line| !line.contains("session")).collect();
    let agent = Agent::start(&lab, &only(&without)).unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    assert!(issuer(&lab, MONITORED).unwrap().contains(ORIGIN_CA_NAME));
    assert_eq!(agent.activities(&[]).unwrap(), Vec::<Value>::new());
}

/// A11: a suite is its apps; a domain that an app gets later is covered without a touch of the policy.
#[test]
fn a_suite_covers_its_apps_and_what_they_get_later() {
    let lab = Lab::start().unwrap();
    // Somebody else's at first, so that the authority vouches for the name: it does for what it found in the catalog.
    let apps = format!("{APPS}\n[[app]]\nid = \"spare\"\nname = \"Spare\"\ndomains = [\"{UNMONITORED}\"]\n");
    let settings = Settings { apps, ..only(&BLOCK_UNMANAGED.replace("\"corp-files\"", "\"corp\"")) };
    let agent = Agent::start(&lab, &settings).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    check_passed(&Curl::get(url(UNMONITORED, DOCX)).send(&lab).unwrap(), UNMONITORED, DOCX);

    let grown = APPS.replace("\"*.corp.test\"", &format!("\"*.corp.test\", \"{UNMONITORED}\""));
    agent.write_app("lab.toml", &grown).unwrap();
    wait::until("the new domain to be covered", wait::PATIENCE, || {
        // The connection that is open when the app gets the domain may be closed.
        Ok(Curl::get(url(UNMONITORED, DOCX)).send(&lab).is_ok_and(|reply| reply.status == 403).then_some(()))
    })
    .unwrap();
    check_blocked(&Curl::get(url(UNMONITORED, DOCX)).send(&lab).unwrap(), DOCX);
}

/// A11: also one that the authority was not made for. It is refused, and said so, until a rotation vouches for it; the
/// names from before keep their authority meanwhile.
#[test]
fn a_domain_that_the_authority_does_not_cover_takes_a_rotation() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &only(BLOCK_UNMANAGED)).unwrap();
    let before = issuer(&lab, MONITORED).unwrap();
    let grown = APPS.replace("\"*.corp.test\"", &format!("\"*.corp.test\", \"{UNMONITORED}\""));
    agent.write_app("lab.toml", &grown).unwrap();
    wait::until("the new domain to be refused", wait::PATIENCE, || {
        Ok(Curl::get(url(UNMONITORED, DOCX)).send(&lab).is_err().then_some(()))
    })
    .unwrap();
    let status = agent.command(&["status"]).unwrap();
    assert!(status.code == Some(1) && status.text().contains(UNMONITORED), "{}", status.text());

    agent.command(&["ca", "rotate"]).unwrap().succeeded().unwrap();
    let roots = lab.directory().join("roots.pem");
    agent.command(&["ca", "export", "--out", roots.to_str().unwrap()]).unwrap().succeeded().unwrap();
    lab.trust_also(&roots).unwrap();
    wait::until("the new domain to be covered", wait::PATIENCE, || {
        Ok(Curl::get(url(UNMONITORED, DOCX)).send(&lab).is_ok_and(|reply| reply.status == 403).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", agent.log()));
    assert_eq!(issuer(&lab, MONITORED).unwrap(), before);
    assert_eq!(agent.command(&["status"]).unwrap().code, Some(0));
}

/// A16: the rules decide, the strictest of those that match; what none matches passes and is recorded.
#[test]
fn rules_of_a_custom_control_decide() {
    let rules = r#"control = "custom"
[[policy.session.rule]]
activity = ["download"]
files = { extensions = ["DOCX"] }
action = "block"
[[policy.session.rule]]
activity = ["download"]
files = { names = ["contract*"] }
action = "monitor"
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &only(&BLOCK_UNMANAGED.replace("control = \"block-downloads\"\n", rules)))
        .unwrap();
    let get = |resource| Curl::get(url(MONITORED, resource)).send(&lab).unwrap();
    check_blocked(&get(DOCX), DOCX);
    check_passed(&get(PDF), MONITORED, PDF);
    check_passed(&get(ZIP), MONITORED, ZIP);
    for (resource, action) in [(DOCX, "block"), (PDF, "monitor"), (ZIP, "allow")] {
        let name = resource.file_name.unwrap();
        let record = agent.wait_for_activity(name, |record| record["file"]["name"] == name).unwrap();
        assert_eq!(record["decision"]["action"], action, "{record}");
    }
}

/// A17: asked and recorded, never enforced.
#[test]
fn a_report_only_policy_is_recorded_and_not_enforced() {
    let lab = Lab::start().unwrap();
    let agent =
        Agent::start(&lab, &only(&BLOCK_UNMANAGED.replace("\"enabled\"", "\"report-only\""))).unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    let record =
        agent.wait_for_activity("the download", |record| record["file"]["name"] == "report.docx").unwrap();
    assert_eq!(record["report_only"], json!(["Prevent downloads from unmanaged devices"]), "{record}");
    assert_ne!(record["decision"]["action"], "block", "{record}");
}

/// A19: what Entra exports is imported as a policy that holds, and what has no counterpart is named.
#[test]
fn an_imported_policy_is_enforced() {
    let export = json!({
        "displayName": "Block downloads on unmanaged devices",
        "state": "enabled",
        "conditions": {
            "users": { "includeUsers": ["All"], "excludeUsers": [], "includeGroups": [], "excludeGroups": [] },
            "applications": { "includeApplications": ["6f8b3c1e-0000-4000-8000-00000000c0de"], "excludeApplications": [] },
            "clientAppTypes": ["all"],
            "signInRiskLevels": ["high"],
            "devices": { "deviceFilter": { "mode": "exclude", "rule": "device.isCompliant -eq True" } }
        },
        "grantControls": null,
        "sessionControls": { "cloudAppSecurity": { "isEnabled": true, "cloudAppSecurityType": "blockDownloads" } }
    });
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { policies: Vec::new(), ..Settings::default() }).unwrap();
    let file = lab.directory().join("export.json");
    std::fs::write(&file, export.to_string()).unwrap();
    let names = lab.directory().join("names.toml");
    std::fs::write(&names, "\"6f8b3c1e-0000-4000-8000-00000000c0de\" = \"corp-files\"\n").unwrap();
    let (file, names) = (file.to_str().unwrap(), names.to_str().unwrap());
    let imported = agent.command(&["policy", "import", file, "--names", names]).unwrap().succeeded().unwrap();
    assert!(imported.stderr.contains("conditions.signInRiskLevels"), "{}", imported.stderr);
    assert!(imported.text().contains("state = \"report-only\""), "{}", imported.text());
    agent
        .write_policy(FILE, &imported.text().replace("state = \"report-only\"", "state = \"enabled\""))
        .unwrap();
    wait::until("the imported policy to be in force", wait::PATIENCE, || {
        Ok(Curl::get(url(MONITORED, CSV)).send(&lab).is_ok_and(|reply| reply.status == 403).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}\n{}", imported.text(), agent.log()));
    check_blocked(&Curl::get(url(MONITORED, CSV)).send(&lab).unwrap(), CSV);
}
