//! Records into their table, many to a statement: SQLite opens the table and its indexes once for all of them, and where a
//! record goes behind the one before, its place is not searched for.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Statement, ToSql, Transaction};

use super::{Written, is_refusal};
use crate::record::pending::Pending;
use crate::record::usage::Sums;

/// Records of one statement.
const ROWS: usize = 32;

const COLUMNS: [&str; 11] =
    ["id", "time", "type", "client_ip", "file", "record", "transfer", "sent", "context", "shape", "micros"];
/// The others that may not be absent: what they say, the context says.
const EMPTY: [&str; 3] = ["action", "app", "device"];

static ONE: LazyLock<String> = LazyLock::new(|| insert(1));
static MANY: LazyLock<String> = LazyLock::new(|| insert(ROWS));

/// The id is the record: the same one handed in twice is one activity.
fn insert(rows: usize) -> String {
    let row = format!("({}, {})", ["?"; COLUMNS.len()].join(", "), ["''"; EMPTY.len()].join(", "));
    let rows = vec![row; rows].join(", ");
    let columns = [&COLUMNS[..], &EMPTY[..]].concat().join(", ");
    format!("INSERT INTO activities ({columns}) VALUES {rows} ON CONFLICT (id) DO NOTHING")
}

/// A record, and the ids of what it shares.
pub(super) struct Row<'a> {
    pub(super) pending: &'a Pending,
    pub(super) context: i64,
    pub(super) shape: Option<i64>,
}

/// What rows are added to, and counted in.
pub(super) struct Addition<'a, 't> {
    pub(super) to: &'a Transaction<'t>,
    pub(super) written: &'a mut Written,
    /// Of those that are new.
    pub(super) sums: &'a mut Sums,
}

impl Addition<'_, '_> {
    /// Inserts `rows` in their order. What the database refuses for what it is, is left out.
    pub(super) fn add(&mut self, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        let (many, rest) = rows.as_chunks::<ROWS>();
        for rows in many {
            match self.insert(rows) {
                // Nothing of the statement is in the file: which of them it was comes out one by one.
                Err(error) if is_refusal(&error) => self.one_by_one(rows)?,
                result => result?,
            }
        }
        self.one_by_one(rest)
    }

    fn one_by_one(&mut self, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        for row in rows {
            match self.insert(std::slice::from_ref(row)) {
                Err(error) if is_refusal(&error) => self.written.refused += 1,
                result => result?,
            }
        }
        Ok(())
    }

    /// One of them, or [`ROWS`].
    fn insert(&mut self, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        let several = rows.len() > 1;
        let before = if several { last(self.to)? } else { 0 };
        let mut into = self.to.prepare_cached(if several { &MANY } else { &ONE })?;
        let known = rows.len().saturating_sub(execute(&mut into, rows)?);
        self.written.stored += rows.len() as u64;
        self.written.known += known as u64;
        if known == 0 {
            rows.iter().for_each(|row| self.sums.add_record(row.pending));
        } else if several {
            newer(rows, before, self.to)?.into_iter().for_each(|pending| self.sums.add_record(pending));
        }
        Ok(())
    }
}

/// The highest number of a record so far.
fn last(to: &Transaction<'_>) -> rusqlite::Result<i64> {
    to.prepare_cached("SELECT ifnull(max(seq), 0) FROM activities")?.query_row([], |row| row.get(0))
}

/// Those of `rows` that were not in the file before the number `before`, once each.
fn newer<'a>(rows: &[Row<'a>], before: i64, to: &Transaction<'_>) -> rusqlite::Result<Vec<&'a Pending>> {
    let mut seq = to.prepare_cached("SELECT seq FROM activities WHERE id = ?1")?;
    let (mut new, mut seen) = (Vec::new(), HashSet::new());
    for Row { pending, .. } in rows {
        let found: Option<i64> = seq.query_row([pending.id.as_bytes()], |row| row.get(0)).optional()?;
        if found.is_some_and(|found| found > before && seen.insert(found)) {
            new.push(*pending);
        }
    }
    Ok(new)
}

/// Gives how many of the rows are new.
fn execute(into: &mut Statement<'_>, rows: &[Row<'_>]) -> rusqlite::Result<usize> {
    let mut at = 0;
    for Row { pending, context, shape } in rows {
        let mut bind = |value: &dyn ToSql| {
            at += 1;
            into.raw_bind_parameter(at, value)
        };
        bind(pending.id.as_bytes())?;
        bind(&pending.time)?;
        bind(&pending.kind.name())?;
        bind(&address_bytes(pending.client).as_slice())?;
        bind(&pending.file.as_deref())?;
        // JSON is UTF-8.
        bind(&ToSqlOutput::Borrowed(ValueRef::Text(&pending.own)))?;
        bind(&pending.transfer.map(|transfer| transfer.state.name()))?;
        bind(&pending.transfer.and_then(|transfer| transfer.bytes))?;
        bind(context)?;
        bind(shape)?;
        bind(&pending.micros)?;
    }
    into.raw_execute()
}

