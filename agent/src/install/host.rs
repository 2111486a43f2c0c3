//! The steps around the files on a running system: user, service, kernel state, and their end.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{InstallError, PROGRAM};

/// The units of the agent and of its signer, and the user that the agent runs as.
const UNIT: &str = "portcullis.service";
const SIGNER: [&str; 2] = ["portcullis-signer.socket", "portcullis-signer.service"];
const USER: &str = "portcullis";
/// There while systemd is the first process (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
/// How package managers are asked whether they installed it; the answer is `installed`.
const PACKAGE_QUERIES: [(&str, &[&str]); 2] = [
    ("dpkg-query", &["--show", "--showformat", "${db:Status-Status}", "portcullis"]),
    ("rpm", &["--query", "--queryformat", "installed", "portcullis"]),
];

/// What to remove beyond the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Configuration, activity log and authority stay.
    Program,
    Everything,
}

/// Whether this may install and remove here.
pub fn permitted() -> Result<(), InstallError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(InstallError::NotRoot);
    }
    let owned = PACKAGE_QUERIES.iter().any(|(program, arguments)| {
        let output = Command::new(program).args(*arguments).stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"installed"))
    });
    if owned {
        return Err(InstallError::Packaged(PROGRAM));
    }
    Ok(())
}

/// After the files are there: makes user and directories. Says what was done, or what failed.
pub fn set_up() -> Vec<Result<String, String>> {
    vec![
        step("systemd-sysusers", &["portcullis.conf"], "made the user portcullis"),
        step("systemd-tmpfiles", &["--create", "portcullis.conf"], "made the directories"),
    ]
}

/// Starts the service, now and at every boot, where systemd runs.
pub fn start() -> Vec<Result<String, String>> {
    if !Path::new(SYSTEMD).exists() {
        return vec![Ok("systemd does not run here: `portcullis run` starts the agent".to_owned())];
    }
    vec![
        step("systemctl", &["daemon-reload"], "systemd has read the unit"),
        step("systemctl", &["enable", "--now", SIGNER[0], UNIT], "enabled and started the service"),
    ]
}

/// Before the files go: ends the service.
pub fn stop() -> Vec<Result<String, String>> {
    if !Path::new(SYSTEMD).exists() {
        return Vec::new();
    }
    let [socket, service] = SIGNER;
    vec![step("systemctl", &["disable", "--now", UNIT, socket, service], "stopped and disabled the service")]
}

/// After the files are gone.
pub fn remove(state: &Path, run: &Path, removal: Removal) -> Vec<Result<String, String>> {
    let mut said = Vec::new();
    if Path::new(SYSTEMD).exists() {
        said.push(step("systemctl", &["daemon-reload"], "systemd has forgotten the unit"));
    }
    said.extend(close_bpf());
    said.extend(directory(run));
    if removal == Removal::Everything {
        said.extend(directory(state));
        said.extend(directory(Path::new("/etc/portcullis")));
        let there = fs::read_to_string("/etc/passwd")
            .is_ok_and(|users| users.lines().any(|line| line.starts_with("portcullis:")));
        if there {
            said.push(step("userdel", &[USER], "removed the user portcullis"));
        }
    }
    said
}

/// Takes back what the unit did to the directory above the pins: passing through for the agent's group.
fn close_bpf() -> Option<Result<String, String>> {
    let path = Path::new("/sys/fs/bpf");
    let group = nix::unistd::Group::from_name(USER).ok().flatten()?;
    let about = fs::metadata(path).ok().filter(|about| about.gid() == group.gid.as_raw())?;
    let closed = fs::Permissions::from_mode(about.permissions().mode() & 0o7767);
    let done = fs::set_permissions(path, closed).and_then(|()| std::os::unix::fs::chown(path, None, Some(0)));
    Some(match done {
        Ok(()) => Ok(format!("closed {} to the group {USER}", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    })
}

fn directory(path: &Path) -> Option<Result<String, String>> {
    match fs::remove_dir_all(path) {
        Ok(()) => Some(Ok(format!("removed {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("{}: {error}", path.display()))),
    }
}

fn step(program: &str, arguments: &[&str], done: &str) -> Result<String, String> {
    let shown = || [&[program], arguments].concat().join(" ");
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{}`: {error}", shown()))?;
    if output.status.success() {
        return Ok(done.to_owned());
    }
    Err(format!("`{}`: {}", shown(), String::from_utf8_lossy(&output.stderr).trim()))
}
