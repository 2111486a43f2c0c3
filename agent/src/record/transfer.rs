//! The record of a download while its body is on its way: waits until it is stored where that is asked for, and tells
//! how the transfer ended.

use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::activity::TransferState;
use crate::record::activity_log::ActivityLog;

/// How long a download waits for its record with `durability = "strict"`. A disk that is slower than this is as good
/// as full.
pub const STORED_WITHIN: Duration = Duration::from_secs(1);

/// How a transfer ended, on its way to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) id: Uuid,
    pub(super) state: TransferState,
    pub(super) bytes: u64,
}

/// What a strict record waits for.
#[derive(Debug)]
pub(super) enum Stored {
    /// Nobody has to wait.
    Unasked,
    Waiting(oneshot::Receiver<()>),
    /// The queue did not take it.
    Never,
}

/// A download that was let pass. Dropped without an end it was broken off.
pub struct Transfer<'a> {
    log: &'a ActivityLog,
    id: Uuid,
    stored: Stored,
    /// Whether the database will have the beginning.
    recorded: bool,
    ended: bool,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(log: &'a ActivityLog, id: Uuid, stored: Stored, recorded: bool) -> Self {
        Self { log, id, stored, recorded, ended: false }
    }

    /// Before the first body byte: whether it may go. Waits only with `durability = "strict"`, and then at most
    /// [`STORED_WITHIN`].
    pub async fn may_begin(&mut self) -> bool {
        let stored = match std::mem::replace(&mut self.stored, Stored::Unasked) {
            Stored::Unasked => return true,
            Stored::Never => false,
            Stored::Waiting(stored) => {
                matches!(tokio::time::timeout(STORED_WITHIN, stored).await, Ok(Ok(())))
            }
        };
        if !stored {
            self.tell(TransferState::Withheld, 0);
        }
        stored
    }

    /// The body ended after so many payload bytes.
    pub fn end(mut self, complete: bool, bytes: u64) {
        self.tell(if complete { TransferState::Complete } else { TransferState::Aborted }, bytes);
    }

    fn tell(&mut self, state: TransferState, bytes: u64) {
        if self.recorded && !std::mem::replace(&mut self.ended, true) {
            self.log.ended(End { id: self.id, state, bytes });
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.tell(TransferState::Aborted, 0);
    }
}
