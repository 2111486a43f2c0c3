//! What many records have in common, stored once: a row of its own, to which the records refer.
//!
//! The writer remembers those it stored last. It forgets all of them at once, so that contexts come in ages: a record refers to
//! one of the age that it was written in, and what is older than the age of the oldest record can go.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};

use crate::activity::Context;
use crate::record::shared_context::SharedContext;

/// Contexts of one age, each of one or two KiB: users times apps times processes that are in use at one time.
const AGE_MAX: usize = 2048;

/// The step that makes the table.
pub(super) const TABLE: &str = "
CREATE TABLE contexts (
    id   INTEGER PRIMARY KEY,
    age  INTEGER NOT NULL,                       -- id of the first context of the same age
    text TEXT    NOT NULL                        -- members of the records that refer to it, as JSON
) STRICT;
ALTER TABLE activities ADD COLUMN context INTEGER; -- NULL: the record is whole
ALTER TABLE activities ADD COLUMN micros  INTEGER; -- NULL: the record says it
";

/// The step after which records leave to their context what filters ask of it.
pub(super) const COLUMNS: &str = "
-- NULL in contexts of before, whose records say it themselves; in those since, `action`, `app` and `device` are empty.
ALTER TABLE contexts ADD COLUMN action TEXT;
ALTER TABLE contexts ADD COLUMN app    TEXT;
ALTER TABLE contexts ADD COLUMN suite  TEXT;
ALTER TABLE contexts ADD COLUMN user   TEXT;
ALTER TABLE contexts ADD COLUMN uid    INTEGER;
ALTER TABLE contexts ADD COLUMN device TEXT;
ALTER TABLE contexts ADD COLUMN policy TEXT;
";

/// SQL for what stands in one of those columns, of a row of `activities` or of its context. An action is never empty.
pub(super) fn column(name: &str) -> String {
    format!("iif(action = '', (SELECT contexts.{name} FROM contexts WHERE contexts.id = context), {name})")
}

/// What the writer knows to be in the file.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    /// By the hash.
    known: HashMap<u64, (i64, Arc<SharedContext>)>,
    age: i64,
    json: Vec<u8>,
}

impl Contexts {
    /// What was stored last may not be in the file.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// The id of a context, which is stored if it is new.
    pub(super) fn of(
        &mut self,
        shared: &Arc<SharedContext>,
        connection: &Connection,
    ) -> rusqlite::Result<i64> {
        if let Some((id, known)) = self.known.get(&shared.hash)
            && (Arc::ptr_eq(known, shared) || known == shared)
        {
            return Ok(*id);
        }
        if self.known.len() >= AGE_MAX {
            self.known.clear();
        }
        if self.known.is_empty() {
            let next = "SELECT ifnull(max(id), 0) + 1 FROM contexts";
            self.age = connection.query_row(next, [], |row| row.get(0))?;
        }
        self.json.clear();
        serde_json::to_writer(&mut self.json, &shared.context)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let Context { app, user, device, decision, .. } = &shared.context;
        // JSON is UTF-8.
        let text = ToSqlOutput::Borrowed(ValueRef::Text(&self.json));
        connection
            .prepare_cached(
                "INSERT INTO contexts (age, text, action, app, suite, user, uid, device, policy)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                self.age,
                text,
                decision.action.name(),
                app.id,
                app.suite,
                user.name,
                user.uid,
                device.id,
                decision.policy
            ])?;
        let id = connection.last_insert_rowid();
        self.known.insert(shared.hash, (id, Arc::clone(shared)));
        Ok(id)
    }
}

