//! Counts admitted records in a file that outlives a killed process, so that what it had not stored is known.
//!
//! A record is admitted before it is queued. What a process wrote into a file, or into memory that it shares with one, stays
//! when the process is killed, so that the sum in this file minus what the database holds of the same run is the number of
//! records lost. The file is never synced: after a power cut it may be behind or gone, which counts as "none known".

mod mapping;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use uuid::Uuid;

use mapping::Mapping;

/// What a thread counts in lies on a cache line of its own, in memory and in the file: nothing on the data path waits for
/// another core.
const LINE: usize = 64;
/// Less than a page, so that one write makes the file.
const FILE_SIZE: usize = 4096;
/// The first line says whose counts these are.
const SLOTS: usize = FILE_SIZE / LINE - 1;

pub(super) struct Admissions {
    /// Empty until the file could be made; counting ends with the process as long as it is.
    kept: OnceLock<Kept>,
    slots: [Slot; SLOTS],
}

/// How the counts get into the file.
enum Kept {
    /// Two threads that write into one file wait for each other, so this is where the file is memory in any case.
    Mapped(Mapping),
    /// A disk may be full, or fail, in the middle of a run, which a write says and a mapping does not survive.
    Written(File),
}

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
        Self { kept: OnceLock::new(), slots: std::array::from_fn(|_| Slot::default()) }
    }

    /// From now on counts in the file as well. What an earlier run left there must have been accounted for before.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(super) fn persist(&self, path: &Path, run: Uuid) -> std::io::Result<()> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut zeros = [0; FILE_SIZE];
        if let Some(header) = zeros.first_chunk_mut() {
            *header = run.into_bytes();
        }
        // One write of a page: a kill leaves either the old run or the new one.
        file.write_all_at(&zeros, 0)?;
        let mapping = Mapping::of(&file, FILE_SIZE)?;
        let kept = self.kept.get_or_init(|| mapping.map_or(Kept::Written(file), Kept::Mapped));
        for (at, slot) in self.slots.iter().enumerate() {
            kept.set(at, *slot.lock());
        }
        Ok(())
    }

    pub(super) fn total(&self) -> u64 {
        self.slots.iter().map(|slot| *slot.lock()).sum()
    }

    /// Counts one record.
    pub(super) fn admit(&self) {
        let at = slot_of_this_thread();
        let Some(slot) = self.slots.get(at) else { return };
        let mut count = slot.lock();
        *count += 1;
        if let Some(kept) = self.kept.get() {
            kept.set(at, *count);
        }
    }
}

impl Kept {
    fn set(&self, at: usize, count: u64) {
        let place = (at + 1) * LINE;
        match self {
            Self::Mapped(mapping) => mapping.set(place, count),
            // Nothing can be done about a failure here, and the record itself is still on its way.
            Self::Written(file) => drop(file.write_all_at(&count.to_le_bytes(), place as u64)),
        }
    }
}

/// What an earlier run left: its id and how many records it admitted.
pub(super) fn left_behind(path: &Path) -> Option<(Uuid, u64)> {
    let file = File::open(path).ok()?;
    let mut bytes = [0; FILE_SIZE];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (lines, _) = bytes.as_chunks::<LINE>();
    let (header, slots) = lines.split_first()?;
    let counts = slots.iter().filter_map(|slot| slot.first_chunk());
    let admitted = counts.fold(0_u64, |sum, count| sum.saturating_add(u64::from_le_bytes(*count)));
    Some((Uuid::from_bytes(*header.first_chunk()?), admitted))
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

    /// In memory and on whatever temporary files lie on.
    fn directories() -> [tempfile::TempDir; 2] {
        [tempfile::tempdir_in("/dev/shm").unwrap(), tempfile::tempdir().unwrap()]
    }

    #[test]
    fn what_many_threads_admitted_is_read_back_exactly() {
        for dir in directories() {
            let path = dir.path().join("admitted");
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
    }

    #[test]
    fn only_a_file_in_memory_is_mapped() {
        let [memory, _] = directories();
        let admissions = Admissions::new();
        admissions.persist(&memory.path().join("admitted"), Uuid::from_u128(1)).unwrap();
        assert!(matches!(admissions.kept.get(), Some(Kept::Mapped(_))));
        // No disk, but a file system that is not memory either.
        let elsewhere = File::open("/proc/self/stat").unwrap();
        assert!(Mapping::of(&elsewhere, FILE_SIZE).unwrap().is_none());
    }

    #[test]
    fn a_short_or_foreign_file_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admitted");
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(left_behind(&path), None);
    }
}
