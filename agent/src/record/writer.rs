//! The one thread that writes the activity log: collects records into transactions, and outlasts a failing disk.

mod upkeep;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::record::activity_log::{Opened, Options, Shared};
use crate::record::admission::{self, Admissions};
use crate::record::reserve::{RESERVE, Reserve};
use crate::record::store::{Batch, Entry, Gap, Store, Totals};
use crate::record::transfer::End;
use crate::record::usage::Report;
use crate::record::{policy_sets, schema};
use upkeep::Clock;

/// How long the thread sleeps at most: the rhythm of looking after the file.
const IDLE: Duration = Duration::from_secs(1);
/// Waiting time between attempts on a failing disk, doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// How long it sleeps at most while there are more of them to make.
const BREATH: Duration = Duration::from_millis(5);
/// Gaps that wait for being written at most; there are fewer reasons, so only a failing disk gets there.
const GAPS_MAX: usize = 16;

/// Why records are missing where nothing else is known to be the matter.
const TOO_SLOW: &str = "the agent could not store them fast enough";

pub(super) enum Message {
    Record(Entry),
    Ended(End),
    Used(Box<Report>),
    Absence(Gap),
    Flush(SyncSender<()>),
}

pub(super) struct Writer {
    path: PathBuf,
    options: Options,
    incoming: Receiver<Message>,
    shared: Arc<Shared>,
    admissions: Arc<Admissions>,
    run: Uuid,
    store: Option<Store>,
    policy_sets: policy_sets::Kept,
    /// Device and inode of the open file.
    file: Option<(u64, u64)>,
    totals: Totals,
    /// An earlier run was accounted for, and admissions are counted in the file.
    settled: bool,
    /// The last turn made as many segments as it may.
    is_behind: bool,
    /// All records but the last ones are in segments.
    has_caught_up: bool,
    /// The file proved damaged while in use; why.
    damaged: Option<String>,
    batch: Batch,
    reserve: Reserve,
    /// Whether the file is written as `durability = "strict"` asks.
    synchronous: bool,
    /// The trouble there was when records were last collected.
    stood: Option<String>,
    clock: Clock,
    waiting: Vec<SyncSender<()>>,
    disconnected: bool,
    retry: Duration,
    look_after: Instant,
    delete_old: Instant,
}

impl Writer {
    pub(super) fn new(
        path: &Path,
        options: Options,
        incoming: Receiver<Message>,
        shared: Arc<Shared>,
        admissions: Arc<Admissions>,
    ) -> Self {
        let now = Instant::now();
        Self {
            path: path.to_owned(),
            options,
            incoming,
            shared,
            admissions,
            run: Uuid::now_v7(),
            store: None,
            policy_sets: policy_sets::Kept::default(),
            file: None,
            totals: Totals::default(),
            settled: false,
            is_behind: false,
            has_caught_up: false,
            damaged: None,
            batch: Batch::default(),
            reserve: Reserve::beside(path, RESERVE),
            synchronous: false,
            stood: None,
            clock: Clock { steady: now, wall: Timestamp::now() },
            waiting: Vec::new(),
            disconnected: false,
            retry: RETRY_FIRST,
            look_after: now,
            delete_old: now,
        }
    }

    /// Opens the file, sets it aside when it is damaged, and accounts for a run that was killed.
    pub(super) fn open(&mut self) -> Opened {
        match self.try_open() {
            Ok(opened) => opened,
            Err(error) => {
                let why = error.to_string();
                self.shared.set_trouble(Some(why.clone()));
                Opened::Unavailable { why }
            }
        }
    }

    fn try_open(&mut self) -> rusqlite::Result<Opened> {
        let max_pages = self.options.max_pages;
        let checked = match self.damaged.take() {
            Some(why) => schema::replace(&self.path, max_pages, why)?,
            None => schema::open_or_set_aside(&self.path, max_pages)?,
        };
        let (connection, set_aside) = match checked {
            schema::Checked::Sound(connection) => (connection, None),
            schema::Checked::SetAside { fresh, to, why } => {
                self.note(Gap::unknown(format!(
                    "the log before this was damaged ({why}) and lies at {}",
                    to.display()
                )));
                self.shared.note_set_aside(to.clone());
                (fresh, Some((to, why)))
            }
        };
        let mut store = Store::new(connection, self.run);
        let mut lost = 0;
        if !self.settled {
            let marker = schema::beside(&self.path, "-admitted");
            lost = store.account_for_earlier_runs(admission::left_behind(&marker))?;
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            self.settled = true;
            // Without the marker file the log still works; only a later kill could not be counted.
            let _ = self.admissions.persist(&marker, self.run);
        }
        self.shared.records.store(store.count()?, Ordering::Relaxed);
        (self.synchronous, self.has_caught_up) = (false, false);
        self.store = Some(store);
        self.policy_sets.forget_file();
        self.file = identity(&self.path);
        if !self.has_work() {
            // Else the next commit says how things are.
            self.shared.set_trouble(None);
        }
        Ok(match set_aside {
            Some((to, why)) => Opened::SetAside { to, why },
            None => Opened::Ready { lost },
        })
    }

    pub(super) fn run(mut self) {
        while !self.disconnected || self.has_work() {
            self.collect();
            if self.has_work() && !self.commit() {
                if self.shared.out_of_time() {
                    return self.give_up();
                }
                std::thread::park_timeout(self.retry);
                self.retry = (self.retry * 2).min(RETRY_LAST);
                continue;
            }
            self.retry = RETRY_FIRST;
            self.make_segments();
            self.look_after_file();
        }
        if let Some(store) = self.store.take() {
            store.close(self.admissions.total());
        }
    }

