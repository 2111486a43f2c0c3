//! The links that hold the programs on a cgroup: made or taken over in the table's order, detached the other way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use aya::Ebpf;

use super::bpf::{self, Attachment};
use super::load::{self, CgroupProgram};
use super::pins::Pins;

/// What a link is pinned as until it takes the place of another.
const NEW: &str = "new";

/// Programs on a cgroup. Dropping it closes the links, what steers first: those that are not pinned are detached by that.
pub(super) struct Links {
    /// In the order of attaching.
    attached: Vec<OwnedFd>,
}

impl Links {
    /// Attaches every program of the table. Where a pinned link holds an earlier agent's program, that is exchanged in
    /// one step; there is no moment without a program.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        programs: &[CgroupProgram],
        cgroup: &Path,
        pins: Option<&Pins>,
    ) -> Result<Self> {
        let directory =
            File::open(cgroup).with_context(|| format!("opening the cgroup {}", cgroup.display()))?;
        let inode = directory.metadata()?.ino();
        let mut links = Self { attached: Vec::new() };
        for CgroupProgram { name, hook } in programs {
            let attaching = || format!("attaching {name} to {}", cgroup.display());
            let program = load::verified(ebpf, name).with_context(attaching)?;
            let wanted = Attachment { cgroup: inode, attach_type: *hook as u32 };
            let place = Place { directory: directory.as_fd(), wanted };
            let link = match pins {
                None => bpf::link_create(program, place.directory, wanted.attach_type),
                Some(pins) => pinned(program, &place, &pins.path(name), &pins.path(NEW)),
            };
            links.attached.push(link.with_context(attaching)?);
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

struct Place<'a> {
    directory: BorrowedFd<'a>,
    wanted: Attachment,
}

/// The link pinned at `path` with `program` behind it, or a new one in its place.
fn pinned(program: BorrowedFd<'_>, place: &Place<'_>, path: &Path, new: &Path) -> io::Result<OwnedFd> {
    match taken_over(program, place, path) {
        Ok(Some(link)) => return Ok(link),
        Ok(None) => {}
        // A link whose cgroup was removed cannot be updated (ENOLINK), nor one of another kind.
        Err(error) => tracing::warn!("the link pinned at {} is replaced: {error}", path.display()),
    }
    let link = bpf::link_create(program, place.directory, place.wanted.attach_type)?;
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bpf::pin(link.as_fd(), new)?;
    // The old link goes with its name, when the new one already works.
    std::fs::rename(new, path)?;
    Ok(link)
}

fn taken_over(program: BorrowedFd<'_>, place: &Place<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    let link = match bpf::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        link => link?,
    };
    let found = bpf::attachment(link.as_fd())?;
    if found != Some(place.wanted) {
        return Err(io::Error::other(format!("it is attached to {found:?}, not {:?}", place.wanted)));
    }
    bpf::link_update(link.as_fd(), program)?;
    Ok(Some(link))
}
