//! The demonstration: a lab, the agent with a sample policy, real clients, one line for each thing that must hold.

mod browser;
mod leftovers;
mod report;
mod story;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::agent::{Agent, Settings};
use lab::{Lab, interrupt};

use crate::command::{run, say};
use crate::workspace::{find_program, is_root};
use crate::{build, setup};
use leftovers::Leftovers;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install Chromium and show its lines too; without it they are shown when Chromium is there
    #[arg(long)]
    browser: bool,
    /// Show this build of the agent instead of making one
    #[arg(long, value_name = "BINARY")]
    agent: Option<PathBuf>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::lab()?;
    if arguments.browser {
        setup::browser()?;
    }
    let binary = match &arguments.agent {
        Some(given) => given.canonicalize().with_context(|| format!("cannot read {}", given.display()))?,
        None => build::agent()?,
    };
    if !is_root() {
        return again_as_root(arguments, &binary);
    }

    interrupt::install();
    let leftovers = Leftovers::before()?;
    let mut report = Report::new();
    let ended = show(&mut report, &leftovers, Settings { binary: Some(binary), ..Settings::default() });
    leftovers.report(&mut report);
    ended.context("the demo did not come to its end")?;
    report.verdict()
}

/// The lab and the agent live and end in here, whatever happens.
fn show(report: &mut Report, leftovers: &Leftovers, settings: Settings) -> Result<()> {
    let lab = Lab::start().context("cannot build the lab")?;
    leftovers.will_watch(lab.directory());
    report.heading("The lab");
    report.note(&format!(
        "clients and agent  namespace {}, cgroup {}",
        lab.namespace(),
        lab.cgroup().display()
    ));
    report.note(&format!("origin             namespace {}: nginx with TLS, dnsmasq", lab.origin_namespace()));
    report.note("device             not compliant, says its management");

    let mut agent = Agent::start(&lab, &settings).context("cannot start the agent")?;
    leftovers.will_watch_kernel(agent.kernel_objects());
    for (file, text) in &settings.policies {
        report.heading(&format!("policies.d/{file}"));
        report.quote(text);
    }
    let told = story::tell(report, &lab, &agent);
    if told.is_err() || report.failed() {
        report.heading("The agent's log");
        report.quote(&agent.log());
    }
    told?;
    let status = agent.stop()?;
    report.line("the agent ends in good order", "SIGTERM to the agent", "exit status 0", || {
        Ok((status.success(), status.to_string()))
    })
}

/// Everything after the build takes root.
fn again_as_root(arguments: &Arguments, binary: &std::path::Path) -> Result<()> {
    let sudo = find_program("sudo").context("the demo takes root and there is no sudo: run it as root")?;
    say("the lab takes root (network namespaces, kernel programs)");
    let mut command = Command::new(sudo);
    command.arg("--").arg(std::env::current_exe()?).arg("demo").arg("--agent").arg(binary);
    if arguments.browser {
        command.arg("--browser");
    }
    run(&mut command)
}
