//! Downloads that were under way when their records were handed on: such a record is handed on again once they have ended.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::activity::TransferState;
use crate::record::query::{Entry, QueryError, Reader};

/// Downloads that are waited for; the end of one beyond them is not told.
const OPEN_MAX: usize = 4096;
/// How often, and how many at a time, are looked up.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKED_AT: usize = 512;

/// The ids of one receiver's.
#[derive(Debug, Default)]
pub(super) struct OpenTransfers {
    waiting: BTreeSet<Uuid>,
    /// Handed on again, and not confirmed yet.
    told: BTreeSet<Uuid>,
    looked: Option<Instant>,
    /// Where the next look begins.
    after: Option<Uuid>,
}

impl OpenTransfers {
    /// With what was still waited for, or unconfirmed, in an earlier connection or process.
    pub(super) fn resume(ids: &[Uuid]) -> Self {
        Self { waiting: ids.iter().copied().take(OPEN_MAX).collect(), ..Self::default() }
    }

    /// What would be told to a receiver from here on.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.waiting.union(&self.told).copied().collect()
    }

    /// Takes note of what is being handed on.
    pub(super) fn note(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Entry::Activity(activity) = entry
                && activity.transfer.is_some_and(|transfer| transfer.state == TransferState::Open)
                && self.waiting.len() < OPEN_MAX
            {
                self.waiting.insert(activity.id);
            }
        }
    }

    /// Records of downloads that have ended since, now and then.
    pub(super) fn ended(&mut self, reader: &Reader, now: Instant) -> Result<Vec<Entry>, QueryError> {
        if self.waiting.is_empty() || self.looked.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        let from = self.after.take().map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<Uuid> = self.waiting.range((from, Bound::Unbounded)).copied().take(LOOKED_AT).collect();
        // The next look begins at the first one again.
        self.after = (ids.len() == LOOKED_AT).then(|| ids.last().copied()).flatten();
        let mut ended = Vec::new();
        for id in ids {
            match reader.get(id)? {
                Some(activity) if activity.transfer.is_some_and(|t| t.state == TransferState::Open) => {}
                Some(activity) => {
                    self.waiting.remove(&id);
                    self.told.insert(id);
                    ended.push(Entry::Activity(activity.into()));
                }
                // Deleted for its age.
                None => drop(self.waiting.remove(&id)),
            }
        }
        Ok(ended)
    }

    /// The receiver has these.
    pub(super) fn confirmed(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.told.remove(id);
        }
    }
}
