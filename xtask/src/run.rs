//! Builds the agent and runs it on this host, as root.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build;
use crate::command::{line, say};
use crate::workspace::{find_program, is_root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file; policies.d and apps.d stand beside it
    #[arg(long)]
    config: PathBuf,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let config = arguments
        .config
        .canonicalize()
        .with_context(|| format!("cannot read the configuration {}", arguments.config.display()))?;
    let binary = build::agent()?;
    let mut command = if is_root() {
        Command::new(&binary)
    } else {
        let sudo = find_program("sudo")
            .context("steering takes root and there is no sudo: run this command as root")?;
        let mut command = Command::new(sudo);
        command.arg("--").arg(&binary);
        command
    };
    command.arg("run").arg("--config").arg(config);
    say(line(&command));
    // In our place, so that signals reach the agent itself and its exit status is ours.
    Err(command.exec()).with_context(|| format!("cannot run `{}`", line(&command)))
}
