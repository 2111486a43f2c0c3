//! `portcullis cleanup`: removes what an agent that did not stop in order left in the kernel.

use std::io::{self, Write};
use std::process::{Command, ExitCode};

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
/// Run by a service manager after a failure (SERVICE_RESULT), or between the two halves of a restart (--unit), it leaves
/// them in place: the agent that is started next takes them over, and until then `[steering] fail` holds.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct CleanupArgs {
    /// Remove them also after a failure
    #[arg(long)]
    force: bool,
    /// The systemd unit that has ended, as `ExecStopPost=` knows it (%n): nothing is removed when it is about to start again
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

/// Fails when an agent runs with this configuration's directory or cgroup.
pub(super) fn run(arguments: &CleanupArgs, config: &Config) -> Result<ExitCode> {
    let stays = || match std::env::var(SERVICE_RESULT) {
        Ok(result) if result != SUCCESS => Some(format!("the service ended with \"{result}\"")),
        _ => {
            arguments.unit.as_deref().filter(|unit| starts_again(unit)).map(|unit| format!("{unit} restarts"))
        }
    };
    if let Some(why) = (!arguments.force).then(stays).flatten() {
        let what = match config.steering.fail {
            Fail::Closed => "connections to monitored apps are refused",
            Fail::Open => "everything passes",
        };
        return say(&format!(
            "{why}: programs and pins stay for the next agent, until then {what} (`portcullis cleanup --force` removes \
             them)"
        ));
    }
    let removed = take_out(config)?;
    say(if removed { "removed what was left in the kernel" } else { "nothing was left" })
}

/// Takes everything that is ours out of the kernel; whether there was anything. Fails where an agent runs.
pub(super) fn take_out(config: &Config) -> Result<bool> {
    let run = &config.paths.run;
    let _lock = run.exists().then(|| Lock::file(&run.join(LOCK))).transpose()?;
    let (pins, settings) = (&config.paths.pins, &config.steering);
    let mut removed = false;
    // Explicit mode has nothing in the kernel, and may lack the rights to look.
    if settings.mode != Mode::Explicit {
        removed |= steering::gateway::remove_leftovers(pins).context("removing what a gateway left")?;
    }
    removed |= steering::clean_up(pins, settings.cgroup.as_deref()).context("removing pins")?;
    Ok(removed)
}

/// Whether systemd is about to start a unit that has just ended in order: it has a job for that, or starts it whatever way it
/// ends. What cannot be learned is taken for an end: nothing is left behind then.
fn starts_again(unit: &str) -> bool {
    let ask = |arguments: &[&str]| match Command::new("systemctl").args(arguments).arg(unit).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => {
            eprintln!("portcullis: systemctl: {}", String::from_utf8_lossy(&output.stderr).trim());
            String::new()
        }
        Err(error) => {
            eprintln!("portcullis: systemctl: {error}");
            String::new()
        }
    };
    let jobs = ask(&["list-jobs", "--plain", "--no-legend", "--full"]);
    let restart = || ask(&["show", "--property=Restart", "--value"]);
    is_to_start(&jobs, unit, restart)
}

/// From the answers of systemctl: a unit's jobs, a line each (number, unit, type, state), and its `Restart=` setting.
fn is_to_start(jobs: &str, unit: &str, restart: impl FnOnce() -> String) -> bool {
    let job = jobs.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some(unit)).then(|| words.next()).flatten()
    });
    match job {
        Some(kind) => matches!(kind, "start" | "restart"),
        None => matches!(restart().trim(), "always" | "on-success"),
    }
}

fn say(what: &str) -> Result<ExitCode> {
    writeln!(io::stdout(), "portcullis: {what}")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::is_to_start;

    #[test]
    fn a_job_decides_and_without_one_the_setting() {
        let unit = "portcullis.service";
        for (jobs, restart, expected) in [
            ("1234 portcullis.service restart running\n", "no", true),
            ("9 other.service stop waiting\n8 portcullis.service start waiting\n", "no", true),
            ("1234 portcullis.service stop running\n", "always", false),
            ("", "always", true),
            ("No jobs running.\n", "on-success", true),
            ("1 portcullis.service.d restart running\n", "on-failure", false),
            ("", "on-failure", false),
            ("", "", false),
        ] {
            assert_eq!(is_to_start(jobs, unit, || format!("{restart}\n")), expected, "{jobs}{restart}");
        }
    }
}
