//! How much of what was recorded: counts by time and action, by app, user and policy, from the columns of the segments and
//! the records behind the last one.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::candidates::Candidates;
use super::condition::Where;
use super::usage::time;
use super::{QueryError, Reader, micros_up};
use crate::policy::decision::Action;
use crate::record::segments::{self, Column, Kind, Segment, Value};

/// Names that one count goes through at most: as many as the log keeps users of.
const NAMES_MAX: usize = 65_536;
/// Blocks that are looked at for their files, newest first.
const BLOCKS_MAX: usize = 20_000;
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
        let mut slots = Slots::of(window);
        let (segments, last) = self.overlapping(window).map_err(|source| self.unreadable(source))?;
        let count = |slots: &mut Slots| -> rusqlite::Result<()> {
            for segment in &segments {
                slots.add_segment(segment, &self.connection)?;
            }
            let action_of = Kind::Action.sql();
            let sql = format!("SELECT time, {action_of} FROM activities NOT INDEXED WHERE seq > ?1");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([last])?;
            while let Some(row) = rows.next()? {
                slots.add(row.get(0)?, row.get_ref(1)?.as_bytes_or_null()?.and_then(action), 1);
            }
            Ok(())
        };
        count(&mut slots).map_err(|source| self.unreadable(source))?;
        Ok(slots.counts)
    }

    /// The names that are in the window most often, at most `limit` of them.
    pub fn most_seen(&self, by: By, window: Window, limit: usize) -> Result<Vec<Counted>, QueryError> {
        let count = || -> rusqlite::Result<Vec<Counted>> {
            let mut most: Vec<(String, u64)> = self.names(by, window)?.into_iter().collect();
            most.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
            most.truncate(limit);
            let seen = self.last_seen(by, most.iter().map(|(name, _)| name.clone()))?;
            let counted = |(name, count)| {
                let last = seen.get(&name).and_then(|micros| Timestamp::from_microsecond(*micros).ok());
                Counted { name, count, last: last.unwrap_or(Timestamp::UNIX_EPOCH) }
            };
            Ok(most.into_iter().map(counted).collect())
        };
        count().map_err(|source| self.unreadable(source))
    }

    /// The files that were blocked most often in the window, at most `limit` of them.
    pub fn blocked_files(&self, window: Window, limit: usize) -> Result<Vec<BlockedFile>, QueryError> {
        let (since, until) = window.micros();
        let mut blocked = Where::has(Kind::Action, Action::Block.name());
        blocked.within(since, until.saturating_sub(1));
        let rows = || -> rusqlite::Result<Vec<BlockedFile>> {
            let mut candidates = Candidates::of(&blocked, None, &self.connection)?;
            let seqs = candidates.some(BLOCKS_MAX, &self.connection)?;
            let (app, action) = (Kind::App.sql(), Kind::Action.sql());
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT file, {app}, count(*), max(time) FROM activities NOT INDEXED
                 WHERE seq IN (SELECT value FROM json_each(?1)) AND {action} = 'block' AND file IS NOT NULL
                 GROUP BY 1, 2 ORDER BY 3 DESC, 4 DESC LIMIT ?2"
            ))?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok(BlockedFile {
                    file: row.get(0)?,
                    app: row.get(1)?,
                    count: row.get(2)?,
                    last: time(row, 3)?,
                })
            };
            let seqs = serde_json::Value::from(seqs).to_string();
            statement.query_map(params![seqs, limit], read)?.collect()
        };
        rows().map_err(|source| self.unreadable(source))
    }

    /// The segments that records of the window may be in, and the number behind which records are in none.
    fn overlapping(&self, window: Window) -> rusqlite::Result<(Vec<Segment>, i64)> {
        let (since, until) = window.micros();
        let (mut segments, last) = segments::all(&self.connection)?;
        segments.retain(|segment| segment.until >= since && segment.since < until);
        Ok((segments, last))
    }

    /// How often each name is in the window. Names beyond the bound are not counted.
    fn names(&self, by: By, window: Window) -> rusqlite::Result<HashMap<String, u64>> {
        let (since, until) = window.micros();
        let mut names = HashMap::new();
        let mut add = |name: &[u8], count: u64| {
            let Ok(name) = std::str::from_utf8(name) else { return };
            if let Some(known) = names.get_mut(name) {
                *known += count;
            } else if count > 0 && names.len() < NAMES_MAX {
                names.insert(name.to_owned(), count);
            }
        };
        let (segments, last) = self.overlapping(window)?;
        for segment in &segments {
            let is_within = segment.since >= since && segment.until < until;
            let times = if is_within { None } else { segment.times(&self.connection)? };
            segment.column(by.kind(), &self.connection, |data| {
                let Some(column) = Column::read(data, segment.records) else { return };
                let Some(values) = column.values() else { return };
                let mut counts = vec![0; values.len()];
                for (at, code) in column.codes().enumerate() {
                    let time = times.as_ref().and_then(|times| times.get(at));
                    if let Some(count) = counts.get_mut(code)
                        && time.is_none_or(|time| (since..until).contains(time))
                    {
                        *count += 1;
                    }
                }
                for (value, count) in values.into_iter().zip(counts) {
                    if let Value::Is(name) = value {
                        add(name, count);
                    }
                }
            })?;
        }
        let sql = format!(
            "SELECT {0}, count(*) FROM activities NOT INDEXED
             WHERE seq > ?1 AND time >= ?2 AND time < ?3 AND {0} IS NOT NULL GROUP BY 1",
            by.kind().sql()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((last, since, until))?;
        while let Some(row) = rows.next()? {
            add(row.get_ref(0)?.as_bytes()?, row.get(1)?);
        }
        Ok(names)
    }

    /// When each of the names was seen last, in the whole log.
    fn last_seen(
        &self,
        by: By,
        names: impl Iterator<Item = String>,
    ) -> rusqlite::Result<HashMap<String, i64>> {
        let mut seen: HashMap<String, i64> = names.map(|name| (name, i64::MIN)).collect();
        let (mut segments, last) = segments::all(&self.connection)?;
        let sql = format!(
            "SELECT {0}, max(time) FROM activities NOT INDEXED WHERE seq > ?1 AND {0} IS NOT NULL GROUP BY 1",
            by.kind().sql()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            if let Some(known) = seen.get_mut(row.get_ref(0)?.as_str()?) {
                *known = row.get(1)?;
            }
        }
        segments.sort_by_key(|segment| segment.until);
        // Until what is left is older than what is known of each.
        while let Some(segment) = segments.pop_if(|segment| seen.values().any(|known| *known < segment.until))
        {
            let found = segment.column(by.kind(), &self.connection, |data| {
                let column = Column::read(data, segment.records)?;
                // By their codes. Most segments have none that is asked about.
                let names: Vec<Option<String>> = column
                    .values()?
                    .into_iter()
                    .map(|value| match value {
                        Value::Is(name) => std::str::from_utf8(name).ok().map(str::to_owned),
                        _ => None,
                    })
                    .map(|name| {
                        name.filter(|name| seen.get(name).is_some_and(|known| *known < segment.until))
                    })
                    .collect();
                names.iter().any(Option::is_some).then(|| (names, column.codes().collect::<Vec<_>>()))
            })?;
            let Some((names, codes)) = found.flatten() else { continue };
            let Some(times) = segment.times(&self.connection)? else { continue };
            let mut latest = vec![i64::MIN; names.len()];
            for (code, time) in codes.into_iter().zip(times) {
                if let Some(latest) = latest.get_mut(code) {
                    *latest = time.max(*latest);
                }
            }
            for (name, latest) in names.into_iter().zip(latest) {
                if let Some(known) = name.and_then(|name| seen.get_mut(&name)) {
                    *known = latest.max(*known);
                }
            }
        }
        Ok(seen)
    }
}

