//! Profile-guided optimisation of the agent: the kept profile that release builds of it use, and how it is made anew.
//!
//! The compiler lays code out, and inlines, by how often each branch was taken when real programs talked through the
//! agent. A profile names functions by hashes in which take part the compiler, its target, the settings of the build, and
//! version and features of the package and of all that it depends on: to any other it says nothing.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context as _, Result, ensure};

use crate::bench::train;
use crate::build::{OBJECT_VARIABLE, kernel_object};
use crate::command::{read, run, say};
use crate::workspace::{find_program, host_cargo, is_root, plain, root, target_dir};
use crate::{setup, test};

/// The profile, and beside it what made it.
const PROFILE: &str = "agent/profile/portcullis.profdata";
const MADE_BY: &str = "agent/profile/made-by.txt";

/// Where an agent that counts leaves its counts, where the user has it so.
const COUNTS_VARIABLE: &str = "LLVM_PROFILE_FILE";

/// What settings of release builds in the environment begin with.
const SETTINGS: &str = "CARGO_PROFILE_RELEASE_";

/// Where the user's own flags would stand, which take the place of all others.
const FLAG_VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Has `cargo` build by the kept profile; says why where it cannot.
pub(crate) fn apply(cargo: &mut Command) -> Result<()> {
    if let Some(why) = why_not()? {
        say(format_args!("the agent is built without the kept profile: {why}"));
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

/// Why the agent is built without the kept profile, if it is.
pub(crate) fn why_not() -> Result<Option<String>> {
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|flags| !flags.is_empty());
    if let Some(name) = FLAG_VARIABLES.iter().find(is_set) {
        return Ok(Some(format!("{name} is set")));
    }
    if let Some((name, _)) =
        std::env::vars_os().find(|(name, _)| name.to_string_lossy().starts_with(SETTINGS))
    {
        return Ok(Some(format!("{} is set", name.to_string_lossy())));
    }
    let path = root().join(MADE_BY);
    let kept = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        kept => kept.with_context(|| path.display().to_string())?,
    };
    Ok(difference(&kept, &builder()?).map(|difference| {
        format!(
            "{MADE_BY} {difference}; without it the agent is slower by about a tenth, and `cargo xtask profile` makes one of \
             what is here"
        )
    }))
}

/// A line that only one of them has.
fn difference(kept: &str, builder: &str) -> Option<String> {
    let only = |one: &str, other: &str| {
        let other: HashSet<&str> = other.lines().collect();
        one.lines().find(|line| !other.contains(line)).map(str::to_owned)
    };
    let missing = only(builder, kept).map(|line| format!("lacks `{line}`"));
    missing.or_else(|| only(kept, builder).map(|line| format!("has `{line}`, which is not here")))
}

/// Makes the profile anew: an agent that counts, the works of `bench peers` for what is done most, and the netns tests
/// for all else, as branches that were never seen in what was are laid far away. Agents that are killed, those of other users
/// than root and the signer leave no counts, and are built as without a profile.
pub(crate) fn main() -> Result<()> {
    ensure!(is_root(), "the agent is trained between real programs in network namespaces: run it with sudo");
    ensure!(
        std::env::var_os(COUNTS_VARIABLE).is_none(),
        "{COUNTS_VARIABLE} leads the counts elsewhere: unset it"
    );
    let merger = merger()?;
    setup::lab()?;
    let made_of = builder()?;
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
    fs::write(&made_by, made_of).with_context(|| made_by.display().to_string())?;
    say(format_args!("wrote {} and {}", profile.display(), made_by.display()));
    Ok(())
}

/// What takes part in the names of functions, a line each.
fn builder() -> Result<String> {
    let tree = read(
        host_cargo()
            .args(["tree", "--locked", "--package", "portcullis", "--edges", "normal,build"])
            .args(["--prefix", "none", "--format", "{p} {f}"]),
    )?;
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let compiler = read(Command::new(rustc()).arg("-vV"))?;
    Ok(format!("{compiler}{}{}{}", version(), release_profile(&manifest), packages(&tree)))
}

/// The settings of release builds.
fn release_profile(manifest: &str) -> String {
    let section = manifest.lines().skip_while(|line| line.trim() != "[profile.release]").skip(1);
    let settings = section.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty());
    settings.map(|line| format!("profile: {}\n", line.trim())).collect()
}

/// The packages that `cargo tree` names, once each, and without where they are.
fn packages(tree: &str) -> String {
    let mut packages: Vec<String> = tree
        .lines()
        .map(|line| {
            let line = line.strip_suffix(" (*)").unwrap_or(line);
            let path = line.find(" (/").zip(line.rfind(')'));
            let (package, features) = path.map_or((line, ""), |(from, to)| (&line[..from], &line[to + 1..]));
            format!("{package}{features}").trim_end().to_owned() + "\n"
        })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages.concat()
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

/// Flags of the compiler, behind those that the user's configuration has for the target and in the place of those that it has
/// for all builds.
fn flags(cargo: &mut Command, flags: &[String]) -> Result<()> {
    let list = serde_json::to_string(flags)?;
    // Even an empty one takes their place.
    FLAG_VARIABLES.iter().for_each(|name| {
        cargo.env_remove(name);
    });
    cargo.args(["--config", &format!("target.'cfg(all())'.rustflags={list}")]);
    Ok(())
}

/// A directory with nothing in it.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())
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
        let libraries = read(Command::new(&rustc).args(["--print", "target-libdir"]))?;
        let path = Path::new(libraries.trim()).with_file_name("bin").join("llvm-profdata");
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

    /// A release that was built by none would be slower. New dependencies alone may wait for the next profile.
    #[test]
    fn the_kept_profile_is_of_this_version() {
        let made_by = fs::read_to_string(root().join(MADE_BY)).unwrap();
        assert!(made_by.contains(&version()), "`cargo xtask profile` makes it anew: {made_by}");
        let profile = fs::read(root().join(PROFILE)).unwrap();
        assert!(profile.starts_with(b"\xfflprofi\x81"), "an indexed profile of LLVM");
    }

    #[test]
    fn a_path_is_no_part_of_a_package_and_what_differs_is_named() {
        let tree = "portcullis v0.1.0 (/home/me/it's here/agent) daemon,default\nsyn v2.0.1 (proc-macro) full\nsyn v2.0.1 (proc-macro) full (*)\nlibc v0.2.1 \n";
        let here = packages(tree);
        assert_eq!(here, "libc v0.2.1\nportcullis v0.1.0 daemon,default\nsyn v2.0.1 (proc-macro) full\n");
        assert_eq!(difference(&here, &here), None);
        let other = here.replace("libc v0.2.1", "libc v0.2.2");
        assert_eq!(difference(&here, &other).unwrap(), "lacks `libc v0.2.2`");
        let less = here.replace("libc v0.2.1\n", "");
        assert_eq!(difference(&here, &less).unwrap(), "has `libc v0.2.1`, which is not here");
        assert_eq!(difference("", &here).unwrap(), "lacks `libc v0.2.1`");
        let manifest = "[profile.dev]\nlto = false\n[profile.release]\nlto = \"fat\"\n\n[x]\ny = 1\n";
        assert_eq!(release_profile(manifest), "profile: lto = \"fat\"\n");
    }
}
