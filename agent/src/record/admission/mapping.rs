//! Memory that is shared with a file on a file system that is memory itself.

#![allow(unsafe_code, reason = "memory is mapped, which no safe function does")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

pub(super) struct Mapping {
    start: NonNull<AtomicU64>,
    /// Octets.
    size: usize,
}

// SAFETY: what is behind the pointer is written by atomic stores alone, and stays for as long as this value does.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `size` octets of `file`, which has them. `None` where it is not in memory (tmpfs): a page of a disk's file that
    /// cannot be written back to it, because that is full or fails, ends the process that touches it (SIGBUS).
    ///
    /// # Errors
    /// The system does not say where the file is, or does not map it.
    pub(super) fn of(file: &File, size: usize) -> std::io::Result<Option<Self>> {
        let Some(length) = NonZeroUsize::new(size) else { return Ok(None) };
        if fstatfs(file)?.filesystem_type() != TMPFS_MAGIC {
            return Ok(None);
        }
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses where, so that nothing else is there.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Some(Self { start: start.cast(), size }))
    }

    /// Writes eight octets, the least significant first, at an offset that is a multiple of eight. Beyond the end: nothing.
    pub(super) fn set(&self, offset: usize, value: u64) {
        let index = offset / size_of::<u64>();
        if index < self.size / size_of::<u64>() {
            // SAFETY: within what is mapped, which begins at a page.
            unsafe { self.start.add(index).as_ref() }.store(value.to_le(), Ordering::Relaxed);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and nobody has a reference into it.
        let _ = unsafe { munmap(self.start.cast(), self.size) };
    }
}
