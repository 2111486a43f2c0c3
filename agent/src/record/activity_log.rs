//! The activity log as the data path sees it: a bounded queue that never makes it wait. One thread writes behind it.
//!
//! What does not fit into the queue is lost, counted, and announced in the log as a gap. A record is also counted as
//! admitted where a SIGKILL cannot take the count along (see `admission`), so a killed agent knows at its next
//! start how many records went with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::activity::TransferFacts;
use crate::config::Durability;
use crate::record::admission::Admissions;
use crate::record::pending::{Pending, Record};
use crate::record::policy_sets;
use crate::record::segments;
use crate::record::store::{Entry, Gap};
use crate::record::transfer::{End, Stored, Transfer};
use crate::record::usage::Report;
use crate::record::writer::{Message, Writer};

/// Records that wait for the writer at most. A record is less than a KiB as a rule, and some ten at worst; what many have in
/// common waits once.
pub const QUEUE_MAX: usize = 8192;
/// Records in one transaction at most.
pub const BATCH_MAX: usize = 512;
/// How long the first record of a transaction waits for company, which it need not where somebody waits for it. Each
/// transaction writes the last page of every table and index whatever is in it, so that records which share one cost less.
pub const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Bytes of the write-ahead log, which a reader that holds the log open for long keeps from being cut back. Beyond them
/// nothing is stored until it ends.
pub const WAL_MAX: u64 = 64 << 20;
/// Ends of transfers that wait beside a full queue.
const LATE_ENDS_MAX: usize = QUEUE_MAX;
/// A disk that works stores a full queue in less than a second.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Older records are deleted. `None` keeps them for ever.
    pub retention: Option<Duration>,
    pub queue: usize,
    pub batch: usize,
    pub flush_after: Duration,
    /// Oldest records beyond this size of the database are deleted. `None`: as much as the disk has.
    pub max_size: Option<u64>,
    pub durability: Durability,
    pub wal_max: u64,
    /// Records of a segment.
    pub segment: usize,
    /// Largest size of the database in SQLite pages; full is then treated like a full disk.
    pub max_pages: Option<u32>,
    /// How long dropping the log may go on trying to store what is queued.
    pub close_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: None,
            max_size: None,
            durability: Durability::Normal,
            wal_max: WAL_MAX,
            segment: segments::RECORDS,
            queue: QUEUE_MAX,
            batch: BATCH_MAX,
            flush_after: FLUSH_AFTER,
            max_pages: None,
            close_within: CLOSE_WITHIN,
        }
    }
}

/// How the file was found. Anything but `Ready` deserves a loud warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// `lost` records of an earlier run were never stored: the agent had been killed.
    Ready { lost: u64 },
    /// The file was damaged or of a newer version: it now lies at `to`, and a fresh one was begun.
    SetAside { to: PathBuf, why: String },
    /// The file cannot be written now. Records queue up, and the writer keeps trying.
    Unavailable { why: String },
}

/// The record was not taken. It is counted and will be announced as part of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the activity log cannot keep up; the record is lost and counted")]
pub struct Lost;

/// Not everything was stored before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the activity log could not be written in time")]
pub struct Unflushed;

/// Numbers for status, health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    pub path: PathBuf,
    /// Records in the file.
    pub records: u64,
    /// Records stored by this process.
    pub stored: u64,
    /// Records lost, by this process or by the one that was killed before it.
    pub lost: u64,
    /// Why the file cannot be written at the moment.
    pub trouble: Option<String>,
    /// Where the last damaged file went, when this process had to set one aside.
    pub set_aside: Option<PathBuf>,
}

/// What the writer thread and the data path both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) records: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) lost: Arc<AtomicU64>,
    /// Lost because the queue was full, and not yet taken over by the writer.
    pub(super) overflow: AtomicU64,
    pub(super) retention_secs: AtomicU64,
    /// 0: no limit.
    max_size: AtomicU64,
    pub(super) strict: AtomicBool,
    /// Messages since the writer last emptied the queue.
    pub(super) queued: AtomicUsize,
    /// What the full queue did not take.
    pub(super) late_ends: Mutex<Vec<End>>,
    pub(super) close_by: Mutex<Option<Instant>>,
    pub(super) policy_sets: policy_sets::Pending,
    trouble: Mutex<Option<String>>,
    set_aside: Mutex<Option<PathBuf>>,
}

impl Shared {
    pub(super) fn set_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the file cannot be written at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_set_aside(&self, to: PathBuf) {
        *self.set_aside.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    pub(super) fn max_size(&self) -> Option<u64> {
        let max = self.max_size.load(Ordering::Relaxed);
        (max > 0).then_some(max)
    }

    /// Whether the time that closing may take is over.
    pub(super) fn out_of_time(&self) -> bool {
        let by = *self.close_by.lock().unwrap_or_else(PoisonError::into_inner);
        by.is_some_and(|by| Instant::now() >= by)
    }
}

pub struct ActivityLog {
    /// Taken by `drop`, which ends the writer once it has emptied the queue.
    queue: Option<SyncSender<Message>>,
    admissions: Arc<Admissions>,
    shared: Arc<Shared>,
    path: PathBuf,
    close_within: Duration,
    writer: Option<JoinHandle<()>>,
}

impl ActivityLog {
    /// Opens the log at `path` with the usual options.
    pub fn open(path: &Path, retention: Option<Duration>) -> std::io::Result<(Self, Opened)> {
        Self::open_with(path, Options { retention, ..Options::default() })
    }

