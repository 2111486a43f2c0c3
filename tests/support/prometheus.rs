//! A real Prometheus that scrapes the agent, and its promtool.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::client::page;
use crate::process::{Daemon, run};
use crate::{Lab, wait};

const PORT: u16 = 9490;
const PROGRAM: &str = "/usr/bin/prometheus";
const TOOL: &str = "/usr/bin/promtool";

/// Beside the agent; it ends with SIGTERM on drop.
pub struct Prometheus {
    _daemon: Daemon,
}

impl Prometheus {
    /// Scrapes the port once a second and evaluates the rules.
    pub fn start(lab: &Lab, scraped: u16, rules: &Path) -> Result<Self> {
        there(PROGRAM)?;
        let directory = lab.directory().join("prometheus");
        fs::create_dir_all(&directory)?;
        fs::write(
            directory.join("prometheus.yml"),
            format!(
                "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}\"]\nscrape_configs:\n\
                 - job_name: portcullis\n  static_configs: [{{targets: [\"127.0.0.1:{scraped}\"]}}]\n",
                rules.display()
            ),
        )?;
        let mut command = lab.agent().command(PROGRAM, None)?;
        command
            .arg(format!("--config.file={}/prometheus.yml", directory.display()))
            .arg(format!("--storage.tsdb.path={}/data", directory.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{PORT}"));
        let mut daemon = Daemon::spawn("prometheus", command, directory.join("prometheus.log"))?;
        daemon
            .wait_until("/-/ready", || page(lab, PORT, "/-/ready").is_ok_and(|reply| reply.status == 200))?;
        Ok(Self { _daemon: daemon })
    }

    /// The value of an instant query that has one sample; nothing where it has none.
    pub fn query(&self, lab: &Lab, expression: &str) -> Result<Option<f64>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply = page(lab, PORT, &format!("/api/v1/query?query={encoded}"))?;
        let answer: Value = serde_json::from_str(&reply.text()).context("no JSON")?;
        ensure!(answer["status"] == "success", "{answer}");
        let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        value.map(|value| value.parse().context("no number")).transpose()
    }

    /// What promtool says of a file of rules; fails when it refuses it.
    pub fn check_rules(lab: &Lab, rules: &Path) -> Result<String> {
        there(TOOL)?;
        let mut command = lab.agent().command(TOOL, None)?;
        command.args(["check", "rules"]).arg(rules);
        let finished = run(command, Duration::from_secs(30).max(wait::PATIENCE))?.succeeded()?;
        Ok(finished.text())
    }
}

fn there(program: &str) -> Result<()> {
    ensure!(Path::new(program).exists(), "{program} is missing: `cargo xtask setup --lab` installs it");
    Ok(())
}
