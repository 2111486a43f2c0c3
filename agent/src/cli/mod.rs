//! The command line: every subcommand with its arguments, and the exit statuses they share.

pub mod ca;
mod check;
pub mod classify;
mod reload;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::diagnostic::{Diagnostic, Style};
use crate::reload::{Snapshot, Sources, compile};

/// Exit statuses besides 0 and 1 (it failed while running).
pub const USAGE: u8 = 2;
pub const NOT_RUNNING: u8 = 3;

/// Session controls for cloud apps, enforced on the host
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    /// The settings file; policies.d and apps.d stand beside it
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::RunArgs),
    /// Validate every configuration file and change nothing
    Check,
    /// Read the configuration again, as a changed file or SIGHUP does
    Reload,
    /// Say of recorded HTTP exchanges what they are, and why
    Classify(classify::ClassifyArgs),
    /// The host's own certificate authority
    Ca(ca::Ca),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config;
    match arguments.command {
        Command::Run(run) => Ok(run::run(&run, config)),
        Command::Check => Ok(check::run(config)),
        Command::Reload => reload::run(config),
        Command::Classify(classify) => classify::run(&classify),
        Command::Ca(command) => {
            let Some(snapshot) = load(config) else { return Ok(ExitCode::from(USAGE)) };
            let patterns: Vec<_> = snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
            ca::run(&command, &snapshot.config.paths.state.join("ca"), &patterns).context("ca")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The configuration, or everything that is wrong with it on standard error.
fn load(config: Option<PathBuf>) -> Option<Snapshot> {
    let sources = Sources::new(config);
    match sources.read().and_then(|texts| compile(&texts, 0)) {
        Ok(snapshot) => Some(snapshot),
        Err(faults) => {
            complain(&faults);
            None
        }
    }
}

/// Prints every diagnostic, coloured on a terminal.
fn complain(faults: &[Diagnostic]) {
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr());
    for fault in faults {
        eprintln!("{}\n", fault.render(if coloured { Style::Coloured } else { Style::Plain }));
    }
    let what = if faults.len() == 1 { "error" } else { "errors" };
    eprintln!("portcullis: {} {what} in the configuration", faults.len());
}