impl By {
    const fn kind(self) -> Kind {
        match self {
            Self::App => Kind::App,
            Self::User => Kind::User,
            Self::Policy => Kind::Policy,
        }
    }
}

/// Counts of the slots of a window.
struct Slots {
    since: i64,
    until: i64,
    width: i64,
    counts: Vec<Actions>,
}

impl Slots {
    fn of(window: Window) -> Self {
        let slots = window.slots.clamp(1, SLOTS_MAX);
        let (since, until) = window.micros();
        // Rounded up, so that the last moment of the window is in the last slot.
        let width = ((until - since).max(1) as u64).div_ceil(slots as u64) as i64;
        Self { since, until, width, counts: vec![Actions::default(); slots] }
    }

    fn slot(&self, time: i64) -> Option<usize> {
        let is_within = time >= self.since && time < self.until;
        is_within.then(|| usize::try_from((time - self.since) / self.width).ok()).flatten()
    }

    fn add(&mut self, time: i64, action: Option<Action>, count: u64) {
        let Some(actions) = self.slot(time).and_then(|slot| self.counts.get_mut(slot)) else { return };
        match action {
            Some(Action::Allow) => actions.allow += count,
            Some(Action::Monitor) => actions.monitor += count,
            Some(Action::Block) => actions.block += count,
            None => {}
        }
    }

    fn add_segment(&mut self, segment: &Segment, connection: &Connection) -> rusqlite::Result<()> {
        let first = self.slot(segment.since);
        let times = if first.is_some() && first == self.slot(segment.until) {
            // All of them: when each was does not matter.
            None
        } else {
            segment.times(connection)?
        };
        segment.column(Kind::Action, connection, |data| {
            let Some(column) = Column::read(data, segment.records) else { return };
            let Some(values) = column.values() else { return };
            let as_action = |value| if let Value::Is(name) = value { action(name) } else { None };
            let actions: Vec<_> = values.into_iter().map(as_action).collect();
            for (at, code) in column.codes().enumerate() {
                let time = times.as_ref().map_or(Some(segment.since), |times| times.get(at).copied());
                if let Some(time) = time {
                    self.add(time, actions.get(code).copied().flatten(), 1);
                }
            }
        })?;
        Ok(())
    }
}

fn action(name: &[u8]) -> Option<Action> {
    [Action::Allow, Action::Monitor, Action::Block]
        .into_iter()
        .find(|action| action.name().as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::activity::tests::sample;
    use crate::policy::decision::Action;
    use crate::record::activity_log::ActivityLog;
    use crate::record::query::tests::make_segments;

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
            log.record(&one).unwrap();
        }
        log.flush(std::time::Duration::from_secs(20)).unwrap();
        let reader = Reader::open(&path).unwrap();
        for size in [1_000_000, 250, 30, 1] {
            make_segments(&path, size);
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
            assert_eq!(
                policies.iter().map(|one| (&*one.name, one.count)).collect::<Vec<_>>(),
                [("even", 201)]
            );
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
}
