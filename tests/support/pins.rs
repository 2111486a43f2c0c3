//! A BPF file system for one lab, where its agent pins what the kernel keeps; emptied and unmounted on drop.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{must, tool};

/// Name of the mount point in the lab's directory.
const NAME: &str = "bpf";

/// Owner of the mount.
#[derive(Debug)]
pub(crate) struct Pins {
    path: PathBuf,
}

impl Pins {
    pub(crate) fn mount(files: &Path) -> Result<Self> {
        let path = files.join(NAME);
        fs::create_dir(&path)?;
        must(tool("mount").args(["-t", "bpf", "-o", "mode=0700", "bpf"]).arg(&path))
            .context("cannot mount a BPF file system")?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Empties and unmounts what a killed run left in the lab's directory `files`.
pub(crate) fn sweep(files: &Path) {
    let path = files.join(NAME);
    if path.exists() {
        remove(&path);
    }
}

/// Everything pinned goes first: processes of other labs may still hold a copy of the mount.
fn remove(path: &Path) {
    // Files at the top are the kernel's own (maps.debug, progs.debug) and go with the mount.
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            eprintln!("lab: cannot remove {}: {error}", entry.path().display());
        }
    }
    if let Err(error) = must(tool("umount").arg("-l").arg(path)) {
        eprintln!("lab: {error:#}");
    }
}

/// Overwrites the first entry of a pinned array.
pub fn overwrite(map: &Path, value: &[u8]) -> Result<()> {
    let value: Vec<String> = value.iter().map(u8::to_string).collect();
    must(
        tool("bpftool")
            .args(["map", "update", "pinned"])
            .arg(map)
            .args("key 0 0 0 0 value".split(' '))
            .args(value),
    )
    .context("package bpftool")?;
    Ok(())
}

/// Every pinned object below a directory.
pub fn pinned(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pinned(&path));
        } else {
            found.push(path);
        }
    }
    found
}
