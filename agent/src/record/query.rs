//! Reading the activity log: filters joined by AND, newest first, and following what is added. Needs no daemon.
//!
//! Rows are fetched in short statements of one page each. A reader that held one statement open for as long as a
//! pager shows it would keep the writer from ever cutting back its write-ahead log.

mod candidates;
mod condition;
mod file_name;
pub mod moment;
pub mod overview;
mod usage;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use rusqlite::types::Value;
use rusqlite::{Connection, InterruptHandle, OptionalExtension, Row, params_from_iter};
use uuid::Uuid;

use crate::activity::{self, Activity, TransferFacts, TransferState};
use crate::classify::ActivityType;
use crate::policy::decision::Action;
use crate::record::store::address_of;
use crate::record::{policy_sets, schema};
use candidates::Candidates;
pub use condition::network;
use condition::{Where, micros_up};
pub use usage::{Discovered, Usage};

/// Rows of one statement.
const PAGE: usize = 500;
const NEWEST_FIRST: &str = "ORDER BY time DESC, seq DESC";
/// Gaps shown in one listing.
const GAPS_MAX: usize = 1000;

/// What to show. Every part that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A user's name, or a numeric uid.
    pub user: Option<String>,
    /// The id of an app or of a suite.
    pub app: Option<String>,
    pub kind: Option<ActivityType>,
    pub action: Option<Action>,
    /// The client's address lies in this network.
    pub network: Option<IpNet>,
    pub device: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// At or before.
    pub until: Option<Timestamp>,
    /// Name of the policy that decided.
    pub policy: Option<String>,
    /// The file name as a pattern: `*` is any text, `?` any character; ASCII letters match in either case.
    pub file: Option<String>,
    /// Activities shown at most.
    pub limit: Option<usize>,
}

/// Records that are missing here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    pub since: Timestamp,
    pub until: Timestamp,
    /// 0 when the number is not known.
    pub count: u64,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Activity(Box<Activity>),
    /// Shown whatever the filter asks besides the time: what was lost might have matched.
    Gap(Gap),
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("there is no activity log at {}", .0.display())]
    Missing(PathBuf),
    #[error("no permission to read the activity log at {}: be root", .0.display())]
    Denied(PathBuf),
    #[error("the activity log at {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: rusqlite::Error },
}

/// Up to where a follower has seen the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    activity: i64,
    gap: i64,
    /// Of the last gap seen: it may still grow.
    gap_count: u64,
}

/// The place of a record in a listing, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Microseconds since 1970.
    pub time: i64,
    pub seq: i64,
}

pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// Ends, from another thread, the statement that a reader is at. The next one runs.
pub struct Stopper(InterruptHandle);

impl Stopper {
    pub fn stop(&self) {
        self.0.interrupt();
    }
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, QueryError> {
        // SQLite says the same of what is not there and of what may not be read. Asked without opening it: closing any
        // descriptor of the file drops the locks that SQLite holds on it for this process (fcntl(2)).
        match access(path, AccessFlags::R_OK) {
            Err(Errno::ENOENT) => return Err(QueryError::Missing(path.to_owned())),
            Err(Errno::EACCES) => return Err(QueryError::Denied(path.to_owned())),
            Ok(()) | Err(_) => {}
        }
        let connection = schema::open_for_reading(path)
            .map_err(|source| QueryError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Calls `show` for each match, newest first, until it breaks or the limit is reached.
    pub fn newest_first(
        &self,
        filter: &Filter,
        mut show: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        self.list(filter, None, &mut show).map_err(|source| self.unreadable(source)).map(drop)
    }

    /// One page of what [`newest_first`](Self::newest_first) shows, behind `before`: as many activities as the filter's limit
    /// says, with the gaps among them, and where the next page begins, if there may be one.
    pub fn page_before(
        &self,
        filter: &Filter,
        before: Option<Position>,
    ) -> Result<(Vec<Entry>, Option<Position>), QueryError> {
        let mut entries = Vec::new();
        let mut show = |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        };
        let next = self.list(filter, before, &mut show).map_err(|source| self.unreadable(source))?;
        Ok((entries, next))
    }

    /// What ends a statement of this reader that takes too long.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.connection.get_interrupt_handle())
    }

    /// What tells this log from one that takes its place.
    pub fn log_id(&self) -> Result<Uuid, QueryError> {
        let id = self.connection.query_row("SELECT id FROM log", [], |row| row.get::<_, [u8; 16]>(0));
        id.map(Uuid::from_bytes).map_err(|source| self.unreadable(source))
    }

    /// The end of the log at this moment.
    pub fn end(&self) -> Result<Cursor, QueryError> {
        let read = || -> rusqlite::Result<Cursor> {
            let last = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
            let gap = last("SELECT max(seq) FROM gaps")?.unwrap_or(0);
            let gap_count =
                self.connection.query_row("SELECT count FROM gaps WHERE seq = ?1", [gap], |row| row.get(0));
            Ok(Cursor {
                activity: last("SELECT max(seq) FROM activities")?.unwrap_or(0),
                gap,
                gap_count: gap_count.optional()?.unwrap_or(0),
            })
        };
        read().map_err(|source| self.unreadable(source))
    }

