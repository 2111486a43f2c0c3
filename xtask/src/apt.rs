//! Debian packages: which of a list are missing, and installing them after saying so.

use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Result, bail};

use crate::command::{run, say};
use crate::workspace::{find_program, is_root};

/// Makes sure that every one of `packages` is installed. `purpose` ends the sentence "needed to …"; `otherwise` tells
/// what to do on a machine without apt.
pub(crate) fn ensure(packages: &[&str], purpose: &str, otherwise: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_program("apt-get").is_none() {
        bail!(
            "needed to {purpose}: {}; this machine has no apt-get to install them with.\n{otherwise}",
            missing.join(", ")
        );
    }
    say(format_args!("needed to {purpose}, will be installed with apt-get: {}", missing.join(" ")));
    refresh_lists()?;
    let quiet = ServiceGuard::before_installing(&missing);
    let result = run(apt_get()?.args(["install", "--yes", "--no-install-recommends"]).args(&missing));
    drop(quiet);
    result.map_err(|error| error.context(format!("the packages that are needed to {purpose}\n{otherwise}")))
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

/// Once in the life of this process.
pub(crate) fn refresh_lists() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = apt_get().and_then(|mut update| run(update.args(["--quiet", "update"])));
        // One broken source among several must not stop us: the installation tells whether it mattered.
        if let Err(error) = &result {
            say(format_args!("going on without fresh package lists: {error}"));
            result = Ok(());
        }
    });
    result
}

fn apt_get() -> Result<Command> {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else if find_program("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["--", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        bail!("installing packages takes root and there is no sudo: run this command as root once");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["--quiet", "--option", "Dpkg::Use-Pty=0"]);
    Ok(command)
}

/// nginx's package starts a web server of the whole host; the lab only wants the program.
struct ServiceGuard {
    systemctl: bool,
}

impl ServiceGuard {
    fn before_installing(packages: &[&str]) -> Self {
        let systemctl = packages.iter().any(|name| name.starts_with("nginx"))
            && std::path::Path::new("/run/systemd/system").exists();
        let guard = Self { systemctl };
        guard.systemctl(&["mask", "--runtime", "nginx.service"]);
        guard
    }

    fn systemctl(&self, arguments: &[&str]) {
        if !self.systemctl {
            return;
        }
        let mut command = if is_root() { Command::new("systemctl") } else { Command::new("sudo") };
        if !is_root() {
            command.arg("systemctl");
        }
        // Best effort: without it a web server more runs, which the user sees and can stop.
        if let Err(error) = run(command.args(arguments)) {
            say(error);
        }
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        self.systemctl(&["unmask", "--runtime", "nginx.service"]);
        self.systemctl(&["disable", "nginx.service"]);
    }
}
