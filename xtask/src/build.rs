//! Builds the kernel object, then the agent that carries it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{run, say};
use crate::toolchain::BPF_TARGET;
use crate::workspace::{agent_binary, host_cargo, target_dir};
use crate::{profile, setup};

/// Tells agent/build.rs which kernel object to embed.
pub(crate) const OBJECT_VARIABLE: &str = "PORTCULLIS_EBPF_OBJECT";

pub(crate) fn main() -> Result<()> {
    let binary = agent()?;
    say(format_args!("built {}", binary.display()));
    Ok(())
}

/// Both, in the release profile, by what the agent was seen to do most. Returns the agent's binary.
pub(crate) fn agent() -> Result<PathBuf> {
    let object = kernel_object()?;
    let mut cargo = host_cargo();
    cargo.args(["build", "--locked", "--release", "--package", "portcullis"]);
    profile::apply(&mut cargo)?;
    run(cargo.env(OBJECT_VARIABLE, &object))?;
    agent_binary()
}

/// The kernel programs, as one ELF object with BTF.
pub(crate) fn kernel_object() -> Result<PathBuf> {
    let toolchain = setup::kernel_toolchain()?;
    let directory = target_dir()?.join("ebpf");
    run(toolchain
        .cargo("build", "")?
        .args(["--locked", "--bin", "portcullis", "--target-dir"])
        .arg(directory.join("build")))?;
    let built = directory.join("build").join(BPF_TARGET).join("release/portcullis");
    let object = directory.join("portcullis.o");
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// Leaves an equal file alone, so that its time does not make the agent build again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("the build left no {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