    /// Fails only when no thread can be started: a bad file or disk must not keep the agent from enforcing.
    pub fn open_with(path: &Path, options: Options) -> std::io::Result<(Self, Opened)> {
        let (queue, incoming) = sync_channel(options.queue);
        let shared = Arc::new(Shared::default());
        let admissions = Arc::new(Admissions::new());
        let (retention, close_within) = (options.retention, options.close_within);
        shared.max_size.store(options.max_size.unwrap_or(0), Ordering::Relaxed);
        shared.strict.store(options.durability == Durability::Strict, Ordering::Relaxed);
        let mut writer = Writer::new(path, options, incoming, Arc::clone(&shared), Arc::clone(&admissions));
        let opened = writer.open();
        let thread =
            std::thread::Builder::new().name("activity-log".to_owned()).spawn(move || writer.run())?;
        let log = Self {
            queue: Some(queue),
            admissions,
            shared,
            path: path.to_owned(),
            close_within,
            writer: Some(thread),
        };
        log.set_retention(retention);
        Ok((log, opened))
    }

    /// Hands one record to the writer. Never waits.
    pub fn record(&self, record: impl Into<Record>) -> Result<(), Lost> {
        self.enter(record.into(), None)
    }

    /// The same for a download that is let pass, whose end will follow. With strict durability this takes a runtime.
    pub fn begin(&self, record: impl Into<Record>) -> (Result<(), Lost>, Transfer<'_>) {
        let mut record = record.into();
        let id = record.row.id;
        record.row.transfer = Some(TransferFacts::OPEN);
        let strict = self.shared.strict.load(Ordering::Relaxed);
        let (waiter, stored) = strict.then(oneshot::channel).unzip();
        let entered = self.enter(record, waiter);
        let stored = match stored {
            None => Stored::Unasked,
            Some(_) if entered.is_err() => Stored::Never,
            Some(stored) => Stored::waiting(stored),
        };
        (entered, Transfer::new(self, id, stored, entered.is_ok()))
    }

    fn enter(&self, record: Record, waiter: Option<oneshot::Sender<()>>) -> Result<(), Lost> {
        self.admissions.admit();
        let urgent = waiter.is_some();
        if let Ok(pending) = Pending::of(record)
            && self.send(Message::Record(Entry { pending, waiter }), urgent)
        {
            return Ok(());
        }
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        self.shared.overflow.fetch_add(1, Ordering::Relaxed);
        Err(Lost)
    }

    /// The writer sleeps while a transaction gathers: it is woken for what somebody waits for, and by a full batch.
    fn send(&self, message: Message, urgent: bool) -> bool {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok());
        let queued = self.shared.queued.fetch_add(1, Ordering::Relaxed) + 1;
        if urgent || !sent || queued == BATCH_MAX {
            self.wake();
        }
        sent
    }

    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.thread().unpark();
        }
    }

    /// How a transfer ended. What the full queue does not take waits beside it.
    pub(super) fn ended(&self, end: End) {
        if self.send(Message::Ended(end), false) {
            return;
        }
        let mut late = self.shared.late_ends.lock().unwrap_or_else(PoisonError::into_inner);
        if late.len() < LATE_ENDS_MAX {
            late.push(end);
        }
    }

    /// Hands the writer what a connection tells about its app. `false` when the queue is full: it is to be told again.
    pub(super) fn used(&self, report: Report) -> bool {
        self.send(Message::Used(Box::new(report)), false)
    }

    /// A gap without a number: nobody was there to record anything. Waits for room, once at a start.
    pub fn note_absence(&self, since: Timestamp, until: Timestamp, reason: String) {
        if let Some(queue) = &self.queue {
            // The writer ends after the queue alone.
            let _ = queue.send(Message::Absence(Gap { since: since.min(until), until, count: 0, reason }));
            self.wake();
        }
    }

    /// Keeps the text of a policy set with the records that it decides; to be called before it decides the first.
    pub fn keep_policy_set(&self, id: Uuid, document: Arc<str>) {
        self.shared.policy_sets.push(id, document);
    }

    /// Waits until every record taken so far is stored. Blocks: not for the data path.
    pub fn flush(&self, timeout: Duration) -> Result<(), Unflushed> {
        /// A full queue is asked again this often.
        const RETRY: Duration = Duration::from_millis(2);
        let by = Instant::now() + timeout;
        let (done, waiting) = sync_channel(1);
        let queue = self.queue.as_ref().ok_or(Unflushed)?;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = queue.try_send(message) {
            if Instant::now() >= by {
                return Err(Unflushed);
            }
            message = back;
            std::thread::sleep(RETRY);
        }
        self.wake();
        waiting.recv_timeout(by.saturating_duration_since(Instant::now())).map_err(|_| Unflushed)
    }

    /// From now on a download waits for its record, or does not.
    pub fn set_durability(&self, durability: Durability) {
        self.shared.strict.store(durability == Durability::Strict, Ordering::Relaxed);
    }

    /// Takes effect within seconds.
    pub fn set_max_size(&self, bytes: Option<u64>) {
        self.shared.max_size.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes effect at the next round of deletion, within minutes.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let secs = retention.map_or(0, |r| r.as_secs().max(1));
        self.shared.retention_secs.store(secs, Ordering::Relaxed);
    }

    pub fn state(&self) -> LogState {
        let shared = &self.shared;
        LogState {
            path: self.path.clone(),
            records: shared.records.load(Ordering::Relaxed),
            stored: shared.stored.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            trouble: shared.trouble(),
            set_aside: shared.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The count of lost records, for the metrics to read at each scrape.
    pub fn lost_count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.lost)
    }
}

impl Drop for ActivityLog {
    fn drop(&mut self) {
        *self.shared.close_by.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now() + self.close_within);
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It may be waiting out a full disk.
            writer.thread().unpark();
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
