//! The statements that write the activity log. Each call is one transaction.

mod deletion;
mod rows;
mod usage;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::activity::{Context, Shape, TransferFacts, TransferState};
use crate::record::parts::{self, Parts};
use crate::record::pending::Pending;
use crate::record::transfer::End;
use crate::record::usage::Sums;
use crate::record::{schema, segments};
use rows::Addition;
pub(super) use rows::{address_bytes, address_of};

/// Losses that follow each other within this time become one gap.
const SAME_GAP: SignedDuration = SignedDuration::from_secs(10);

/// Records that are missing from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// 0 when the number is not known.
    pub(super) count: u64,
    pub(super) reason: String,
}

impl Gap {
    pub(super) fn now(count: u64, reason: &str) -> Self {
        let now = Timestamp::now();
        Self { since: now, until: now, count, reason: reason.to_owned() }
    }

    pub(super) fn unknown(reason: String) -> Self {
        let now = Timestamp::now();
        Self { since: now, until: now, count: 0, reason }
    }

    pub(super) fn merge(&mut self, other: &Gap) {
        self.since = self.since.min(other.since);
        self.until = self.until.max(other.until);
        self.count += other.count;
    }
}

pub(super) struct Written {
    pub(super) stored: u64,
    /// Of those, the ones that were in the file already.
    pub(super) known: u64,
    /// Records the database will never take, whatever the state of the disk.
    pub(super) refused: u64,
}

/// What became of the records this run admitted, over all files it wrote to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) stored: u64,
    /// Announced in a gap.
    pub(super) lost: u64,
}

/// A record on its way, with whoever waits until it is stored.
pub(super) struct Entry {
    pub(super) pending: Pending,
    pub(super) waiter: Option<oneshot::Sender<()>>,
}

/// What one transaction stores.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Ends of transfers whose beginning is in the file already.
    pub(super) ends: Vec<End>,
    pub(super) sums: Sums,
    pub(super) gaps: Vec<Gap>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ends.is_empty() && self.sums.is_empty() && self.gaps.is_empty()
    }

    /// Forgets everything but its own memory; gives those who wait.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = oneshot::Sender<()>> {
        let Self { entries, ends, sums, gaps } = self;
        ends.clear();
        gaps.clear();
        *sums = Sums::default();
        entries.drain(..).filter_map(|entry| entry.waiter)
    }

    /// Most transfers are over before their record is written: both are one row then.
    pub(super) fn end(&mut self, end: End) {
        match self.entries.iter_mut().rev().find(|entry| entry.pending.id == end.id) {
            Some(entry) => {
                entry.pending.transfer = Some(TransferFacts { state: end.state, bytes: Some(end.bytes) });
            }
            None => self.ends.push(end),
        }
    }
}

pub(super) struct Store {
    connection: Connection,
    run: Uuid,
    /// The gap written last, which further losses may still extend.
    last_gap: Option<(i64, Gap)>,
    contexts: Parts<Context>,
    shapes: Parts<Shape>,
    /// [`parts::octets_within`]
    part_octets: usize,
    /// Deleted records may have left more behind than went with them.
    has_unused: bool,
}

