//! Chromium among the lab's clients, with authorities of the lab in its trust store.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::process::run;
use crate::{Lab, wait};

/// Visits until an empty document is believed.
const ATTEMPTS: usize = 3;

/// A browser's home directory. Each visit is a process of its own.
pub struct Browser<'lab> {
    lab: &'lab Lab,
    home: PathBuf,
}

impl<'lab> Browser<'lab> {
    /// A new profile that trusts these certificate authorities (PEM files). Takes chromium and certutil.
    pub fn trusting(lab: &'lab Lab, authorities: &[PathBuf]) -> Result<Self> {
        let home = lab.directory().join("browser");
        let store = home.join(".pki/nssdb");
        fs::create_dir_all(&store)?;
        let database = format!("sql:{}", store.display());
        let certutil = |configure: &dyn Fn(&mut std::process::Command)| -> Result<()> {
            let mut command = lab.client().command("certutil", None)?;
            command.args(["-d", &database]);
            configure(&mut command);
            run(command, wait::PATIENCE)?.succeeded().map(drop)
        };
        certutil(&|command| {
            command.args(["-N", "--empty-password"]);
        })?;
        for (number, authority) in authorities.iter().enumerate() {
            certutil(&|command| {
                command.args(["-A", "-t", "C,,", "-n", &format!("ca {number}"), "-i"]).arg(authority);
            })?;
        }
        Ok(Self { lab, home })
    }

    /// The HTML of the document at an address as the browser has it, with further arguments for Chromium.
    ///
    /// Headless Chromium at times prints nothing at all, not even its own error page, and is then asked again.
    pub fn document(&self, address: &str, more: &[&str]) -> Result<String> {
        for _ in 1..ATTEMPTS {
            let document = self.visit(address, more)?;
            if !document.is_empty() {
                return Ok(document);
            }
        }
        self.visit(address, more)
    }

    fn visit(&self, address: &str, more: &[&str]) -> Result<String> {
        let mut command = self.lab.client().command("chromium", None)?;
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
        Ok(run(command, wait::PATIENCE * 3)?.succeeded()?.text())
    }
}
