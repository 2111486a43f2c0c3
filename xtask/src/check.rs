//! Formatting, lints of host and kernel crates apart, and the rules of the house.

use std::process::Stdio;

use anyhow::Result;

use crate::command::{run, say};
use crate::toolchain::Toolchain;
use crate::workspace::{host_cargo, plain, root, target_dir};
use crate::{apt, setup, tidy};

pub(crate) fn main() -> Result<()> {
    setup::lints()?;
    // Cheapest first: most mistakes show within seconds.
    tidy::main()?;
    run(host_cargo().args(["fmt", "--all", "--check"]))?;
    exposure()?;
    let kernel = root().join("agent-ebpf/Cargo.toml");
    run(host_cargo().args(["fmt", "--check", "--manifest-path"]).arg(&kernel))?;
    let warnings = ["--", "--deny", "warnings"];
    // Never everything in one go: the features of one selection leak into the crates that the others share.
    run(host_cargo()
        .args(["clippy", "--locked", "--package", "portcullis", "--no-default-features", "--all-targets"])
        .args(warnings))?;
    run(host_cargo()
        .args(["clippy", "--locked", "--package", "agent-common", "--all-targets"])
        .args(warnings))?;
    // The tests that take root are no part of `--all-targets`: `cargo test` leaves them out.
    run(host_cargo()
        .args(["clippy", "--locked", "--workspace", "--all-targets", "--test", "it"])
        .args(warnings))?;
    kernel_clippy(&setup::kernel_toolchain()?)?;
    say("check is clean");
    Ok(())
}

/// Highest score of `systemd-analyze security`, times ten, that each unit may have.
const EXPOSURE: [(&str, u8); 2] = [("portcullis.service", 20), ("portcullis-signer.service", 5)];

/// Fails when a unit leaves its service more rights than it needs, as systemd judges it.
fn exposure() -> Result<()> {
    apt::ensure(&["systemd"], "judge the unit's rights", "Remedy: install systemd-analyze by hand.")?;
    for (unit, most) in EXPOSURE {
        run(plain("systemd-analyze")
            .args(["security", "--no-pager", "--offline=yes", &format!("--threshold={most}")])
            .arg(root().join("packaging").join(unit))
            .stdout(Stdio::null()))?;
    }
    Ok(())
}

fn kernel_clippy(toolchain: &Toolchain) -> Result<()> {
    let directory = target_dir()?.join("ebpf/clippy");
    match toolchain.clippy("") {
        Some(command) => {
            run(command?.args(["--locked", "--target-dir"]).arg(directory).args(["--", "--deny", "warnings"]))
        }
        None => {
            say(format_args!("no clippy beside {}: the compiler's own warnings have to do", toolchain.name));
            run(toolchain.cargo("check", "-Dwarnings")?.args(["--locked", "--target-dir"]).arg(directory))
        }
    }
}
