//! How much of what was recorded: counts by time and action, by app, user and policy, all from indexes alone.

use jiff::Timestamp;
use rusqlite::params;

use super::usage::time;
use super::{QueryError, Reader, micros_up};

/// Names that one count goes through at most: as many as the log keeps users of.
const NAMES_MAX: u64 = 65_536;
/// Blocks that are looked at for their files, newest first.
const BLOCKS_MAX: u64 = 20_000;
/// Columns of a plot at most.
pub const SLOTS_MAX: usize = 400;

/// A stretch of time, from `since` on and before `until`, in slots of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: Timestamp,
    pub until: Timestamp,
    pub slots: usize,
}

/// Activities by action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Actions {
    pub allow: u64,
    pub monitor: u64,
    pub block: u64,
}

impl Actions {
    pub const fn sum(self) -> u64 {
        self.allow + self.monitor + self.block
    }
}

/// What is counted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    App,
    User,
    Policy,
}

/// A name, and how often it is in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub name: String,
    pub count: u64,
    /// Of all of the log.
    pub last: Timestamp,
}

/// A file that was blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedFile {
    pub file: String,
    pub app: String,
    pub count: u64,
    pub last: Timestamp,
}

impl Window {
    fn micros(self) -> (i64, i64) {
        (micros_up(self.since), micros_up(self.until))
    }
}

impl Reader {
    /// Activities of each slot of the window.
    pub fn activities_over_time(&self, window: Window) -> Result<Vec<Actions>, QueryError> {
        let slots = window.slots.clamp(1, SLOTS_MAX);
        let (since, until) = window.micros();
        // Rounded up, so that the last moment of the window is in the last slot.
        let width = ((until - since).max(1) as u64).div_ceil(slots as u64) as i64;
        let count = |action: &str| -> rusqlite::Result<Vec<u64>> {
            let mut counts = vec![0; slots];
            let mut statement = self.connection.prepare_cached(
                "SELECT (time - ?2) / ?4, count(*) FROM activities INDEXED BY activities_action
                 WHERE action = ?1 AND time >= ?2 AND time < ?3 GROUP BY 1",
            )?;
            let mut rows = statement.query(params![action, since, until, width])?;
            while let Some(row) = rows.next()? {
                if let Some(slot) = counts.get_mut(row.get::<_, usize>(0)?) {
                    *slot = row.get(1)?;
                }
            }
            Ok(counts)
        };
        let all = || -> rusqlite::Result<Vec<Actions>> {
            let slots = count("allow")?.into_iter().zip(count("monitor")?).zip(count("block")?);
            Ok(slots.map(|((allow, monitor), block)| Actions { allow, monitor, block }).collect())
        };
        all().map_err(|source| self.unreadable(source))
    }

