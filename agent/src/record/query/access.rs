//! By which index the rows of a listing are come by. SQLite's statistics are of a sample and do not tell what three records
//! have from what three million have; a few look-ups of bounded length do.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::Filter;
use super::condition::{Key, Range, Where, micros_up};

/// What the bounds below are, smaller in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Fewer rows than this are looked at one by one.
    pub(super) few: usize,
    /// Newest records among which is counted how frequent a key is.
    pub(super) recent: usize,
    /// A log of fewer records than this is read as SQLite likes: whatever that is takes no time.
    pub(super) small: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { few: 2000, recent: 5000, small: 20_000 }
    }
}

/// How the rows of one condition are come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// As SQLite likes.
    Free,
    /// By their numbers, in the order of writing.
    Written,
    /// All of them, newest first.
    Time,
    /// By the key with this number, which few rows have.
    Few(usize),
    /// By the key with this number, which many rows have: of these only those are looked at whose other keys match, which
    /// their indexes tell.
    Many(usize),
}

/// How a listing is read.
#[derive(Debug)]
pub(super) enum Plan {
    /// Each of the alternatives in its way.
    Alternatives(Vec<(Where, Access)>),
    /// These rows, by time and number, newest first, as far as they match.
    Rows(Where, Vec<(i64, i64)>),
}

impl Plan {
    pub(super) fn of(filter: &Filter, connection: &Connection, bounds: Bounds) -> rusqlite::Result<Self> {
        let alternatives = Where::alternatives(filter);
        let records: u64 = connection.query_row("SELECT records FROM log", [], |row| row.get(0))?;
        if records < bounds.small {
            return Ok(Self::Alternatives(alternatives.into_iter().map(|one| (one, Access::Free)).collect()));
        }
        let ask = Ask {
            connection,
            since: filter.since.map_or(i64::MIN, micros_up),
            until: filter.until.map_or(i64::MAX, |until| until.as_microsecond()),
            bounds,
        };
        let mut planned = Vec::new();
        for one in alternatives {
            let access = match ask.fewest(&one.keys)? {
                Some(key) => Access::Few(key),
                None => ask.all_there_is(filter)?,
            };
            planned.push((one, access));
        }
        if planned.iter().all(|(_, access)| matches!(access, Access::Few(_) | Access::Time)) {
            return Ok(Self::Alternatives(planned));
        }
        let whole = Where::of(filter);
        for range in &whole.ranges {
            if let Some(rows) = ask.rows(range)? {
                return Ok(Self::Rows(whole, rows));
            }
        }
        for (one, access) in planned.iter_mut().filter(|(_, access)| *access == Access::Free) {
            *access = ask.rarest(&one.keys)?.map_or(Access::Time, Access::Many);
        }
        Ok(Self::Alternatives(planned))
    }
}

struct Ask<'a> {
    connection: &'a Connection,
    since: i64,
    until: i64,
    bounds: Bounds,
}

impl Ask<'_> {
    /// The key that the fewest rows of the time asked for have, if they are few.
    fn fewest(&self, keys: &[Key]) -> rusqlite::Result<Option<usize>> {
        let mut fewest = None;
        for (at, key) in keys.iter().enumerate() {
            let count = self.count(key, self.since, self.bounds.few)?;
            if count < self.bounds.few && fewest.is_none_or(|(least, _)| count < least) {
                fewest = Some((count, at));
            }
        }
        Ok(fewest.map(|(_, at)| at))
    }

    /// By time, where the time asked for has few rows.
    fn all_there_is(&self, filter: &Filter) -> rusqlite::Result<Access> {
        if filter.since.is_none() {
            return Ok(Access::Free);
        }
        let sql = "SELECT count(*) FROM (SELECT 1 FROM activities INDEXED BY activities_time
                   WHERE time BETWEEN ? AND ? LIMIT ?)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let few = self.bounds.few;
        let count: usize = statement.query_row((self.since, self.until, few), |row| row.get(0))?;
        Ok(if count < few { Access::Time } else { Access::Free })
    }

    /// The key that the fewest of the newest rows have.
    fn rarest(&self, keys: &[Key]) -> rusqlite::Result<Option<usize>> {
        if keys.len() < 2 {
            return Ok(keys.first().map(|_| 0));
        }
        let sql = "SELECT time FROM activities INDEXED BY activities_time WHERE time <= ?
                   ORDER BY time DESC LIMIT 1 OFFSET ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let recent = self.bounds.recent;
        let since = statement.query_row((self.until, recent), |row| row.get(0)).optional()?;
        let since = since.unwrap_or(i64::MIN);
        let mut rarest = None;
        for (at, key) in keys.iter().enumerate() {
            let count = self.count(key, since, recent)?;
            if rarest.is_none_or(|(least, _)| count < least) {
                rarest = Some((count, at));
            }
        }
        Ok(rarest.map(|(_, at)| at))
    }

    /// How many rows have the key, counted up to `most`.
    fn count(&self, key: &Key, since: i64, most: usize) -> rusqlite::Result<usize> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM activities INDEXED BY {} WHERE {} AND time BETWEEN ? AND ? LIMIT ?)",
            key.index,
            key.condition("activities")
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row((&key.value, since, self.until, most), |row| row.get(0))
    }

    /// The rows of a range, newest first, if they are few.
    fn rows(&self, range: &Range) -> rusqlite::Result<Option<Vec<(i64, i64)>>> {
        let sql = format!(
            "SELECT time, seq FROM activities INDEXED BY {} WHERE {} LIMIT {}",
            range.index, range.sql, self.bounds.few
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows =
            statement.query_map(params_from_iter(&range.values), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut rows: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
        rows.sort_unstable_by(|a, b| b.cmp(a));
        Ok((rows.len() < self.bounds.few).then_some(rows))
    }
}

impl Where {
    /// What to read from and what must hold, in SQL, and the values in their order.
    pub(super) fn reached(&self, access: Access) -> (String, Vec<Value>) {
        let (index, first) = match access {
            Access::Free => (String::new(), None),
            Access::Written => (" NOT INDEXED".to_owned(), None),
            Access::Time => (" INDEXED BY activities_time".to_owned(), None),
            Access::Few(at) | Access::Many(at) => match self.keys.get(at) {
                Some(key) => (format!(" INDEXED BY {}", key.index), Some(at)),
                None => (String::new(), None),
            },
        };
        let mut sql = format!("activities AS a{index} WHERE {}", self.sql);
        let mut values = self.values.clone();
        for (at, key) in self.keys.iter().enumerate() {
            let told_by_index = matches!(access, Access::Many(_)) && first != Some(at);
            let condition = if told_by_index {
                format!(
                    "EXISTS (SELECT 1 FROM activities AS b INDEXED BY {} WHERE {} AND b.time = a.time AND b.seq = a.seq)",
                    key.index,
                    key.condition("b")
                )
            } else {
                key.condition("a")
            };
            sql.push_str(" AND ");
            sql.push_str(&condition);
            values.push(key.value.clone());
        }
        (sql, values)
    }
}
