//! Records that go, by size or by age, and what only they needed.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Store, add_records, usage};
use crate::record::{policy_sets, segments};

/// Rows deleted in one transaction at most, and of a small log.
const DELETE_STEP: u64 = 2000;
const DELETE_FEW: u64 = 1000;
/// Free pages given back to the file system after each deletion.
const VACUUM_PAGES: u32 = 2048;
const TOO_LARGE: &str = "deleted to keep the activity log within [activity] max_size";

pub(in crate::record) struct Deleted {
    pub(in crate::record) records: u64,
    pub(in crate::record) more: bool,
}

impl Store {
    /// Deletes a bounded number of the records written first, and says so in a gap.
    pub(in crate::record) fn delete_oldest(&mut self) -> rusqlite::Result<u64> {
        let oldest = "SELECT seq FROM activities ORDER BY seq LIMIT ?1";
        // Of a small log not all that it has, and yet more than is added meanwhile.
        let count = self.count()?;
        let step = (count / 4).max((count / 2).min(DELETE_FEW)).clamp(1, DELETE_STEP);
        let transaction = self.connection.transaction()?;
        let (since, until): (Option<i64>, Option<i64>) = transaction.query_row(
            &format!("SELECT min(time), max(time) FROM activities WHERE seq IN ({oldest})"),
            [step],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (Some(since), Some(until)) = (since, until) else { return Ok(0) };
        let count =
            transaction.execute(&format!("DELETE FROM activities WHERE seq IN ({oldest})"), [step])? as u64;
        add_records(&transaction, -(count as i64))?;
        let known = transaction
            .query_row(
                "SELECT seq FROM gaps WHERE reason = ?1 ORDER BY seq DESC LIMIT 1",
                [TOO_LARGE],
                |row| row.get::<_, i64>(0),
            )
            .optional()?;
        match known {
            // One gap that grows from the beginning of the log: what is older than it is gone as well.
            Some(seq) => transaction.execute(
                "UPDATE gaps SET since = min(since, ?2), until = max(until, ?3), count = count + ?4 WHERE seq = ?1",
                params![seq, since, until, count],
            )?,
            None => transaction.execute(
                "INSERT INTO gaps (since, until, count, reason) VALUES (?1, ?2, ?3, ?4)",
                params![since, until, count, TOO_LARGE],
            )?,
        };
        transaction.commit()?;
        self.forget_deleted()?;
        Ok(count)
    }

    /// Deletes what only deleted records needed.
    fn forget_deleted(&mut self) -> rusqlite::Result<()> {
        let contexts = self.contexts.delete_unused(&self.connection)?;
        self.has_unused = self.shapes.delete_unused(&self.connection)? || contexts;
        segments::delete_unused(&self.connection)?;
        self.give_pages_back()
    }

    fn give_pages_back(&self) -> rusqlite::Result<()> {
        // One row per page given back; the statement has to be stepped to its end.
        let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Deletes a bounded number of the oldest records before `time`.
    pub(in crate::record) fn delete_before(&mut self, time: Timestamp) -> rusqlite::Result<Deleted> {
        let before = time.as_microsecond();
        let transaction = self.connection.transaction()?;
        let records = transaction.execute(
            "DELETE FROM activities WHERE seq IN (SELECT seq FROM activities WHERE time < ?1 ORDER BY time LIMIT ?2)",
            params![before, DELETE_STEP],
        )? as u64;
        add_records(&transaction, -(records as i64))?;
        transaction.commit()?;
        self.connection.execute("DELETE FROM gaps WHERE until < ?1", [before])?;
        usage::delete_before(&self.connection, before)?;
        self.connection.execute("DELETE FROM runs WHERE closed = 1 AND started < ?1", [before])?;
        policy_sets::delete_before(&self.connection, time)?;
        if records > 0 || self.has_unused {
            self.forget_deleted()?;
        }
        Ok(Deleted { records, more: records == DELETE_STEP || self.has_unused })
    }
}
