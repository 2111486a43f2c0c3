//! The policy sets that decided what stands in the log, each kept once: what `explain` asks again.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

/// Sets that wait for the writer at most: one a reload, of which there are four a second.
const PENDING_MAX: usize = 64;
/// Bytes of sets that are no longer in force; the oldest go first.
const REPLACED_MAX: u64 = 64 << 20;

/// The step that makes the table.
pub(super) const TABLE: &str = "
CREATE TABLE policy_sets (
    id    BLOB PRIMARY KEY,                      -- UUIDv5 of the text
    text  TEXT NOT NULL,                         -- JSON
    until INTEGER                                -- microseconds since 1970 when another took its place; NULL: in force
) STRICT;
";

/// Id and document of a set.
pub(super) type PolicySetText = (Uuid, Arc<str>);

/// Sets on their way to the file. The last one is in force.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Vec<PolicySetText>>);

impl Pending {
    pub(super) fn push(&self, id: Uuid, text: Arc<str>) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= PENDING_MAX {
            pending.remove(0);
        }
        pending.push((id, text));
    }

    fn take(&self) -> Vec<PolicySetText> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The writer's side: what has to be in the file before the next record is.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Not stored yet, and last the one in force.
    sets: Vec<PolicySetText>,
    stored: bool,
}

impl Kept {
    /// The file is another one: it has none of them.
    pub(super) fn forget_file(&mut self) {
        self.stored = false;
    }

    /// Stores what the file lacks; once that has succeeded only the set in force is remembered.
    pub(super) fn store(&mut self, pending: &Pending, connection: &mut Connection) -> rusqlite::Result<()> {
        let new = pending.take();
        if !new.is_empty() {
            self.sets.extend(new);
            self.sets.drain(..self.sets.len().saturating_sub(PENDING_MAX));
            self.stored = false;
        }
        if self.stored || self.sets.is_empty() {
            return Ok(());
        }
        let transaction = connection.transaction()?;
        for (id, text) in &self.sets {
            let now = Timestamp::now().as_microsecond();
            transaction.execute(
                "UPDATE policy_sets SET until = ?2 WHERE until IS NULL AND id <> ?1",
                params![id.as_bytes(), now],
            )?;
            transaction.execute(
                "INSERT INTO policy_sets (id, text, until) VALUES (?1, ?2, NULL)
                 ON CONFLICT (id) DO UPDATE SET until = NULL",
                params![id.as_bytes(), text],
            )?;
        }
        transaction.commit()?;
        self.sets.drain(..self.sets.len() - 1);
        self.stored = true;
        Ok(())
    }
}

/// Deletes the sets of which every record is gone, and the oldest beyond the bound.
pub(super) fn delete_before(connection: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM policy_sets WHERE until < ?1", [before.as_microsecond()])?;
    // Nothing of the text is read for its length.
    connection.execute(
        "DELETE FROM policy_sets WHERE id IN (
             SELECT id FROM (
                 SELECT id, sum(length(CAST(text AS BLOB))) OVER (ORDER BY until DESC, id) AS newer
                 FROM policy_sets WHERE until IS NOT NULL
             ) WHERE newer > ?1)",
        [REPLACED_MAX],
    )?;
    Ok(())
}

/// The document of a set; `None` when it is no longer, or not yet, kept.
pub(super) fn read(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT text FROM policy_sets WHERE id = ?1")?;
    statement.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        connection
    }

    fn ids(connection: &Connection) -> Vec<(u128, bool)> {
        let mut statement =
            connection.prepare("SELECT id, until IS NULL FROM policy_sets ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| {
            let id: Vec<u8> = row.get(0)?;
            Ok((Uuid::from_slice(&id).unwrap().as_u128(), row.get(1)?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn each_set_is_kept_once_and_the_last_is_in_force() {
        let (mut connection, pending, mut kept) = (table(), Pending::default(), Kept::default());
        kept.store(&pending, &mut connection).unwrap();
        assert_eq!(ids(&connection), []);
        pending.push(Uuid::from_u128(1), "one".into());
        pending.push(Uuid::from_u128(2), "two".into());
        kept.store(&pending, &mut connection).unwrap();
        assert_eq!(ids(&connection), [(1, false), (2, true)]);
        pending.push(Uuid::from_u128(1), "one".into());
        kept.store(&pending, &mut connection).unwrap();
        assert_eq!(ids(&connection), [(1, true), (2, false)]);
        assert_eq!(read(&connection, Uuid::from_u128(2)).unwrap().as_deref(), Some("two"));

        // A fresh file gets the set in force again.
        let mut fresh = table();
        kept.store(&pending, &mut fresh).unwrap();
        assert_eq!(ids(&fresh), []);
        kept.forget_file();
        kept.store(&pending, &mut fresh).unwrap();
        assert_eq!(ids(&fresh), [(1, true)]);
    }

    #[test]
    fn sets_go_with_their_records_and_the_oldest_beyond_the_bound() {
        let connection = table();
        let add = |id: u128, length: usize, until: Option<i64>| {
            connection
                .execute(
                    "INSERT INTO policy_sets VALUES (?1, ?2, ?3)",
                    params![Uuid::from_u128(id).as_bytes(), "x".repeat(length), until],
                )
                .unwrap();
        };
        add(1, 10, Some(1_000));
        add(2, (REPLACED_MAX / 2 + 1) as usize, Some(2_000));
        add(3, (REPLACED_MAX / 2) as usize, Some(3_000));
        add(4, REPLACED_MAX as usize + 1, None);
        delete_before(&connection, Timestamp::from_microsecond(1_001).unwrap()).unwrap();
        assert_eq!(ids(&connection), [(3, false), (4, true)]);
    }
}
