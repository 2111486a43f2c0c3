//! How apps were used, and which hosts beside them no app owns, as the database has it.

use jiff::Timestamp;
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{QueryError, Reader};

/// One app's use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub app: String,
    /// The first inspected connection.
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// Inspected connections.
    pub sessions: u64,
    /// Users within the retention.
    pub users: u64,
    pub downloads_allowed: u64,
    pub downloads_blocked: u64,
}

/// A host that no app owned when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    pub domain: String,
    /// Id of the app beside which it was seen.
    pub app: String,
    /// `referrer`, `redirect` or `sign-in`.
    pub via: String,
    pub count: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

impl Reader {
    /// Every app that was ever connected.
    pub fn usage(&self) -> Result<Vec<Usage>, QueryError> {
        let read = |row: &Row<'_>| {
            Ok(Usage {
                app: row.get(0)?,
                first_seen: time(row, 1)?,
                last_seen: time(row, 2)?,
                sessions: row.get(3)?,
                users: row.get(4)?,
                downloads_allowed: row.get(5)?,
                downloads_blocked: row.get(6)?,
            })
        };
        self.all(
            "SELECT id, first_seen, last_seen, sessions, (SELECT count(*) FROM app_users WHERE app = id),
                 allowed, blocked
             FROM apps ORDER BY id",
            read,
        )
    }

    /// Hosts that no app owned, most seen first.
    pub fn discovered(&self) -> Result<Vec<Discovered>, QueryError> {
        let read = |row: &Row<'_>| {
            Ok(Discovered {
                domain: row.get(0)?,
                app: row.get(1)?,
                via: row.get(2)?,
                count: row.get(3)?,
                first_seen: time(row, 4)?,
                last_seen: time(row, 5)?,
            })
        };
        self.all(
            "SELECT domain, app, via, count, first_seen, last_seen FROM discovered
             ORDER BY count DESC, domain, app, via",
            read,
        )
    }

    fn all<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, QueryError> {
        let rows =
            || -> rusqlite::Result<Vec<T>> { self.connection.prepare(sql)?.query_map([], read)?.collect() };
        rows().map_err(|source| self.unreadable(source))
    }
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get(at).map(|micros| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH))
}
