//! Peers that no package of the system brings: mitmproxy from PyPI, hudsucker from crates.io. Both end up below `target`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{run, say};
use crate::workspace::{host_cargo, root, target_dir};

/// The newest that the system's Python takes; the page of figures names the one that was measured.
const MITMPROXY: &str = "mitmproxy>=10";

/// mitmproxy's command, in an environment of its own that is kept.
pub(super) fn mitmdump() -> Result<PathBuf> {
    let environment = target_dir()?.join("bench/mitmproxy");
    let program = environment.join("bin/mitmdump");
    if !program.exists() {
        say("installing mitmproxy with pip");
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        run(Command::new(environment.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            MITMPROXY,
        ]))
        .context("mitmproxy could not be installed. Remedy: leave it out with --only")?;
    }
    Ok(program)
}

/// The program in `benches/peers/hudsucker`.
pub(super) fn hudsucker() -> Result<PathBuf> {
    let directory = target_dir()?.join("bench/hudsucker");
    run(host_cargo()
        .args(["build", "--locked", "--release", "--manifest-path"])
        .arg(root().join("benches/peers/hudsucker/Cargo.toml"))
        .arg("--target-dir")
        .arg(&directory))?;
    Ok(directory.join("release/peers-hudsucker"))
}
