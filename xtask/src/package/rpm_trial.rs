//! The .rpm in a root of its own that rpm's real database is made in: installed with its scripts, verified, upgraded, erased.
//!
//! The root is the tree that the .deb is tried in, under an overlay: no registry of Red Hat's or SUSE's packages is needed. systemd
//! does not run in it; the scripts then leave the service alone, as they do while an image is made.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Package, rpm, trial};
use crate::command::say;
use crate::workspace::{is_root, plain};

const SCRIPT: &str = include_str!("rpm_trial.sh");

/// Fails when a check did.
pub(super) fn run(package: &Package, first: &Path) -> Result<()> {
    ensure!(is_root(), "the trial takes root (mounts, chroot): run `cargo xtask package --test` as root");
    let second = rpm::build(package, 2)?;
    let system = trial::system(package)?;
    let scratch = package.directory.join("rpm-trial");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let script = scratch.join("rpm_trial.sh");
    fs::write(&script, SCRIPT)?;
    say(format_args!("installing {} into a root of its own", first.display()));
    // Its mounts end with it, and the rules and routes that a removal takes away are not this machine's.
    let output = plain("unshare")
        .args(["--mount", "--net", "--ipc", "bash"])
        .args([&script, &system, &scratch])
        .args([first, &second])
        .output()
        .context("cannot run unshare")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("trial: FAIL") {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    trial::judge("the .rpm", text.lines(), SCRIPT)
}
