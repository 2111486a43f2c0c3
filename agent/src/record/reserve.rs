//! Room on the disk that is held for the worst: a file beside the log that gives its blocks up when nothing else is left.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// Some ten thousand records.
pub(super) const RESERVE: u64 = 16 << 20;
/// Held only where it is a small part of what is free: on a small disk it would be what fills it.
const SHARE: u64 = 4;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
    held: bool,
    /// It was given up, and there is no room for another yet.
    spent: bool,
}

impl Reserve {
    pub(super) fn beside(log: &Path, size: u64) -> Self {
        Self { path: super::schema::beside(log, "-reserve"), size, held: false, spent: false }
    }

    /// Holds it, where there is room.
    pub(super) fn hold(&mut self) {
        if self.held || self.size == 0 {
            return;
        }
        // What an earlier agent held is taken over as it is; a part of one is not.
        let whole = |file: &Path| fs::metadata(file).is_ok_and(|file| file.blocks() * 512 >= self.size);
        self.held = whole(&self.path) || self.has_room() && self.make().is_ok();
        if !self.held {
            let _ = fs::remove_file(&self.path);
        }
        self.spent &= !self.held;
    }

    /// Gives it up. `false` when there is nothing to give.
    pub(super) fn release(&mut self) -> bool {
        if !std::mem::take(&mut self.held) {
            return false;
        }
        self.spent = fs::remove_file(&self.path).is_ok();
        self.spent
    }

    /// Whether what is written lives on what was held.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    fn has_room(&self) -> bool {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        statvfs(directory).is_ok_and(|disk| {
            disk.blocks_available().saturating_mul(disk.fragment_size()) >= self.size.saturating_mul(SHARE)
        })
    }

    fn make(&self) -> std::io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        posix_fallocate(file.as_fd(), 0, i64::try_from(self.size).unwrap_or(i64::MAX))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_given_up_once_and_held_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("activity.db");
        let file = dir.path().join("activity.db-reserve");
        let mut reserve = Reserve::beside(&log, 1 << 20);
        assert!(!reserve.release() && !reserve.is_spent(), "nothing was held");
        reserve.hold();
        assert!(fs::metadata(&file).unwrap().blocks() * 512 >= 1 << 20, "only its length is there");
        assert!(reserve.release() && reserve.is_spent() && !file.exists());
        assert!(!reserve.release());
        reserve.hold();
        assert!(file.exists() && !reserve.is_spent());
        // The next agent takes over what is whole, and makes anew what is not.
        let mut next = Reserve::beside(&log, 1 << 20);
        next.hold();
        assert!(next.release());
        fs::write(&file, b"short").unwrap();
        next.hold();
        assert!(fs::metadata(&file).unwrap().len() >= 1 << 20);
        let mut none = Reserve::beside(&log, 0);
        none.hold();
        assert!(!none.release());
        let mut vast = Reserve::beside(&dir.path().join("other.db"), 1 << 60);
        vast.hold();
        assert!(!vast.release() && !dir.path().join("other.db-reserve").exists());
    }
}
