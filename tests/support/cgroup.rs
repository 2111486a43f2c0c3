//! A cgroup (version 2) with its sub-groups, emptied and removed on drop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Owner of one directory below the cgroup root.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub(crate) fn create(name: &str) -> Result<Self> {
        let path = root()?.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A group below this one; it goes when this one goes.
    pub(crate) fn child(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Where version 2 is mounted: the only hierarchy on new systems, `…/unified` on hybrid ones.
pub fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .find(|(_, kind)| *kind == "cgroup2")
        .map(|(path, _)| PathBuf::from(path))
        .context("no cgroup version 2 is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
}

/// Kills whatever runs in the group and removes it with its sub-groups.
pub(crate) fn remove(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while path.exists() {
        // Kills the whole subtree, also what forks meanwhile (Linux 5.14).
        let _ = fs::write(path.join("cgroup.kill"), "1");
        for child in fs::read_dir(path).into_iter().flatten().flatten() {
            if child.path().is_dir() {
                let _ = fs::remove_dir(child.path());
            }
        }
        match fs::remove_dir(path) {
            Ok(()) => return,
            Err(error) if Instant::now() > deadline => {
                eprintln!("lab: cannot remove the cgroup {}: {error}", path.display());
                return;
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