    /// Matches written after the cursor, in the order of writing, and moves it on. At most one page at a time; the
    /// limit of the filter does not apply.
    pub fn added_since(&self, cursor: &mut Cursor, filter: &Filter) -> Result<Vec<Entry>, QueryError> {
        self.added(cursor, filter).map_err(|source| self.unreadable(source))
    }

    /// The record with this id.
    pub fn get(&self, id: Uuid) -> Result<Option<Activity>, QueryError> {
        let mut found = None;
        let only = Where::only("id = ?", vec![Value::Blob(id.as_bytes().to_vec())]);
        let rows = self.rows("", &only, "LIMIT 1").map_err(|source| self.unreadable(source))?;
        for row in rows {
            if let Entry::Activity(activity) = row.entry {
                found = Some(*activity);
            }
        }
        Ok(found)
    }

    /// The [document](crate::policy::PolicySet::document) of a policy set that decided records of this log.
    pub fn policy_set(&self, id: Uuid) -> Result<Option<String>, QueryError> {
        policy_sets::read(&self.connection, id).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: rusqlite::Error) -> QueryError {
        QueryError::Unreadable { path: self.path.clone(), source }
    }

    /// Shows entries behind `before`. Returns where the limit cut the listing.
    fn list(
        &self,
        filter: &Filter,
        mut before: Option<Position>,
        show: &mut impl FnMut(Entry) -> ControlFlow<()>,
    ) -> rusqlite::Result<Option<Position>> {
        let mut gaps = self.gaps_within(filter)?;
        if let Some(Position { time, .. }) = before {
            // Newer ones have been shown.
            gaps.retain(|gap| gap.until.as_microsecond() < time);
        }
        let mut left = filter.limit.unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(before);
        }
        let wanted = Where::of(filter);
        // Without a test of columns every record of the time matches.
        let mut candidates = match &*wanted.tests {
            [] => None,
            _ => Some(Candidates::of(&wanted, before, &self.connection)?),
        };
        while left > 0 {
            let page = PAGE.min(left);
            let rows = match &mut candidates {
                Some(candidates) => self.matching(candidates, &wanted, page)?,
                None => self.by_time(&wanted, before, page)?,
            };
            let last_page = rows.len() < page;
            for row in rows {
                left -= 1;
                before = Some(Position { time: row.time, seq: row.seq });
                while gaps.front().is_some_and(|gap| gap.until.as_microsecond() >= row.time) {
                    if let Some(gap) = gaps.pop_front()
                        && show(Entry::Gap(gap)).is_break()
                    {
                        return Ok(None);
                    }
                }
                if show(row.entry).is_break() {
                    return Ok(None);
                }
            }
            if last_page {
                // The limit did not cut the listing, so what is older than the oldest record belongs to it.
                for gap in gaps.drain(..) {
                    if show(Entry::Gap(gap)).is_break() {
                        return Ok(None);
                    }
                }
                return Ok(None);
            }
        }
        Ok(before)
    }

    fn added(&self, cursor: &mut Cursor, filter: &Filter) -> rusqlite::Result<Vec<Entry>> {
        schema::check_version(&self.connection)?;
        // Reading up to the end of this moment, and not up to the last match: what does not match is not looked at twice.
        let end: Option<i64> =
            self.connection.query_row("SELECT max(seq) FROM activities", [], |row| row.get(0))?;
        let mut wanted = Where::of(filter);
        wanted.and("seq > ?", [cursor.activity.into()]);
        // In the order of writing, whatever index a filter might like: what is new is little.
        let rows = self.rows("NOT INDEXED", &wanted, &format!("ORDER BY seq LIMIT {PAGE}"))?;
        cursor.activity = match rows.last() {
            Some(last) if rows.len() == PAGE => last.seq,
            last => end.unwrap_or(0).max(last.map_or(0, |row| row.seq)).max(cursor.activity),
        };
        let mut entries: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
        let mut gaps = self.connection.prepare_cached(
            "SELECT since, until, count, reason, seq FROM gaps WHERE seq > ?1 OR (seq = ?1 AND count > ?2)
             ORDER BY seq LIMIT 100",
        )?;
        let mut rows = gaps.query((cursor.gap, cursor.gap_count))?;
        while let Some(row) = rows.next()? {
            let (mut gap, seq) = (Gap::read(row)?, row.get(4)?);
            let whole = gap.count;
            if seq == cursor.gap {
                gap.count -= cursor.gap_count;
            }
            (cursor.gap, cursor.gap_count) = (seq, whole);
            entries.push(Entry::Gap(gap));
        }
        Ok(entries)
    }

    /// One page of a listing of all records of a time, behind `before`.
    fn by_time(&self, wanted: &Where, before: Option<Position>, page: usize) -> rusqlite::Result<Vec<Found>> {
        let mut wanted = wanted.clone();
        if let Some(Position { time, seq }) = before {
            wanted.and("(time, seq) < (?, ?)", [time.into(), seq.into()]);
        }
        self.rows("INDEXED BY activities_time", &wanted, &format!("{NEWEST_FIRST} LIMIT {page}"))
    }

    /// The next of the candidates that match, as many as a page has or all.
    fn matching(
        &self,
        candidates: &mut Candidates,
        wanted: &Where,
        page: usize,
    ) -> rusqlite::Result<Vec<Found>> {
        let mut found = Vec::new();
        while found.len() < page {
            let some = candidates.some(page - found.len(), &self.connection)?;
            if some.is_empty() {
                break;
            }
            let mut wanted = wanted.clone();
            wanted.and(
                "seq IN (SELECT value FROM json_each(?))",
                [serde_json::Value::from(some).to_string().into()],
            );
            found.extend(self.rows("NOT INDEXED", &wanted, NEWEST_FIRST)?);
        }
        Ok(found)
    }

    /// Rows of this condition. `by` says by which index.
    fn rows(&self, by: &str, wanted: &Where, order: &str) -> rusqlite::Result<Vec<Found>> {
        let sql = format!("SELECT {} FROM activities AS a {by} WHERE {} {order}", Found::COLUMNS, wanted.sql);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&wanted.values), Found::read)?;
        rows.collect()
    }

    fn gaps_within(&self, filter: &Filter) -> rusqlite::Result<VecDeque<Gap>> {
        let since = filter.since.map_or(i64::MIN, micros_up);
        let until = filter.until.map_or(i64::MAX, |t| t.as_microsecond());
        let sql = format!(
            "SELECT since, until, count, reason FROM gaps WHERE until >= ?1 AND since <= ?2
             ORDER BY until DESC, seq DESC LIMIT {GAPS_MAX}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_map((since, until), Gap::read)?.collect()
    }
}

