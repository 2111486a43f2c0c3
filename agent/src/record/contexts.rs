//! The table of contexts: what records have in common of who did what, and the columns in which filters find it.

use rusqlite::{Connection, params};

use crate::activity::Context;
use crate::record::parts::Part;

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

impl Part for Context {
    const TABLE: &'static str = "contexts";
    const COLUMN: &'static str = "context";
    /// Each of one or two KiB: users times apps times processes that are in use at one time.
    const AGE_MAX: usize = 2048;

    fn insert(&self, age: i64, text: &str, connection: &Connection) -> rusqlite::Result<()> {
        let Self { app, user, device, decision, .. } = self;
        let into = "INSERT INTO contexts (age, text, action, app, suite, user, uid, device, policy)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        connection
            .prepare_cached(into)?
            .execute(params![
                age,
                text,
                decision.action.name(),
                app.id,
                app.suite,
                user.name,
                user.uid,
                device.id,
                decision.policy
            ])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::sample;
    use crate::record::activity_log::ActivityLog;
    use crate::record::activity_log::tests::read;
    use crate::record::schema;

    const SOON: Duration = Duration::from_secs(20);

    fn record(user: &str, micros: u64) -> Activity {
        let mut activity = Activity { id: Uuid::now_v7(), ..sample() };
        activity.user.name = Some(user.into());
        activity.decision.micros = micros;
        activity
    }

    /// In the order of writing.
    fn written(path: &Path) -> Vec<Activity> {
        let (mut found, gaps) = read(path);
        assert_eq!(gaps, []);
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
        assert_eq!(self::written(&path), written);
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
        assert_eq!(written(&path), [whole, after]);
    }
}
