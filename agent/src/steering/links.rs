//! The links that hold the programs on a cgroup, attached in the table's order and detached the other way.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use aya::Ebpf;

use super::bpf;
use super::load::{self, CgroupProgram};

/// Programs on a cgroup. Dropping it detaches them, what steers first.
pub(super) struct Links {
    /// In the order of attaching.
    attached: Vec<OwnedFd>,
}

impl Links {
    /// Attaches every program of the table. Nothing stays behind when one fails.
    pub(super) fn attach(ebpf: &mut Ebpf, programs: &[CgroupProgram], cgroup: &Path) -> Result<Self> {
        let directory =
            File::open(cgroup).with_context(|| format!("opening the cgroup {}", cgroup.display()))?;
        let mut links = Self { attached: Vec::new() };
        for CgroupProgram { name, hook } in programs {
            let attaching = || format!("attaching {name} to {}", cgroup.display());
            let program = load::verified(ebpf, name).with_context(attaching)?;
            let link = bpf::link_create(program, directory.as_fd(), *hook as u32).with_context(attaching)?;
            links.attached.push(link);
        }
        Ok(links)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        while let Some(link) = self.attached.pop() {
            drop(link);
        }
    }
}