    /// The names that are in the window most often, at most `limit` of them.
    pub fn most_seen(&self, by: By, window: Window, limit: usize) -> Result<Vec<Counted>, QueryError> {
        let column = match by {
            By::App => "app",
            By::User => "user",
            By::Policy => "policy",
        };
        let (since, until) = window.micros();
        // From name to name in the index, and of each the part that is in the window: rows are counted, none is read.
        let sql = format!(
            "WITH RECURSIVE names (name) AS (
                 SELECT min({column}) FROM activities INDEXED BY activities_{column} WHERE {column} IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min({column}) FROM activities INDEXED BY activities_{column} WHERE {column} > name)
                 FROM names WHERE name IS NOT NULL LIMIT {NAMES_MAX}),
             counted (name, count) AS (
                 SELECT name, (SELECT count(*) FROM activities INDEXED BY activities_{column}
                     WHERE {column} = name AND time >= ?1 AND time < ?2)
                 FROM names WHERE name IS NOT NULL)
             SELECT name, count, (SELECT max(time) FROM activities INDEXED BY activities_{column} WHERE {column} = name)
             FROM (SELECT name, count FROM counted WHERE count > 0 ORDER BY count DESC, name LIMIT ?3)"
        );
        let rows = || -> rusqlite::Result<Vec<Counted>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Counted { name: row.get(0)?, count: row.get(1)?, last: time(row, 2)? })
            };
            statement.query_map(params![since, until, limit], read)?.collect()
        };
        rows().map_err(|source| self.unreadable(source))
    }

    /// The files that were blocked most often in the window, at most `limit` of them.
    pub fn blocked_files(&self, window: Window, limit: usize) -> Result<Vec<BlockedFile>, QueryError> {
        let (since, until) = window.micros();
        let sql = format!(
            "SELECT file, app, count(*), max(time) FROM (
                 SELECT file, app, time FROM activities INDEXED BY activities_action
                 WHERE action = 'block' AND time >= ?1 AND time < ?2 ORDER BY time DESC LIMIT {BLOCKS_MAX})
             WHERE file IS NOT NULL GROUP BY file, app ORDER BY 3 DESC, 4 DESC LIMIT ?3"
        );
        let rows = || -> rusqlite::Result<Vec<BlockedFile>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok(BlockedFile {
                    file: row.get(0)?,
                    app: row.get(1)?,
                    count: row.get(2)?,
                    last: time(row, 3)?,
                })
            };
            statement.query_map(params![since, until, limit], read)?.collect()
        };
        rows().map_err(|source| self.unreadable(source))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::activity::tests::sample;
    use crate::policy::decision::Action;
    use crate::record::activity_log::ActivityLog;

    const BASE: i64 = 1_700_000_000_000_000;

    #[test]
    fn counts_equal_those_of_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        let at = |micros: i64| Timestamp::from_microsecond(BASE + micros).unwrap();
        for n in 0..600_i64 {
            let mut one = sample();
            one.id = Uuid::now_v7();
            one.time = at(n);
            one.decision.action =
                [Action::Allow, Action::Monitor, Action::Block, Action::Block][n as usize % 4];
            one.app.id = format!("app{}", n % 3).into();
            one.user.name = (n % 5 != 0).then(|| format!("user{}", n % 5).into());
            one.decision.policy = (n % 2 == 0).then(|| "even".into());
            if let Some(file) = &mut one.file {
                file.name = Some(format!("f{}.pdf", n % 7).into());
            }
            log.record(one).unwrap();
        }
        log.flush(std::time::Duration::from_secs(20)).unwrap();
        let reader = Reader::open(&path).unwrap();
        let window = Window { since: at(100), until: at(501), slots: 4 };
        let slots = reader.activities_over_time(window).unwrap();
        assert_eq!(slots.len(), 4);
        // 401 microseconds in slots of 101: 100..=200, 201..=301, 302..=402, 403..=500.
        assert_eq!(slots.iter().map(|slot| slot.sum()).collect::<Vec<_>>(), [101, 101, 101, 98]);
        assert_eq!(slots[0], Actions { allow: 26, monitor: 25, block: 50 });

        let apps = reader.most_seen(By::App, window, 2).unwrap();
        // 102, 105, …, 498 are of app0; of the other two one more.
        assert_eq!(
            apps.iter().map(|app| (&*app.name, app.count)).collect::<Vec<_>>(),
            [("app1", 134), ("app2", 134)]
        );
        assert_eq!(apps[1].last, at(599), "the last of all, and not of the window");
        let users = reader.most_seen(By::User, window, 10).unwrap();
        assert_eq!(users.iter().map(|user| user.count).sum::<u64>(), 320);
        let policies = reader.most_seen(By::Policy, window, 10).unwrap();
        assert_eq!(policies.iter().map(|one| (&*one.name, one.count)).collect::<Vec<_>>(), [("even", 201)]);
        let nobody = Window { since: at(-10), until: at(-5), slots: 3 };
        assert_eq!(reader.most_seen(By::Policy, nobody, 10).unwrap(), []);
        assert_eq!(reader.activities_over_time(nobody).unwrap(), [Actions::default(); 3]);

        let files = reader.blocked_files(window, 100).unwrap();
        assert_eq!(
            files.iter().map(|file| file.count).sum::<u64>(),
            slots.iter().map(|slot| slot.block).sum::<u64>()
        );
        assert!(files.windows(2).all(|pair| pair[0].count >= pair[1].count));
        assert_eq!(reader.blocked_files(window, 3).unwrap(), files[..3]);
    }
}
