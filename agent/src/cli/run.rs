//! `portcullis run`: the daemon in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{USAGE, complain};
use crate::app::{self, Fault};
use crate::config::Mode;
use crate::{memory, telemetry};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How connections reach the agent, over what the settings say
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// The socket of a signer that runs already, as the unit's does; without it the agent starts one
    #[arg(long, value_name = "SOCKET")]
    signer: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Hooks on this machine's cgroups
    Host,
    /// Forwarded traffic on interfaces
    Gateway,
    /// A proxy that clients are told to use
    Explicit,
}

pub(super) fn run(arguments: &RunArgs, config: Option<PathBuf>) -> ExitCode {
    telemetry::start();
    memory::give_back();
    let mode = arguments.mode.map(|mode| match mode {
        ModeArg::Host => Mode::Host,
        ModeArg::Gateway => Mode::Gateway,
        ModeArg::Explicit => Mode::Explicit,
    });
    match app::run(config, mode, arguments.signer.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Configuration(faults)) => {
            complain(&faults);
            ExitCode::from(USAGE)
        }
        Err(Fault::Unavailable(what)) => {
            eprintln!("portcullis: {what}");
            ExitCode::from(USAGE)
        }
        Err(Fault::Failed(error)) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}
