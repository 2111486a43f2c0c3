//! Chromium among the lab's clients, with the CAs of the agent and the origin in its trust store.

use std::fs;
use std::path::{Path, PathBuf};

use lab::agent::Agent;
use lab::{Lab, run, wait};

pub(super) struct Browser<'lab> {
    lab: &'lab Lab,
    home: PathBuf,
}

impl<'lab> Browser<'lab> {
    /// `None`, said aloud, where it is not installed; with `CI` set that is a failure.
    pub(super) fn of(lab: &'lab Lab, agent: &Agent<'_>) -> Option<Self> {
        if !["/usr/bin/chromium", "/usr/bin/certutil"].iter().all(|tool| Path::new(tool).exists()) {
            assert!(std::env::var_os("CI").is_none(), "Chromium and certutil are not installed");
            eprintln!("left out: Chromium or certutil is not installed (cargo xtask setup --browser)");
            return None;
        }
        let home = lab.directory().join("browser");
        let store = home.join(".pki/nssdb");
        fs::create_dir_all(&store).unwrap();
        let database = format!("sql:{}", store.display());
        let certutil = |arguments: &[&str]| {
            let mut command = lab.client().command("certutil", None).unwrap();
            command.args(["-d", &database]).args(arguments);
            run(command, wait::PATIENCE).unwrap().succeeded().unwrap();
        };
        certutil(&["-N", "--empty-password"]);
        for (name, ca) in [("agent", agent.ca()), ("origin", lab.origin_ca())] {
            certutil(&["-A", "-t", "C,,", "-n", name, "-i", ca.to_str().unwrap()]);
        }
        Some(Self { lab, home })
    }

    /// The document at an address as the browser has it.
    pub(super) fn page(&self, address: &str, more: &[&str]) -> String {
        let mut command = self.lab.client().command("chromium", None).unwrap();
        command
            .env("HOME", &self.home)
            // Its singleton socket, which it leaves behind when it is killed.
            .env("TMPDIR", &self.home)
            // In the lab everything runs as root, which Chromium's sandbox refuses.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--dump-dom"])
            .arg(format!("--user-data-dir={}", self.home.join("profile").display()))
            .args(more)
            .arg(address);
        run(command, wait::PATIENCE * 3).unwrap().succeeded().unwrap().text()
    }
}
