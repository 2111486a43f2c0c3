//! Profile-guided optimisation of the agent: the kept profile that release builds of it use, and how it is made anew.
//!
//! The compiler lays code out, and inlines, by how often each branch was taken when real programs talked through the
//! agent. A profile names functions by hashes in which compiler, target and version of the package take part, so it
//! says nothing to another compiler; functions that have changed since are built as without one.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::train;
use crate::build::{OBJECT_VARIABLE, kernel_object};
use crate::command::{read, run, say};
use crate::workspace::{find_program, host_cargo, is_root, plain, root, target_dir};
use crate::{setup, test};

/// The profile, and beside it what made it.
const PROFILE: &str = "agent/profile/portcullis.profdata";
const MADE_BY: &str = "agent/profile/made-by.txt";

/// Where the user's own flags would stand, which take the place of all others.
const FLAG_VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Has `cargo` build by the kept profile; says why where it cannot.
pub(crate) fn apply(cargo: &mut Command) -> Result<()> {
    if let Some(name) =
        FLAG_VARIABLES.iter().find(|name| std::env::var_os(name).is_some_and(|flags| !flags.is_empty()))
    {
        say(format_args!("{name} is set: the agent is built by that, and without the kept profile"));
        return Ok(());
    }
    let kept = fs::read_to_string(root().join(MADE_BY)).unwrap_or_default();
    if kept != builder()? {
        say(format_args!(
            "{MADE_BY} does not name this compiler and version: the agent is built without a profile, and is slower by about a \
             tenth (`cargo xtask profile` makes one)"
        ));
        return Ok(());
    }
    let profile = root().join(PROFILE);
    ensure!(profile.is_file(), "{} is missing: `cargo xtask profile` makes it", profile.display());
    // What has changed since is no news.
    flags(
        cargo,
        &[format!("-Cprofile-use={}", profile.display()), "-Cllvm-args=-no-pgo-warn-mismatch".to_owned()],
    )
}

/// Makes the profile anew: an agent that counts, the works of `bench peers` for what is done most, and the netns tests
/// for all else, as what a profile has never seen is built to be small.
pub(crate) fn main() -> Result<()> {
    ensure!(is_root(), "the agent is trained between real programs in network namespaces: run it with sudo");
    let merger = merger()?;
    setup::lab()?;
    let directory = target_dir()?.join("profile");
    let raw = directory.join("raw");
    let agent = counting(&directory, &raw)?;
    // Programs of the build counted as well.
    empty(&raw)?;
    train(&agent)?;
    test::suite(&agent, None)?;
    let counted = raw_profiles(&raw)?;
    let profile = root().join(PROFILE);
    run(plain(merger).args(["merge", "--sparse", "--output"]).arg(&profile).args(counted))?;
    let made_by = root().join(MADE_BY);
    fs::write(&made_by, builder()?).with_context(|| made_by.display().to_string())?;
    say(format_args!("wrote {} and {}", profile.display(), made_by.display()));
    Ok(())
}

/// What takes part in the names of functions: compiler, its target, and the version of the package.
fn builder() -> Result<String> {
    Ok(format!("{}{}", read(Command::new(rustc()).arg("-vV"))?, version()))
}

/// The packages of the workspace have one version.
fn version() -> String {
    format!("portcullis: {}\n", env!("CARGO_PKG_VERSION"))
}

/// The compiler that cargo runs.
fn rustc() -> OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// The agent, built to count how often each of its branches is taken.
fn counting(directory: &Path, raw: &Path) -> Result<PathBuf> {
    let object = kernel_object()?;
    let target = directory.join("build");
    let mut cargo = host_cargo();
    cargo.args(["build", "--locked", "--release", "--package", "portcullis", "--target-dir"]).arg(&target);
    // No `--target`: by that other names of functions come out, and the agent is built without.
    flags(&mut cargo, &[format!("-Cprofile-generate={}", raw.display())])?;
    run(cargo.env(OBJECT_VARIABLE, object))?;
    Ok(target.join("release/portcullis"))
}

/// Flags of the compiler, behind those that the user's configuration has for the target.
fn flags(cargo: &mut Command, flags: &[String]) -> Result<()> {
    let list = serde_json::to_string(flags)?;
    // Even an empty one takes their place.
    FLAG_VARIABLES.iter().for_each(|name| {
        cargo.env_remove(name);
    });
    cargo.args(["--config", &format!("target.'cfg(all())'.rustflags={list}")]);
    Ok(())
}

/// A directory that agents of all users write to.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    Ok(fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))?)
}

fn raw_profiles(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        found.push(entry?.path());
    }
    ensure!(!found.is_empty(), "the agents left no counts in {}", directory.display());
    Ok(found)
}

/// The program that makes one profile of many, of the compiler's own LLVM.
fn merger() -> Result<PathBuf> {
    let rustc = rustc();
    let find = || -> Result<Option<PathBuf>> {
        let sysroot = read(Command::new(&rustc).args(["--print", "target-libdir"]))?;
        let path = Path::new(sysroot.trim()).with_file_name("bin").join("llvm-profdata");
        Ok(path.is_file().then_some(path))
    };
    if let Some(found) = find()? {
        return Ok(found);
    }
    if find_program("rustup").is_some() {
        run(Command::new("rustup").args(["component", "add", "llvm-tools"]))?;
    }
    find()?.context("the compiler comes without llvm-profdata: `rustup component add llvm-tools`")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A release that was built by none would be slower, and nothing else would show it.
    #[test]
    fn the_kept_profile_is_of_this_version() {
        let made_by = fs::read_to_string(root().join(MADE_BY)).unwrap();
        assert!(made_by.ends_with(&version()), "`cargo xtask profile` makes it anew: {made_by}");
        let profile = fs::read(root().join(PROFILE)).unwrap();
        assert!(profile.starts_with(b"\xfflprofi\x81"), "an indexed profile of LLVM");
    }
}
