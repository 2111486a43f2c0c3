//! `portcullis cleanup`: removes what an agent that did not stop in order left in the kernel.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::app::LOCK;
use crate::config::{Config, Fail, Mode};
use crate::lock::Lock;
use crate::steering;

/// Set by systemd for `ExecStopPost=`: how the service ended (systemd.exec(5)).
const SERVICE_RESULT: &str = "SERVICE_RESULT";
/// Its value after an orderly stop.
const SUCCESS: &str = "success";

/// Remove kernel programs and pins that an agent which no longer runs left behind.
///
/// Run by a service manager after a failure (SERVICE_RESULT), it leaves them in place: the agent that is started next takes
/// them over, and until then `[steering] fail` holds.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct CleanupArgs {
    /// Remove them also after a failure
    #[arg(long)]
    force: bool,
}

/// Fails when an agent runs with this configuration's directory or cgroup.
pub(super) fn run(arguments: &CleanupArgs, config: &Config) -> Result<ExitCode> {
    if let Ok(result) = std::env::var(SERVICE_RESULT)
        && result != SUCCESS
        && !arguments.force
    {
        let what = match config.steering.fail {
            Fail::Closed => "connections to monitored apps are refused",
            Fail::Open => "everything passes",
        };
        return say(&format!(
            "the service ended with \"{result}\": programs and pins stay for the next agent, until then {what} \
             (`portcullis cleanup --force` removes them)"
        ));
    }
    let run = &config.paths.run;
    let _lock = run.exists().then(|| Lock::file(&run.join(LOCK))).transpose()?;
    let (pins, settings) = (&config.paths.pins, &config.steering);
    let mut removed = false;
    // Explicit mode has nothing in the kernel, and may lack the rights to look.
    if settings.mode != Mode::Explicit {
        removed |= steering::gateway::remove_leftovers(pins).context("removing what a gateway left")?;
    }
    removed |= steering::clean_up(pins, settings.cgroup.as_deref()).context("removing pins")?;
    say(if removed { "removed what was left in the kernel" } else { "nothing was left" })
}

fn say(what: &str) -> Result<ExitCode> {
    writeln!(io::stdout(), "portcullis: {what}")?;
    Ok(ExitCode::SUCCESS)
}
