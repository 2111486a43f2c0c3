//! `portcullis console`: asks the agent for an address that opens the console once, prints it, and opens it where there is
//! a display.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Program, ExitCode, Stdio};

use super::status::{NOT_RUNNING, TIMEOUT};
use super::terminal::clean;
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;

/// Open the console in a browser. The address is good for one minute and one browser.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConsoleArgs {
    /// Print the address and open nothing
    #[arg(long)]
    no_open: bool,
}

/// Exit status: 0 the address was printed, 1 there is no console, 3 the daemon is not running.
pub(super) fn run(args: &ConsoleArgs, socket: &Path) -> ExitCode {
    let address = match ask::<String>(socket, &Command::Console, TIMEOUT) {
        Ok(address) => address,
        Err(error) => {
            let _ = writeln!(io::stderr(), "portcullis: {}", clean(&error.to_string()));
            return match error {
                AskError::NotRunning(_) => ExitCode::from(NOT_RUNNING),
                _ => ExitCode::FAILURE,
            };
        }
    };
    let _ = writeln!(io::stdout(), "{}", clean(&address));
    if !args.no_open && has_display() {
        open(&address);
    }
    ExitCode::SUCCESS
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// A browser is not for root: under sudo it is that of who asked.
fn open(address: &str) {
    let mut program = Program::new("xdg-open");
    program.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        let id = |name| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok()).filter(|id| *id != 0);
        let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
        program.uid(uid).gid(gid).env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"));
    }
    // A desktop without it has the address on its terminal.
    let _ = program.spawn();
}