/// 4 bytes for IPv4, 16 for IPv6: networks are then ranges among addresses of their own family.
pub(in crate::record) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address of such bytes.
pub(in crate::record) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use uuid::Uuid;

    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::sample;
    use crate::record::schema;
    use crate::record::store::{Batch, Entry, Store, Totals};

    fn named(user: &str) -> Activity {
        let mut activity = Activity { id: Uuid::now_v7(), ..sample() };
        activity.user.name = Some(user.into());
        activity
    }

    fn batch(activities: &[Activity]) -> Batch {
        let entries = activities
            .iter()
            .map(|activity| Entry { pending: Pending::of(activity.into()).unwrap(), waiter: None });
        Batch { entries: entries.collect(), ..Batch::default() }
    }

    #[test]
    fn what_is_known_or_refused_is_told_from_what_is_new_within_a_statement() {
        let connection = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        connection
            .execute_batch(
                "CREATE TRIGGER refusing BEFORE INSERT ON activities
                 WHEN (SELECT user FROM contexts WHERE id = new.context) = 'mallory'
                 BEGIN SELECT RAISE(ABORT, 'no'); END",
            )
            .unwrap();
        let (mut store, mut totals) = (Store::new(connection, Uuid::from_u128(1)), Totals::default());
        let mut write = |activities: &[Activity]| {
            let written = store.write(&batch(activities), &mut totals).unwrap();
            let asked = "SELECT (SELECT count(*) FROM activities), (SELECT records FROM log),
                                (SELECT ifnull(sum(allowed + blocked), 0) FROM apps)";
            let counts = store
                .connection()
                .query_row(asked, [], |row| Ok([row.get::<_, u64>(0)?, row.get(1)?, row.get(2)?]));
            ((written.stored, written.known, written.refused), counts.unwrap())
        };
        let some = ROWS as u64 * 2 + 5;
        let first: Vec<_> = (0..some).map(|_| named("ada")).collect();
        assert_eq!(write(&first), ((some, 0, 0), [some; 3]));
        // A statement of which one record was there before, and one comes twice.
        let mut mixed: Vec<_> = (0..ROWS).map(|_| named("ada")).collect();
        mixed[3] = first[7].clone();
        mixed[5] = mixed[4].clone();
        let (len, now) = (ROWS as u64, some + ROWS as u64 - 2);
        assert_eq!(write(&mixed), ((len, 2, 0), [now; 3]));
        // And one that is refused: all others are stored.
        let mut refused: Vec<_> = (0..ROWS + 1).map(|_| named("bob")).collect();
        refused[ROWS / 2] = named("mallory");
        refused[ROWS] = named("mallory");
        let now = now + len - 1;
        assert_eq!(write(&refused), ((len - 1, 0, 2), [now; 3]));
        // A batch that is written again, as after a failure whose outcome is not known.
        assert_eq!(write(&first), ((some, some, 0), [now; 3]));
    }

    #[test]
    fn what_went_with_a_failed_transaction_is_stored_with_the_next() {
        let connection = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        let (mut store, mut totals) = (Store::new(connection, Uuid::from_u128(1)), Totals::default());
        let limit = |store: &mut Store, pages: i64| {
            let set = format!("PRAGMA max_page_count = {pages}");
            store.connection().query_row(&set, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let records: Vec<_> = (0..ROWS * 8).map(|_| named("ada")).collect();
        let batch = batch(&records);
        // SQLite makes of it as many pages as there are, and those of a context and a shape go into the ones that are there.
        limit(&mut store, 1);
        let error = store.write(&batch, &mut totals).map(drop).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        limit(&mut store, 10_000);
        assert_eq!(store.write(&batch, &mut totals).unwrap().stored, records.len() as u64);
        let complete = "SELECT count(*), count(a.shape), count(c.id), count(s.id) FROM activities AS a
                        LEFT JOIN contexts AS c ON c.id = a.context LEFT JOIN shapes AS s ON s.id = a.shape";
        let counts = store.connection().query_row(complete, [], |row| {
            Ok([row.get::<_, usize>(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        });
        let all = records.len();
        assert_eq!(counts.unwrap(), [all, all - 1, all, all - 1], "the first has no shape");
    }
}