impl Store {
    pub(super) fn new(connection: Connection, run: Uuid) -> Self {
        Self {
            connection,
            run,
            last_gap: None,
            contexts: Parts::default(),
            shapes: Parts::default(),
            part_octets: parts::octets_within(None),
            has_unused: false,
        }
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Closes what earlier runs left open and begins this one. Gives the number of records that went with a killed run.
    pub(super) fn account_for_earlier_runs(&mut self, left: Option<(Uuid, u64)>) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction()?;
        let now = Timestamp::now();
        let mut lost = 0;
        if let Some((run, admitted)) = left {
            let known = transaction
                .query_row(
                    "SELECT stored + lost, started FROM runs WHERE id = ?1 AND closed = 0",
                    [run.as_bytes()],
                    |row| Ok((row.get::<_, u64>(0)?, row.get::<_, i64>(1)?)),
                )
                .optional()?;
            if let Some((accounted, started)) = known {
                lost = admitted.saturating_sub(accounted);
                if lost > 0 {
                    let last: Option<i64> = transaction
                        .query_row("SELECT time FROM activities ORDER BY seq DESC LIMIT 1", [], |row| {
                            row.get(0)
                        })
                        .optional()?;
                    let since = last.map_or(started, |last| last.max(started));
                    let since = Timestamp::from_microsecond(since).unwrap_or(now).min(now);
                    let reason = "the agent was killed before it had stored them".to_owned();
                    insert_gap(&transaction, &Gap { since, until: now, count: lost, reason })?;
                }
            }
        }
        // In the same transaction: a kill right after it must not count the same loss again.
        transaction.execute("UPDATE runs SET closed = 1 WHERE closed = 0", [])?;
        transaction.execute(
            "UPDATE activities SET transfer = ?1 WHERE transfer = 'open'",
            [TransferState::Incomplete.name()],
        )?;
        transaction.execute(
            "INSERT INTO runs (id, started, stored, lost, closed) VALUES (?1, ?2, 0, 0, 0)",
            params![self.run.as_bytes(), now.as_microsecond()],
        )?;
        transaction.commit()?;
        Ok(lost)
    }

    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.connection.query_row("SELECT records FROM log", [], |row| row.get(0))
    }

    /// Stores all or nothing, but for records that the database refuses for what they are.
    pub(super) fn write(&mut self, batch: &Batch, totals: &mut Totals) -> rusqlite::Result<Written> {
        let written = self.try_write(batch, totals);
        if written.is_err() {
            // They were rolled back with the rest.
            self.contexts.forget();
            self.shapes.forget();
        }
        written
    }

    fn try_write(&mut self, batch: &Batch, totals: &mut Totals) -> rusqlite::Result<Written> {
        let mut last_gap = self.last_gap.clone();
        let mut sums = batch.sums.clone();
        let mut written = Written { stored: 0, known: 0, refused: 0 };
        let mut after = *totals;
        let transaction = self.connection.transaction()?;
        let mut rows = Vec::with_capacity(batch.entries.len());
        for pending in batch.entries.iter().map(|entry| &entry.pending) {
            let mut row = || {
                let context = self.contexts.of(&pending.shared, self.part_octets, &transaction)?;
                let shape = pending.shape.as_ref();
                let shape =
                    shape.map(|shape| self.shapes.of(shape, self.part_octets, &transaction)).transpose()?;
                Ok(rows::Row { pending, context, shape })
            };
            match row() {
                Ok(row) => rows.push(row),
                Err(error) if is_refusal(&error) => written.refused += 1,
                Err(error) => return Err(error),
            }
        }
        Addition { to: &transaction, written: &mut written, sums: &mut sums }.add(&rows)?;
        for end in &batch.ends {
            close_transfer(&transaction, end)?;
        }
        for gap in &batch.gaps {
            last_gap = Some(announce(&transaction, last_gap.take(), gap)?);
            after.lost += gap.count;
        }
        after.stored += written.stored;
        add_records(&transaction, (written.stored - written.known) as i64)?;
        usage::add(&transaction, &sums)?;
        // Absolute numbers, so that a file begun anew in the middle of a run is right as well.
        transaction
            .prepare_cached(
                "INSERT INTO runs (id, started, stored, lost, closed) VALUES (?1, ?2, ?3, ?4, 0)
             ON CONFLICT (id) DO UPDATE SET stored = excluded.stored, lost = excluded.lost",
            )?
            .execute(params![
                self.run.as_bytes(),
                Timestamp::now().as_microsecond(),
                after.stored,
                after.lost
            ])?;
        transaction.commit()?;
        (self.last_gap, *totals) = (last_gap, after);
        Ok(written)
    }

    /// The log is to have at most so many octets.
    pub(super) fn set_max_size(&mut self, max_size: Option<u64>) {
        self.part_octets = parts::octets_within(max_size);
    }

    /// Makes a segment of records that are in none, if there are `size` of them. `false` when there was none to make.
    pub(super) fn make_segment(&mut self, size: usize) -> rusqlite::Result<bool> {
        segments::make(size, &mut self.connection)
    }

    /// Drops one of the indexes that segments took the place of, if there is one left.
    pub(super) fn drop_old_index(&self) -> rusqlite::Result<()> {
        segments::drop_old_index(&self.connection).map(drop)
    }

    /// Whether a commit is on disk before it is reported (`FULL`), or only survives the end of the process.
    pub(super) fn set_synchronous(&self, full: bool) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })
    }

    /// Brings the write-ahead log into the database and cuts it to nothing. Fails while a reader needs it.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        let busy: bool =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy { Err(schema::held_open()) } else { Ok(()) }
    }

    /// Bytes of the database that hold something.
    pub(super) fn size(&self) -> rusqlite::Result<u64> {
        let number = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
    }

    /// Ends the run. It stays open for the next start to account for when some admitted record is nowhere.
    pub(super) fn close(self, admitted: u64) {
        // Failing to close only means that the next start looks once more.
        let _ = self.connection.execute(
            "UPDATE runs SET closed = 1 WHERE id = ?1 AND stored + lost >= ?2",
            params![self.run.as_bytes(), admitted],
        );
        let _ = self.connection.close();
    }
}

fn add_records(to: &Transaction<'_>, change: i64) -> rusqlite::Result<()> {
    to.prepare_cached("UPDATE log SET records = records + ?1")?.execute([change]).map(drop)
}

fn close_transfer(to: &Transaction<'_>, end: &End) -> rusqlite::Result<()> {
    to.prepare_cached("UPDATE activities SET transfer = ?2, sent = ?3 WHERE id = ?1 AND transfer = 'open'")?
        .execute(params![end.id.as_bytes(), end.state.name(), end.bytes])
        .map(drop)
}

/// Extends the gap before when this one follows it closely, else begins a new one.
fn announce(to: &Transaction<'_>, before: Option<(i64, Gap)>, gap: &Gap) -> rusqlite::Result<(i64, Gap)> {
    if let Some((seq, mut last)) = before
        && last.reason == gap.reason
        && gap.since.duration_since(last.until) <= SAME_GAP
    {
        last.merge(gap);
        to.execute(
            "UPDATE gaps SET since = ?2, until = ?3, count = ?4 WHERE seq = ?1",
            params![seq, last.since.as_microsecond(), last.until.as_microsecond(), last.count],
        )?;
        return Ok((seq, last));
    }
    insert_gap(to, gap)?;
    Ok((to.last_insert_rowid(), gap.clone()))
}

fn insert_gap(to: &Transaction<'_>, gap: &Gap) -> rusqlite::Result<()> {
    to.execute(
        "INSERT INTO gaps (since, until, count, reason) VALUES (?1, ?2, ?3, ?4)",
        params![gap.since.as_microsecond(), gap.until.as_microsecond(), gap.count, gap.reason],
    )
    .map(drop)
}

/// Errors that lie in the record: trying again cannot help, and must not hold up the records behind.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
        || matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}
