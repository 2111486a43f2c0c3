//! The statements that write the activity log. Each call is one transaction.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use crate::activity::Activity;
use crate::record::policy_sets;

/// Losses that follow each other within this time become one gap.
const SAME_GAP: SignedDuration = SignedDuration::from_secs(10);
/// Rows deleted in one transaction.
const DELETE_STEP: u64 = 2000;
/// Free pages given back to the file system after each deletion.
const VACUUM_PAGES: u32 = 512;

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

pub(super) struct Deleted {
    pub(super) records: u64,
    pub(super) more: bool,
}

/// What became of the records this run admitted, over all files it wrote to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) stored: u64,
    /// Announced in a gap.
    pub(super) lost: u64,
}

pub(super) struct Store {
    connection: Connection,
    run: Uuid,
    /// The gap written last, which further losses may still extend.
    last_gap: Option<(i64, Gap)>,
}

impl Store {
    pub(super) fn new(connection: Connection, run: Uuid) -> Self {
        Self { connection, run, last_gap: None }
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
            "INSERT INTO runs (id, started, stored, lost, closed) VALUES (?1, ?2, 0, 0, 0)",
            params![self.run.as_bytes(), now.as_microsecond()],
        )?;
        transaction.commit()?;
        Ok(lost)
    }

    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.connection.query_row("SELECT count(*) FROM activities", [], |row| row.get(0))
    }

    /// Stores all or nothing, but for records that the database refuses for what they are.
    pub(super) fn write(
        &mut self,
        batch: &[Activity],
        gaps: &[Gap],
        totals: &mut Totals,
    ) -> rusqlite::Result<Written> {
        let mut last_gap = self.last_gap.clone();
        let mut written = Written { stored: 0, known: 0, refused: 0 };
        let mut after = *totals;
        let transaction = self.connection.transaction()?;
        for activity in batch {
            match insert(&transaction, activity) {
                Ok(added) => {
                    written.stored += 1;
                    written.known += u64::from(!added);
                }
                Err(error) if is_refusal(&error) => written.refused += 1,
                Err(error) => return Err(error),
            }
        }
        for gap in gaps {
            last_gap = Some(announce(&transaction, last_gap.take(), gap)?);
            after.lost += gap.count;
        }
        after.stored += written.stored;
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

    /// Deletes a bounded number of the oldest records before `time`.
    pub(super) fn delete_before(&mut self, time: Timestamp) -> rusqlite::Result<Deleted> {
        let before = time.as_microsecond();
        let records = self.connection.execute(
            "DELETE FROM activities WHERE seq IN (SELECT seq FROM activities WHERE time < ?1 ORDER BY time LIMIT ?2)",
            params![before, DELETE_STEP],
        )? as u64;
        self.connection.execute("DELETE FROM gaps WHERE until < ?1", [before])?;
        self.connection.execute("DELETE FROM runs WHERE closed = 1 AND started < ?1", [before])?;
        policy_sets::delete_before(&self.connection, time)?;
        if records > 0 {
            // One row per page given back; the statement has to be stepped to its end.
            let mut vacuum =
                self.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(Deleted { records, more: records == DELETE_STEP })
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

/// Gives whether the record is new.
fn insert(to: &Transaction<'_>, activity: &Activity) -> rusqlite::Result<bool> {
    let record =
        serde_json::to_string(activity).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    // The id is the record: the same one handed in twice is one activity.
    to.prepare_cached(
        "INSERT INTO activities
             (id, time, type, action, app, suite, user, uid, device, client_ip, policy, file, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        activity.id.as_bytes(),
        activity.time.as_microsecond(),
        activity.kind.name(),
        activity.decision.action.name(),
        &*activity.app.id,
        activity.app.suite.as_deref(),
        activity.user.name.as_deref(),
        activity.user.uid,
        &*activity.device.id,
        address_bytes(activity.client.address).as_slice(),
        activity.decision.policy.as_deref(),
        activity.file.as_ref().and_then(|f| f.name.as_deref()),
        record,
    ])
    .map(|rows| rows == 1)
}

/// 4 bytes for IPv4, 16 for IPv6: networks are then ranges among addresses of their own family.
pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
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
