//! Runs a program of the host and takes its output, for checks that no file answers.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Output beyond this is not read: a rule set or a list of packages is far smaller.
const MAX_OUTPUT: u64 = 16 << 20;
/// Where the host's programs are. Not PATH: the agent runs with privileges.
const DIRECTORIES: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// The program, where the host has it.
pub(super) fn find(root: &Path, name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| root.join(directory).join(name)).find(|path| path.is_file())
}

/// What the program printed, or why there is nothing. Killed when the caller stops waiting.
pub(super) async fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let name = program.display();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(MAX_OUTPUT).read_to_end(&mut printed).await;
        read.map_err(|error| format!("the output of {name} cannot be read: {error}"))?;
    }
    let status = child.wait().await.map_err(|error| format!("{name}: {error}"))?;
    if !status.success() {
        return Err(format!("{name} ended with {status}"));
    }
    Ok(String::from_utf8_lossy(&printed).into_owned())
}
