//! What many records have in common, stored once: rows of tables of their own, to which the records refer.
//!
//! The writer remembers those it stored last. It forgets all of them at once, so that they come in ages: a record refers to one of
//! the age that it was written in, and what is older than the age of the oldest record can go.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::record::shared::Shared;

/// Records that are looked at for the age of the oldest one that refers to anything: not each of them does.
const LOOKED_AT: usize = 1000;

/// A part of records that has a table, of which `id` is the key, and `age` the id of the first one of the same age.
pub(super) trait Part: PartialEq + Serialize {
    const TABLE: &'static str;
    /// The column of `activities` that refers to it.
    const COLUMN: &'static str;
    /// How many an age has at most.
    const AGE_MAX: usize;

    /// Adds a row; `text` is the JSON of it.
    fn insert(&self, age: i64, text: &str, connection: &Connection) -> rusqlite::Result<()>;
}

/// What the writer knows to be in the file.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// By the hash.
    known: HashMap<u64, (i64, Arc<Shared<T>>)>,
    age: i64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), age: 0 }
    }
}

impl<T: Part> Kept<T> {
    /// What was stored last may not be in the file.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// The id of a part, which is stored if it is new.
    pub(super) fn of(&mut self, shared: &Arc<Shared<T>>, connection: &Connection) -> rusqlite::Result<i64> {
        if let Some((id, known)) = self.known.get(&shared.hash)
            && (Arc::ptr_eq(known, shared) || known == shared)
        {
            return Ok(*id);
        }
        if self.known.len() >= T::AGE_MAX {
            self.known.clear();
        }
        if self.known.is_empty() {
            let next = format!("SELECT ifnull(max(id), 0) + 1 FROM {}", T::TABLE);
            self.age = connection.query_row(&next, [], |row| row.get(0))?;
        }
        let text = serde_json::to_string(&shared.value)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        shared.value.insert(self.age, &text, connection)?;
        let id = connection.last_insert_rowid();
        self.known.insert(shared.hash, (id, Arc::clone(shared)));
        Ok(id)
    }
}

/// Deletes the rows of ages before that of the oldest record. Where the oldest ones refer to none, as those of before there was
/// the table, it keeps all of them.
pub(super) fn delete_unused<T: Part>(connection: &Connection) -> rusqlite::Result<()> {
    let (table, column) = (T::TABLE, T::COLUMN);
    let oldest = format!(
        "SELECT {column} FROM (SELECT {column} FROM activities ORDER BY seq LIMIT {LOOKED_AT})
         WHERE {column} IS NOT NULL LIMIT 1"
    );
    let Some(oldest) = connection.query_row(&oldest, [], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(());
    };
    let sql = format!("DELETE FROM {table} WHERE id < (SELECT age FROM {table} WHERE id = ?1)");
    connection.execute(&sql, [oldest]).map(drop)
}

#[cfg(test)]
mod tests {
    use rusqlite::params;
    use uuid::Uuid;

    use super::*;
    use crate::activity::tests::sample;
    use crate::activity::{Context, Shape};
    use crate::record::schema;

    fn log() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        connection
    }

    fn shared(hash: u64) -> Arc<Shared<Context>> {
        let mut activity = sample();
        activity.user.name = Some(hash.to_string().into());
        Arc::new(Shared { hash, value: activity.into_parts().1 })
    }

    fn shape(hash: u64) -> Arc<Shared<Shape>> {
        let mut activity = sample();
        activity.request.host = Some(hash.to_string().into());
        Arc::new(Shared { hash, value: activity.into_parts().2.split().0 })
    }

    /// A record that refers to this one, if to any.
    fn refer<T: Part>(id: Option<i64>, connection: &Connection) {
        let sql = format!(
            "INSERT INTO activities (id, time, type, action, app, device, client_ip, record, {})
             VALUES (?1, 1, '', '', '', '', x'', '', ?2)",
            T::COLUMN
        );
        connection.execute(&sql, params![Uuid::now_v7().as_bytes(), id]).unwrap();
    }

    /// Id and age of each.
    fn rows<T: Part>(connection: &Connection) -> Vec<(i64, i64)> {
        let mut statement =
            connection.prepare(&format!("SELECT id, age FROM {} ORDER BY id", T::TABLE)).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn go_with_the_last_record_of_their_age<T: Part>(part: fn(u64) -> Arc<Shared<T>>) {
        let connection = log();
        let mut kept = Kept::default();
        let add = |kept: &mut Kept<T>, hash| {
            refer::<T>(Some(kept.of(&part(hash), &connection).unwrap()), &connection)
        };
        let is_there = |expected: &[(i64, i64)], why: &str| {
            delete_unused::<T>(&connection).unwrap();
            assert_eq!(rows::<T>(&connection), expected, "{why}");
        };
        let of_two_ages = [(1, 1), (2, 1), (3, 3), (4, 3)];
        // One of before there was the table.
        refer::<T>(None, &connection);
        for hash in [1, 2] {
            add(&mut kept, hash);
        }
        kept.forget();
        for hash in [2, 1, 2] {
            add(&mut kept, hash);
        }
        is_there(&of_two_ages, "each is of some record");
        connection.execute("DELETE FROM activities WHERE seq <= 2", []).unwrap();
        is_there(&of_two_ages, "the record left is of the first age");
        connection.execute("DELETE FROM activities WHERE seq = 3", []).unwrap();
        is_there(&of_two_ages[2..], "none is of the first age");
        connection.execute("DELETE FROM activities", []).unwrap();
        is_there(&of_two_ages[2..], "without a record nothing says what is old");
        kept.forget();
        add(&mut kept, 1);
        is_there(&[(5, 5)], "no id is used twice");
    }

    #[test]
    fn parts_go_with_the_last_record_of_their_age() {
        go_with_the_last_record_of_their_age(shared);
        go_with_the_last_record_of_their_age(shape);
    }

    #[test]
    fn records_that_refer_to_none_keep_all_if_there_are_many() {
        let connection = log();
        let mut kept = Kept::default();
        for hash in [1, 2] {
            kept.forget();
            kept.of(&shape(hash), &connection).unwrap();
        }
        (0..LOOKED_AT).for_each(|_| refer::<Shape>(None, &connection));
        refer::<Shape>(Some(2), &connection);
        delete_unused::<Shape>(&connection).unwrap();
        assert_eq!(rows::<Shape>(&connection), [(1, 1), (2, 2)]);
        connection.execute("DELETE FROM activities WHERE seq = 1", []).unwrap();
        delete_unused::<Shape>(&connection).unwrap();
        assert_eq!(rows::<Shape>(&connection), [(2, 2)]);
    }

    #[test]
    fn an_age_has_an_end() {
        let connection = log();
        let mut kept = Kept::default();
        for n in 0..=Context::AGE_MAX {
            kept.of(&shared(n as u64), &connection).unwrap();
        }
        assert_eq!(kept.known.len(), 1);
        let last = Context::AGE_MAX as i64 + 1;
        assert_eq!(rows::<Context>(&connection).last(), Some(&(last, last)));
    }
}