    fn has_work(&self) -> bool {
        !self.batch.is_empty() || !self.waiting.is_empty()
    }

    /// Waits for something to write, then a moment longer for what comes along with it, asleep: whoever adds to the queue
    /// wakes nobody, until a transaction is full or somebody waits for it.
    fn collect(&mut self) {
        // What an attempt before could not write goes first; only what is there already joins it.
        if !self.has_work() {
            self.first();
            if !self.is_urgent() && !self.disconnected {
                std::thread::park_timeout(self.options.flush_after);
            }
        }
        self.shared.queued.store(0, Ordering::Relaxed);
        let mut taken = 0;
        while taken < self.options.queue.max(self.options.batch)
            && self.batch.entries.len() < self.options.batch
            && self.waiting.is_empty()
        {
            taken += 1;
            match self.incoming.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.disconnected = true;
                    break;
                }
            }
        }
        let late = std::mem::take(&mut *self.shared.late_ends.lock().unwrap_or_else(PoisonError::into_inner));
        late.into_iter().for_each(|end| self.batch.end(end));
        let overflow = self.shared.overflow.swap(0, Ordering::Relaxed);
        // What was lost since the last look was so under the trouble of then, though it may be over by now.
        let stood = std::mem::replace(&mut self.stood, self.shared.trouble());
        if overflow > 0 {
            let why = match self.stood.clone().or(stood) {
                None => TOO_SLOW.to_owned(),
                Some(trouble) => {
                    let why = format!("the agent could not store them: {trouble}");
                    // What was lost before the trouble showed is lost to it as well.
                    for gap in self.batch.gaps.iter_mut().filter(|gap| gap.reason == TOO_SLOW) {
                        gap.reason.clone_from(&why);
                    }
                    why
                }
            };
            self.note(Gap::now(overflow, &why));
        }
    }

    /// Waits for the first message.
    fn first(&mut self) {
        let idle = if self.is_behind { BREATH } else { IDLE };
        match self.incoming.recv_timeout(idle) {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Disconnected) => self.disconnected = true,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }

    /// Whether somebody waits for what has been collected, or nothing has been.
    fn is_urgent(&self) -> bool {
        !self.has_work()
            || !self.waiting.is_empty()
            || self.batch.entries.iter().any(|entry| entry.waiter.is_some())
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(entry) => self.batch.entries.push(entry),
            Message::Ended(end) => self.batch.end(end),
            Message::Absence(gap) => self.note(gap),
            Message::Used(report) => self.batch.sums.add_report(*report),
            Message::Flush(done) => self.waiting.push(done),
        }
    }

    fn note(&mut self, gap: Gap) {
        let gaps = &mut self.batch.gaps;
        let full = gaps.len() >= GAPS_MAX;
        match gaps.iter_mut().find(|known| full || known.reason == gap.reason) {
            Some(known) => known.merge(&gap),
            None => gaps.push(gap),
        }
    }

    /// One attempt to store what was collected. `false` when it failed and should be tried again.
    fn commit(&mut self) -> bool {
        match self.try_commit() {
            Ok(()) => true,
            Err(error) => {
                self.shared.set_trouble(Some(error.to_string()));
                if schema::is_damage(&error) {
                    self.store = None;
                    self.damaged = Some(error.to_string());
                } else if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
                    if self.reserve.release() {
                        tracing::error!(
                            "the disk is full: what was held in reserve for the activity log is being used up"
                        );
                        self.retry = RETRY_FIRST;
                        return self.commit();
                    }
                    // The write-ahead log may be what fills it.
                    if let Some(store) = &self.store {
                        let _ = store.checkpoint();
                    }
                } else if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) {
                    // After a failed write or sync the state of the file is unknown: look at it afresh.
                    self.store = None;
                }
                false
            }
        }
    }

    fn try_commit(&mut self) -> rusqlite::Result<()> {
        if self.store.is_none() {
            self.try_open()?;
        }
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        let strict = self.shared.strict.load(Ordering::Relaxed);
        if strict != self.synchronous {
            store.set_synchronous(strict)?;
            self.synchronous = strict;
        }
        let wal = schema::beside(&self.path, "-wal");
        if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > self.options.wal_max) {
            store.checkpoint()?;
        }
        store.set_max_size(self.shared.max_size());
        self.policy_sets.store(&self.shared.policy_sets, store.connection())?;
        let written = store.write(&self.batch, &mut self.totals)?;
        for waiter in self.batch.clear() {
            // The one who waited may have given up.
            let _ = waiter.send(());
        }
        let spent = self.reserve.is_spent();
        self.shared.set_trouble(
            spent.then(|| "the disk is full: what was held in reserve is being used up".to_owned()),
        );
        self.shared.stored.fetch_add(written.stored, Ordering::Relaxed);
        self.shared.records.fetch_add(written.stored - written.known, Ordering::Relaxed);
        if written.refused > 0 {
            self.shared.lost.fetch_add(written.refused, Ordering::Relaxed);
            self.note(Gap::now(written.refused, "the database refused them"));
        }
        for done in self.waiting.drain(..) {
            // The one who asked may have given up.
            let _ = done.try_send(());
        }
        Ok(())
    }

    /// The disk did not recover in the time that closing may take. The next start finds the number in the marker.
    fn give_up(self) {
        let queued = self.incoming.try_iter().filter(|m| matches!(m, Message::Record(_))).count();
        self.shared.lost.fetch_add((self.batch.entries.len() + queued) as u64, Ordering::Relaxed);
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}
