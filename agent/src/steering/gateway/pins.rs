//! Links that outlive a gateway's agent, for `fail = "closed"`: each agent pins its own in a directory of its own, and
//! removes those of an earlier one once it serves.
//!
//! Nothing is taken over: the earlier programs go on refusing until the new ones, which run behind them on the same
//! interfaces and have the last word, do their work. Then they go with their maps.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_common::abi::Heartbeat;
use anyhow::{Context, Result, bail};
use aya::maps::MapData;

use crate::steering::heart::{Heart, now_ns};
use crate::steering::namespace;

/// What the directories' names begin with. No cgroup's name is written so (bpffs takes no dots).
const PREFIX: &str = "_gateway";
/// The map of heartbeats, beside the links.
const HEARTBEAT: &str = "heartbeat";
/// Directories of killed agents that are looked for.
const LEFTOVERS: usize = 1024;

#[derive(Debug)]
pub(super) struct Pins {
    base: PathBuf,
    own: PathBuf,
    earlier: Vec<PathBuf>,
}

impl Pins {
    /// Makes this agent's directory below `base`, which must be on a BPF file system.
    pub(super) fn claim(base: &Path) -> Result<Self> {
        let earlier = leftovers(base).with_context(|| format!("looking into {}", base.display()))?;
        // Process ids come again, in a container at once; an earlier agent's directory is not this one's.
        let own = base.join(format!("{}{}_{:x}", prefix()?, std::process::id(), now_ns()));
        for directory in [base, &own] {
            private(directory).with_context(|| {
                format!("making the directory {} (is a BPF file system mounted there?)", directory.display())
            })?;
        }
        let about = fs::metadata(base)?;
        if about.uid() != nix::unistd::geteuid().as_raw() || about.permissions().mode() & 0o077 != 0 {
            bail!("{} is open to others: remove it, or name another directory", base.display());
        }
        Ok(Self { base: base.to_owned(), own, earlier })
    }

    /// Whether an earlier agent's links are still at work.
    pub(super) fn has_earlier(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// The last heartbeat of the earlier agents: when the last of them died.
    pub(super) fn last_heartbeat(&self) -> Option<Heartbeat> {
        let of = |directory: &PathBuf| {
            let map = MapData::from_pin(directory.join(HEARTBEAT)).ok()?;
            Heart::new(map).ok()?.last()
        };
        self.earlier.iter().filter_map(of).max_by_key(|last| last.unix_ms)
    }

    /// Keeps the heartbeat as long as the links: the next agent learns from it since when there was none.
    pub(super) fn keep_heartbeat(&self, map: &MapData) -> Result<()> {
        let path = self.own.join(HEARTBEAT);
        map.pin(&path).with_context(|| format!("pinning {}", path.display()))
    }

    /// Where this agent's links are.
    pub(super) fn directory(&self) -> &Path {
        &self.own
    }

    /// Where a program's link on an interface is pinned.
    pub(super) fn path(&self, index: u32, program: &str) -> PathBuf {
        self.own.join(format!("{program}_{index}"))
    }

    /// The earlier agent's links, programs and maps go.
    pub(super) fn remove_earlier(&mut self) -> Result<()> {
        for directory in self.earlier.drain(..) {
            tracing::warn!("the earlier agent did not stop in order: removing {}", directory.display());
            fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))?;
        }
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.own) {
            tracing::warn!("removing {}: {error}", self.own.display());
        }
        // Others may have theirs in it; under systemd it is a mount point.
        let _ = fs::remove_dir(&self.base);
    }
}

/// Removes what killed agents of this network namespace left below `base`.
pub(super) fn remove(base: &Path) -> io::Result<bool> {
    let found = leftovers(base)?;
    for directory in &found {
        fs::remove_dir_all(directory)?;
    }
    let _ = fs::remove_dir(base);
    Ok(!found.is_empty())
}

fn leftovers(base: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = prefix()?;
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    Ok(ours.take(LEFTOVERS).map(|entry| entry.path()).collect())
}

/// The same for all agents of one network namespace.
fn prefix() -> io::Result<String> {
    Ok(format!("{PREFIX}{}_", namespace::own_cookie()?))
}

fn private(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
