//! The record of a download while its body is on its way: waits until it is stored where that is asked for, and tells
//! how the transfer ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Timeout, timeout};
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
pub(super) enum Stored {
    /// Nobody has to wait.
    Unasked,
    Waiting(Pin<Box<Timeout<oneshot::Receiver<()>>>>),
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

impl Stored {
    pub(super) fn waiting(stored: oneshot::Receiver<()>) -> Self {
        Self::Waiting(Box::pin(timeout(STORED_WITHIN, stored)))
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn new(log: &'a ActivityLog, id: Uuid, stored: Stored, recorded: bool) -> Self {
        Self { log, id, stored, recorded, ended: false }
    }

    /// Before the first body byte: whether it may go. Waits only with `durability = "strict"`, and then at most
    /// [`STORED_WITHIN`].
    pub async fn may_begin(&mut self) -> bool {
        poll_fn(|cx| self.poll_may_begin(cx)).await
    }

    /// [`may_begin`](Self::may_begin), polled.
    pub fn poll_may_begin(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let stored = match &mut self.stored {
            Stored::Unasked => return Poll::Ready(true),
            Stored::Never => false,
            Stored::Waiting(stored) => matches!(ready!(stored.as_mut().poll(cx)), Ok(Ok(()))),
        };
        self.stored = Stored::Unasked;
        if !stored {
            self.tell(TransferState::Withheld, 0);
        }
        Poll::Ready(stored)
    }

    /// Whether nothing has to be waited for.
    pub fn is_unasked(&self) -> bool {
        matches!(self.stored, Stored::Unasked)
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
