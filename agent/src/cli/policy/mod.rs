//! `portcullis policy`: the policies as loaded, and what they would do.

mod import;
mod list;
mod replay;
mod source;
mod what_if;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

/// The policies as loaded, and what they would do
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Every policy in a line, in the order of the files
    List(list::ListArgs),
    /// One policy as its file says it, with what its words stand for
    Show(list::ShowArgs),
    /// What would be decided, without traffic: every policy and condition
    WhatIf(Box<what_if::WhatIfArgs>),
    /// Candidate policies over the recorded activities: what would be decided otherwise
    Replay(Box<replay::ReplayArgs>),
    /// Policies of a Microsoft Graph conditionalAccessPolicy export, in the form of policies.d
    Import(import::ImportArgs),
}

/// Runs the command. `config`: the settings file as given.
pub(super) fn run(args: &PolicyArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    match &args.command {
        PolicyCommand::List(args) => list::list(args, config),
        PolicyCommand::Show(args) => list::show(args, config),
        PolicyCommand::WhatIf(args) => what_if::run(args, config),
        PolicyCommand::Replay(args) => replay::run(args, config),
        PolicyCommand::Import(args) => import::run(args, config),
    }
}

/// Writes all of a command's output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