/// Deletes the contexts of ages before that of the oldest record. A record of before there were contexts keeps all of them, for
/// as long as it is the oldest.
pub(super) fn delete_unused(connection: &Connection) -> rusqlite::Result<()> {
    let oldest = "SELECT context FROM activities ORDER BY seq LIMIT 1";
    let sql = format!("DELETE FROM contexts WHERE id < (SELECT age FROM contexts WHERE id = ({oldest}))");
    connection.execute(&sql, []).map(drop)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::sample;
    use crate::record::Record;
    use crate::record::activity_log::ActivityLog;
    use crate::record::query::{Entry, Filter, Reader};
    use crate::record::schema;

    const SOON: Duration = Duration::from_secs(20);

    fn record(user: &str, micros: u64) -> Activity {
        let mut activity = Activity { id: Uuid::now_v7(), ..sample() };
        activity.user.name = Some(user.into());
        activity.decision.micros = micros;
        activity
    }

    fn read(path: &Path) -> Vec<Activity> {
        let mut found = Vec::new();
        let show = |entry| {
            match entry {
                Entry::Activity(activity) => found.push(*activity),
                Entry::Gap(gap) => panic!("{gap:?}"),
            }
            ControlFlow::Continue(())
        };
        Reader::open(path).unwrap().newest_first(&Filter::default(), show).unwrap();
        found.reverse();
        found
    }

    /// Id and age of each.
    fn contexts(connection: &Connection) -> Vec<(i64, i64)> {
        let mut statement = connection.prepare("SELECT id, age FROM contexts ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn records_that_differ_in_what_is_their_own_share_a_context() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        let written = [record("ada", 1), record("ada", 2), record("bob", 3), record("ada", 4)];
        for activity in &written {
            log.record(activity).unwrap();
        }
        log.flush(SOON).unwrap();
        assert_eq!(read(&path), written);
        assert_eq!(contexts(&Connection::open(&path).unwrap()), [(1, 1), (2, 1)]);
    }

    #[test]
    fn records_of_before_there_were_contexts_are_read_beside_those_of_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let older = Connection::open(&path).unwrap();
        let at = schema::MIGRATIONS.iter().position(|step| *step == TABLE).unwrap();
        for step in &schema::MIGRATIONS[..at] {
            older.execute_batch(step).unwrap();
        }
        older.pragma_update(None, "user_version", at).unwrap();
        let whole = record("ada", 7);
        older
            .execute(
                "INSERT INTO activities (id, time, type, action, app, device, client_ip, record)
                 VALUES (?1, ?2, 'download', 'block', 'slack', 'd', x'7f000001', ?3)",
                params![
                    whole.id.as_bytes(),
                    whole.time.as_microsecond(),
                    serde_json::to_string(&whole).unwrap()
                ],
            )
            .unwrap();
        older.close().unwrap();
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        let after = record("ada", 8);
        log.record(&after).unwrap();
        log.flush(SOON).unwrap();
        assert_eq!(read(&path), [whole, after]);
    }

    #[test]
    fn contexts_go_with_the_last_record_of_their_age() {
        let connection = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        let mut known = Contexts::default();
        let add = |known: &mut Contexts, user: &str| {
            let activity = record(user, 1);
            let context = known.of(&Record::from(&activity).shared, &connection).unwrap();
            connection
                .execute(
                    "INSERT INTO activities (id, time, type, action, app, device, client_ip, record, context)
                     VALUES (?1, 1, '', '', '', '', x'', '', ?2)",
                    params![activity.id.as_bytes(), context],
                )
                .unwrap();
        };
        let of_two_ages = [(1, 1), (2, 1), (3, 3), (4, 3)];
        for user in ["ada", "bob"] {
            add(&mut known, user);
        }
        known.forget();
        for user in ["bob", "ada", "bob"] {
            add(&mut known, user);
        }
        delete_unused(&connection).unwrap();
        assert_eq!(contexts(&connection), of_two_ages);
        connection.execute("DELETE FROM activities WHERE seq = 1", []).unwrap();
        delete_unused(&connection).unwrap();
        assert_eq!(contexts(&connection), of_two_ages, "the second record is of the first age");
        connection.execute("DELETE FROM activities WHERE seq = 2", []).unwrap();
        delete_unused(&connection).unwrap();
        assert_eq!(contexts(&connection), [(3, 3), (4, 3)]);
        connection.execute("DELETE FROM activities", []).unwrap();
        delete_unused(&connection).unwrap();
        known.forget();
        add(&mut known, "ada");
        assert_eq!(contexts(&connection).last(), Some(&(5, 5)), "no id is used twice");
    }

    #[test]
    fn an_age_has_an_end() {
        let connection = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        let mut known = Contexts::default();
        for n in 0..=AGE_MAX {
            known.of(&Record::from(record(&n.to_string(), 1)).shared, &connection).unwrap();
        }
        assert_eq!(known.known.len(), 1);
        let last = AGE_MAX as i64 + 1;
        assert_eq!(contexts(&connection).last(), Some(&(last, last)));
    }
}