impl Gap {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |at| {
            row.get(at).map(|micros| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH))
        };
        Ok(Self { since: time(0)?, until: time(1)?, count: row.get(2)?, reason: row.get(3)? })
    }
}

/// How the body of a download ended, of which the record does not know yet.
fn transfer(row: &Row<'_>) -> rusqlite::Result<Option<TransferFacts>> {
    let state: Option<String> = row.get(3)?;
    Ok(match state.as_deref().and_then(TransferState::from_name) {
        Some(state) => Some(TransferFacts { state, bytes: row.get(4)? }),
        None => None,
    })
}

struct Found {
    seq: i64,
    time: i64,
    entry: Entry,
}

impl Found {
    /// Of `activities AS a`.
    const COLUMNS: &str = "seq, time, record, transfer, sent, id, type, micros,
         (SELECT text FROM contexts WHERE contexts.id = a.context), client_ip, shape,
         (SELECT text FROM shapes WHERE shapes.id = a.shape)";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (seq, micros) = (row.get(0)?, row.get(1)?);
        let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
        let entry = match Self::activity(row, time)? {
            Ok(activity) => Entry::Activity(activity),
            Err(error) => {
                // One bad row must not hide all others, and must not vanish either.
                let reason = format!("record {seq} cannot be read back: {error}");
                Entry::Gap(Gap { since: time, until: time, count: 1, reason })
            }
        };
        Ok(Self { seq, time: micros, entry })
    }

    fn activity(row: &Row<'_>, time: Timestamp) -> rusqlite::Result<serde_json::Result<Box<Activity>>> {
        let record = row.get_ref(2)?.as_str()?;
        let transfer = transfer(row)?;
        let Some(context) = row.get_ref(8)?.as_str_or_null()? else {
            // Of before there were contexts: the record is whole.
            let whole = serde_json::from_str::<Box<Activity>>(record);
            return Ok(whole.map(|mut activity| {
                activity.transfer = transfer;
                activity
            }));
        };
        let kind = row.get_ref(6)?.as_str()?;
        let Some(kind) = ActivityType::from_name(kind) else {
            return Ok(Err(serde::de::Error::custom(format_args!("unknown activity type {kind:?}"))));
        };
        let (id, micros) = (Uuid::from_bytes(row.get(5)?), row.get(7)?);
        let beside = activity::Row { id, time, kind, micros, transfer };
        let shape = match row.get::<_, Option<i64>>(10)? {
            None => None,
            Some(shape) => match (row.get_ref(11)?.as_str_or_null()?, address_of(row.get_ref(9)?.as_blob()?))
            {
                (Some(text), Some(address)) => Some((text, address)),
                (None, _) => return Ok(Err(serde::de::Error::custom(format_args!("no shape {shape}")))),
                (_, None) => return Ok(Err(serde::de::Error::custom("no address"))),
            },
        };
        Ok(Activity::from_stored(beside, context, shape, record).map(Box::new))
    }
}

#[cfg(test)]
mod tests;
