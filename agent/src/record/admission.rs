//! Counts admitted records in a file that outlives a killed process, so that what it had not stored is known.
//!
//! A record is admitted before it is queued. The page cache keeps a plain write when the process dies, so after a
//! SIGKILL the sum in this file minus what the database holds of the same run is the number of records lost. The
//! file is never synced: after a power cut it may be behind, which `saturating_sub` turns into "none known".

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use uuid::Uuid;

/// Threads count in slots of their own: nothing on the data path waits for another core.
const SLOTS: usize = 64;
const SLOT_SIZE: usize = size_of::<u64>();
const HEADER_SIZE: usize = 16;
const FILE_SIZE: usize = HEADER_SIZE + SLOTS * SLOT_SIZE;

pub(super) struct Admissions {
    /// Empty until the file could be made; counting ends with the process as long as it is.
    file: OnceLock<File>,
    slots: [Slot; SLOTS],
}

/// On a cache line of its own, for the reason that slots exist at all.
#[repr(align(64))]
#[derive(Default)]
struct Slot(Mutex<u64>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admissions {
    pub(super) fn new() -> Self {
        Self { file: OnceLock::new(), slots: std::array::from_fn(|_| Slot::default()) }
    }

    /// From now on counts in the file as well. What an earlier run left there must have been accounted for before.
    pub(super) fn persist(&self, path: &Path, run: Uuid) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut zeros = [0; FILE_SIZE];
        if let Some(header) = zeros.first_chunk_mut() {
            *header = run.into_bytes();
        }
        // One write of less than a page: a kill leaves either the old run or the new one.
        file.write_all_at(&zeros, 0)?;
        let file = self.file.get_or_init(|| file);
        for (at, slot) in self.slots.iter().enumerate() {
            write_slot(file, at, *slot.lock());
        }
        Ok(())
    }

    pub(super) fn total(&self) -> u64 {
        self.slots.iter().map(|slot| *slot.lock()).sum()
    }

    /// Counts one record. Costs a write of eight bytes into the page cache.
    pub(super) fn admit(&self) {
        let at = slot_of_this_thread();
        let Some(slot) = self.slots.get(at) else { return };
        let mut count = slot.lock();
        *count += 1;
        if let Some(file) = self.file.get() {
            write_slot(file, at, *count);
        }
    }
}

fn write_slot(file: &File, at: usize, count: u64) {
    // Nothing can be done about a failure here, and the record itself is still on its way.
    let _ = file.write_all_at(&count.to_le_bytes(), (HEADER_SIZE + at * SLOT_SIZE) as u64);
}

/// What an earlier run left: its id and how many records it admitted.
pub(super) fn left_behind(path: &Path) -> Option<(Uuid, u64)> {
    let file = File::open(path).ok()?;
    let mut bytes = [0; FILE_SIZE];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (header, slots) = bytes.split_first_chunk::<HEADER_SIZE>()?;
    let (slots, _) = slots.as_chunks::<SLOT_SIZE>();
    let admitted = slots.iter().fold(0_u64, |sum, slot| sum.saturating_add(u64::from_le_bytes(*slot)));
    Some((Uuid::from_bytes(*header), admitted))
}

fn slot_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS;
    }
    MINE.try_with(|mine| *mine).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_admitted_is_read_back_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pending");
        assert_eq!(left_behind(&path), None);
        let run = Uuid::from_u128(9);
        let admissions = Admissions::new();
        admissions.admit();
        admissions.persist(&path, run).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..SLOTS + 3 {
                scope.spawn(|| (0..100).for_each(|_| admissions.admit()));
            }
        });
        assert_eq!(left_behind(&path), Some((run, (SLOTS as u64 + 3) * 100 + 1)));
        assert_eq!(admissions.total(), (SLOTS as u64 + 3) * 100 + 1);
        Admissions::new().persist(&path, Uuid::from_u128(10)).unwrap();
        assert_eq!(left_behind(&path), Some((Uuid::from_u128(10), 0)));
    }

    #[test]
    fn a_short_or_foreign_file_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pending");
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(left_behind(&path), None);
    }
}
