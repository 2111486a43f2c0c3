//! A browser that is promised HTTP/3 by DNS: it tries QUIC, falls back to TCP by itself, and is shown the block page (A31).

use std::fs;
use std::path::Path;

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE, Resource};
use lab::{Lab, run, wait};

use super::{MONITORED, left_out, url};

/// When set, a machine without the browser fails the test instead of leaving it out.
const REQUIRE_BROWSER: &str = "PORTCULLIS_REQUIRE_BROWSER";

/// The document that a browser with a new profile ends up with.
fn visit(lab: &Lab, agent: &Agent<'_>, resource: Resource) -> String {
    let home = lab.directory().join(format!("browser{}", resource.path.replace('/', "-")));
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let database = format!("sql:{}", store.display());
    let certutil = |arguments: &[&str]| {
        let mut command = lab.client().command("certutil", None).unwrap();
        command.args(["-d", &database]).args(arguments);
        run(command, wait::PATIENCE).unwrap().succeeded().unwrap();
    };
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-t", "C,,", "-n", "agent", "-i", agent.ca().to_str().unwrap()]);
    let mut command = lab.client().command("chromium", None).unwrap();
    command
        .env("HOME", &home)
        // Its singleton socket, which it leaves behind when it is killed.
        .env("TMPDIR", &home)
        // In the lab everything runs as root, which Chromium's sandbox refuses.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--enable-quic", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.join("profile").display()))
        .arg(url(MONITORED, resource));
    run(command, wait::PATIENCE * 3).unwrap().succeeded().unwrap().text()
}

#[test]
fn chromium_is_told_of_no_quic_and_sees_the_block_page() {
    if !["chromium", "certutil"].iter().all(|name| Path::new("/usr/bin").join(name).exists()) {
        assert!(std::env::var_os(REQUIRE_BROWSER).is_none(), "chromium or certutil is not installed");
        return left_out("Chromium is not installed (cargo xtask setup --browser)");
    }
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let count = |event| agent.metric("portcullis_kernel_events_total", &[("event", event)]).unwrap();
    let refused = || count("https-question-refused");
    let mut before = refused();
    for (resource, expected) in [
        (PAGE, format!("Welcome to {MONITORED}")),
        (DOCX, "Download blocked. Downloading report.docx is blocked".to_owned()),
    ] {
        let seen = visit(&lab, &agent, resource);
        assert!(seen.contains(&expected), "{}: {seen}\n{}", resource.path, agent.log());
        // It did ask for the record that offers h3: otherwise this would be no test of QUIC.
        assert!(refused() > before, "{}: the browser never asked for the HTTPS record", resource.path);
        before = refused();
    }
}
