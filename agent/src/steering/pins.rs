//! The pin directory of one cgroup: what the kernel keeps there between two agents, whether it can be taken over, and
//! its removal.
//!
//! `[paths] pins`/CGROUP/vABI holds every map and link under its own name. The lock on the directory CGROUP belongs to the
//! agent that runs. Directories beside vABI are left-overs of other versions, or of damaged state.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_common::abi::ABI_VERSION;
use anyhow::{Context, Result, ensure};
use aya::maps::MapInfo;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::load;
use crate::lock::{Lock, LockError};

/// Longest name of a directory for a cgroup; longer paths are cut and told apart by a hash.
const NAME_MAX: usize = 200;
/// Names tried for setting damaged state aside.
const ASIDE_MAX: u32 = 1000;

/// Why there are no pins.
#[derive(Debug, thiserror::Error)]
pub enum PinFault {
    #[error(
        "{} is not on a BPF file system: mount one (`mount -t bpf bpf /sys/fs/bpf`), or name a directory on one in \
         [paths] pins", .0.display()
    )]
    NoFileSystem(PathBuf),
    #[error("{} belongs to another user: remove it, or name another directory in [paths] pins", .0.display())]
    Foreign(PathBuf),
    #[error(transparent)]
    Locked(#[from] LockError),
    #[error("the pin directory {}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

/// The pin directory, locked by this process.
#[derive(Debug)]
pub(super) struct Pins {
    base: PathBuf,
    instance: PathBuf,
    current: PathBuf,
    adopted: bool,
    /// Whether what is pinned stays when this is dropped.
    keep: bool,
    _lock: Lock,
}

/// Whether pins can be made below this directory.
pub fn check_base(base: &Path) -> Result<(), PinFault> {
    let there = base.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statfs(there) {
        Ok(about) if about.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        _ => Err(PinFault::NoFileSystem(base.to_owned())),
    }
}

/// Where the pins of a cgroup are.
pub fn instance(base: &Path, cgroup: &Path) -> PathBuf {
    base.join(name_of(cgroup, super::cgroup2_root().ok().as_deref()))
}

impl Pins {
    /// Locks the directory of a cgroup and looks at what is in it.
    pub(super) fn claim(base: &Path, cgroup: &Path) -> Result<Self, PinFault> {
        check_base(base)?;
        let instance = instance(base, cgroup);
        let lock = Lock::directory(&instance, || {
            private(base)?;
            private(&instance)
        })?;
        for path in [base, &instance] {
            let about = fs::metadata(path).map_err(|error| PinFault::Io(path.to_owned(), error))?;
            if about.uid() != nix::unistd::geteuid().as_raw() || about.permissions().mode() & 0o077 != 0 {
                return Err(PinFault::Foreign(path.to_owned()));
            }
        }
        let current = instance.join(format!("v{ABI_VERSION}"));
        // Kept until it is known that there is nothing to keep.
        let mut pins =
            Self { base: base.to_owned(), instance, current, adopted: false, keep: true, _lock: lock };
        let others = fs::read_dir(&pins.instance).is_ok_and(|mut entries| entries.next().is_some());
        pins.adopted = pins.look().map_err(|error| PinFault::Io(pins.current.clone(), error))?;
        pins.keep = others;
        Ok(pins)
    }

    /// Whether the state of this version can be taken over. What cannot is set aside; its links keep working there.
    fn look(&self) -> io::Result<bool> {
        if !self.current.exists() {
            private(&self.current)?;
            return Ok(false);
        }
        match intact(&self.current) {
            Ok(()) => Ok(true),
            Err(fault) => {
                tracing::warn!(
                    "the state pinned in {} cannot be taken over and is replaced: {fault:#}",
                    self.current.display()
                );
                let aside = (0..ASIDE_MAX)
                    .map(|number| self.instance.join(format!("aside-{number}")))
                    .find(|path| !path.exists())
                    .ok_or_else(|| io::Error::other("too many left-overs"))?;
                fs::rename(&self.current, aside)?;
                private(&self.current)?;
                Ok(false)
            }
        }
    }

    /// What is pinned shall stay when this process ends.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    pub(super) fn is_kept(&self) -> bool {
        self.keep
    }

    /// Whether an earlier agent's maps are here.
    pub(super) fn adopted(&self) -> bool {
        self.adopted
    }

    /// Where this version's maps and links are.
    pub(super) fn directory(&self) -> &Path {
        &self.current
    }

    pub(super) fn path(&self, object: &str) -> PathBuf {
        self.current.join(object)
    }

    /// Removes what stands beside this version's state: other versions, damaged state. Their programs go with it.
    pub(super) fn remove_left_overs(&self) -> Result<()> {
        for entry in fs::read_dir(&self.instance)?.flatten() {
            let path = entry.path();
            if path != self.current {
                tracing::warn!("removing left-over kernel state in {}", path.display());
                remove_tree(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Removes everything, what steers first, and gives the directory up. Nothing of it is left in the kernel then,
    /// but for what this process has open.
    pub(super) fn remove(mut self) -> Result<()> {
        self.keep = true;
        self.take_away()
    }

    fn take_away(&self) -> Result<()> {
        for program in load::HOST_PROGRAMS.iter().rev() {
            match fs::remove_file(self.path(program.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("removing {}", self.path(program.name).display()));
                }
                _ => {}
            }
        }
        remove_tree(&self.instance).with_context(|| format!("removing {}", self.instance.display()))?;
        // Other cgroups may have theirs beside it; under systemd it is a mount point.
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.take_away()
        {
            tracing::warn!("{error:#}");
        }
    }
}

/// Whether every map of this agent's object that is to be shared is there, in its shape.
fn intact(directory: &Path) -> Result<()> {
    for shape in load::shapes()? {
        let info = MapInfo::from_pin(directory.join(&shape.name))
            .with_context(|| format!("{} is missing", shape.name))?;
        let found = load::Shape {
            name: shape.name.clone(),
            kind: info.map_type()? as u32,
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
        };
        ensure!(found == shape, "{} is {found:?}, not {shape:?}", shape.name);
    }
    Ok(())
}

fn private(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A cgroup's path below the hierarchy's root as one file name. bpffs takes no dots: what is neither a letter, a digit nor
/// a dash is written as `_` and two hexadecimal digits, so different cgroups have different names.
fn name_of(cgroup: &Path, root: Option<&Path>) -> String {
    let canonical = fs::canonicalize(cgroup).unwrap_or_else(|_| cgroup.to_owned());
    let below = root.and_then(|root| canonical.strip_prefix(root).ok()).unwrap_or(&canonical);
    let bytes = below.as_os_str().as_bytes();
    if bytes.is_empty() {
        return "_root".to_owned();
    }
    let mut name = String::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("_{byte:02x}"));
        }
    }
    if name.len() > NAME_MAX {
        // FNV-1a: a name for a directory that only root can make, not a defence.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        name.truncate(NAME_MAX);
        name.push_str(&format!("_h{hash:016x}"));
    }
    name
}

/// Removes everything that an agent which no longer runs left for a cgroup. `Ok(false)` when there was nothing.
///
/// Fails when an agent runs, whose process the error then names.
pub fn clean_up(base: &Path, cgroup: Option<&Path>) -> Result<bool> {
    let cgroup = match cgroup {
        Some(path) => path.to_owned(),
        None => super::cgroup2_root()?,
    };
    let instance = instance(base, &cgroup);
    if !instance.exists() {
        let _ = fs::remove_dir(base);
        return Ok(false);
    }
    let lock = Lock::directory(&instance, || Ok(()))?;
    let current = instance.join(format!("v{ABI_VERSION}"));
    let pins = Pins { base: base.to_owned(), instance, current, adopted: false, keep: true, _lock: lock };
    pins.remove()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_has_a_name_that_no_other_has() {
        let root = Some(Path::new("/cg"));
        for (cgroup, expected) in [
            ("/cg", "_root"),
            ("/cg/pcHOST12-3", "pcHOST12-3"),
            ("/cg/system.slice/a_b", "system_2eslice_2fa_5fb"),
            ("/elsewhere", "_2felsewhere"),
        ] {
            assert_eq!(name_of(Path::new(cgroup), root), expected);
        }
        let long = |end: &str| name_of(Path::new(&format!("/cg/{}{end}", "x".repeat(300))), root);
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() < 255);
    }

    #[test]
    fn a_directory_elsewhere_than_on_bpffs_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let fault = check_base(&directory.path().join("pins")).unwrap_err();
        assert!(fault.to_string().contains("mount -t bpf"), "{fault}");
    }
}
