//! Packages: a tree laid out by `portcullis install --root`, wrapped for dpkg and for rpm, and tried in systems of
//! their own.

mod deb;
mod rpm;
mod rpm_trial;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use lab::agent::BINARY_VARIABLE;

use crate::command::{read, run, say};
use crate::workspace::{plain, root, target_dir};
use crate::{build, profile};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install, upgrade and remove the .rpm in a root of its own and the .deb in a booted Debian of its own, and compare
    /// what is there before and after (root)
    #[arg(long)]
    test: bool,
}

/// What both kinds of package say of themselves.
const SUMMARY: &str = "session controls for cloud apps, enforced on the host";
const DESCRIPTION: &str = "\
Steers connections to the cloud apps that a policy selects to an agent on
the host, which recognises downloads and other activities, blocks or lets
pass by policies that read like Entra Conditional Access policies, and
records what happened. What no policy selects is left alone.";

/// A package as it is made from this checkout.
struct Package {
    version: String,
    directory: PathBuf,
    agent: PathBuf,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let agent = match std::env::var_os(BINARY_VARIABLE) {
        Some(path) => path.into(),
        None => build::agent()?,
    };
    let directory = target_dir()?.join("package");
    fs::create_dir_all(&directory)?;
    let package = Package { version: version(&agent)?, directory, agent };
    let deb = deb::build(&package, &format!("{}-1", package.version))?;
    deb::lint(&deb)?;
    say(format_args!("made {}", deb.display()));
    let rpm = rpm::build(&package, 1)?;
    say(format_args!("made {}", rpm.display()));
    if arguments.test {
        rpm_trial::run(&package, &rpm)?;
        trial::run(&package, &deb)?;
    }
    // Said at the end as well, where it is seen.
    if std::env::var_os(BINARY_VARIABLE).is_none()
        && let Some(why) = profile::why_not()?
    {
        say(format_args!("what they carry was built without the kept profile: {why}"));
    }
    Ok(())
}

/// As the program says it itself, so that a package never carries another one than it claims.
fn version(agent: &Path) -> Result<String> {
    let text = read(plain(agent).arg("--version"))?;
    let version = text.split_whitespace().nth(1).context("the agent does not tell its version")?;
    Ok(version.to_owned())
}

impl Package {
    /// The tree of an installation, made anew, with the program stripped.
    fn tree(&self, kind: &str) -> Result<PathBuf> {
        let tree = self.directory.join(kind);
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
        }
        run(plain(&self.agent).args(["install", "--root"]).arg(&tree))?;
        run(plain("strip").arg("--strip-unneeded").arg(tree.join("usr/bin/portcullis")))?;
        Ok(tree)
    }

    fn packaging(&self, file: &str) -> PathBuf {
        root().join("packaging").join(file)
    }
}

/// Every regular file below a directory, relative to it, in order.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).with_context(|| path.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(directory)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
