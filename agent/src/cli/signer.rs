//! `portcullis signer`: the process that holds the issuing key. systemd or the agent starts it; people do not.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, User, geteuid, getppid};

use crate::tls::{self, Issuing, SignerService};
use crate::{inherited, telemetry};

/// Hold the issuing key and sign leaf certificates, on the listening socket that is standard input
#[derive(Debug, clap::Args)]
pub(super) struct SignerArgs {
    /// The directory with the authority; the credentials of the unit when left out
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    /// The user that may ask, beside root; who runs this when left out
    #[arg(long, value_name = "USER")]
    peer: Option<String>,
    /// The agent that started this, and ends it with itself
    #[arg(long, value_name = "PID", hide = true)]
    child_of: Option<i32>,
}

pub(super) fn run(arguments: &SignerArgs) -> Result<ExitCode> {
    if let Some(agent) = arguments.child_of {
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        ensure!(getppid() == Pid::from_raw(agent), "the agent that started this is gone");
    }
    tls::confine().context("shutting this process in")?;
    telemetry::start();
    let peer = match &arguments.peer {
        Some(name) => {
            User::from_name(name)?.with_context(|| format!("there is no user {name}"))?.uid.as_raw()
        }
        None => geteuid().as_raw(),
    };
    let issuing = match &arguments.ca {
        Some(directory) => Issuing::load(directory)?,
        None => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
                .context("which authority? `--ca DIR` says it, or the service manager's credentials")?;
            Issuing::load_credentials(directory.as_ref())?
        }
    };
    let listener = inherited::standard_input()?;
    match tls::serve_signer(listener, SignerService::new(issuing, peer), inherited::ready)? {}
}
