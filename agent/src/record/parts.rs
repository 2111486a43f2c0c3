//! What many records have in common, stored once: rows of tables of their own, to which the records refer.
//!
//! The writer remembers those it stored last. It forgets all of them at once, so that they come in ages: a record refers to one of
//! the age that it was written in, and what is older than the age of the oldest record can go.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::record::common::Common;

/// Octets of JSON that those of one age have, but for the last one.
const AGE_OCTETS: usize = 2 << 20;
/// Of a log whose size is bounded, the part that those of one age may take, so that an age goes with few records.
const SHARE: u64 = 16;
/// Records that are looked at for the age of the oldest one that refers to anything: not each of them does.
const LOOKED_AT: usize = 1000;
/// Rows deleted at a time, so that records do not wait long behind them.
const DELETED_AT_ONCE: usize = 4000;

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

/// Octets of JSON of one age, in a log of at most `max_size` octets.
pub(super) fn octets_within(max_size: Option<u64>) -> usize {
    let share = max_size.map_or(usize::MAX, |max| usize::try_from(max / SHARE).unwrap_or(usize::MAX));
    share.min(AGE_OCTETS)
}

/// What the writer knows to be in the file.
#[derive(Debug)]
pub(super) struct Parts<T> {
    /// By the hash.
    known: HashMap<u64, (i64, Arc<Common<T>>)>,
    age: i64,
    /// Octets of JSON that those of this age have.
    octets: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), age: 0, octets: 0 }
    }
}

impl<T: Part> Parts<T> {
    /// What was stored last may not be in the file.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.octets = 0;
    }

    /// The id of a part, which is stored if it is new: in a new age when this one has so many octets.
    pub(super) fn of(
        &mut self,
        common: &Arc<Common<T>>,
        octets_max: usize,
        connection: &Connection,
    ) -> rusqlite::Result<i64> {
        if let Some((id, known)) = self.known.get(&common.hash)
            && (Arc::ptr_eq(known, common) || known == common)
        {
            return Ok(*id);
        }
        if self.known.len() >= T::AGE_MAX || self.octets >= octets_max {
            self.forget();
        }
        if self.known.is_empty() {
            let next = format!("SELECT ifnull(max(id), 0) + 1 FROM {}", T::TABLE);
            self.age = connection.query_row(&next, [], |row| row.get(0))?;
        }
        let text = serde_json::to_string(&common.value)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        common.value.insert(self.age, &text, connection)?;
        self.octets += text.len();
        let id = connection.last_insert_rowid();
        self.known.insert(common.hash, (id, Arc::clone(common)));
        Ok(id)
    }

    /// Deletes rows of ages before that of the oldest record, some at a time; all, where no record is left. Where the oldest ones
    /// refer to none, as those of before there was the table, it keeps all of them. `true` when there may be more to delete.
    pub(super) fn delete_unused(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let (table, column) = (T::TABLE, T::COLUMN);
        let oldest = format!(
            "SELECT {column} FROM (SELECT seq, {column} FROM activities ORDER BY seq LIMIT {LOOKED_AT})
             ORDER BY {column} IS NULL, seq LIMIT 1"
        );
        let before = match connection.query_row(&oldest, [], |row| row.get::<_, Option<i64>>(0)).optional()? {
            None => {
                self.forget();
                Some(i64::MAX)
            }
            Some(None) => None,
            Some(Some(oldest)) => {
                let age = format!("SELECT age FROM {table} WHERE id = ?1");
                connection.query_row(&age, [oldest], |row| row.get(0)).optional()?
            }
        };
        let Some(before) = before else { return Ok(false) };
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id < ?1 LIMIT {DELETED_AT_ONCE})"
        );
        Ok(connection.execute(&sql, [before])? == DELETED_AT_ONCE)
    }
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

    fn shared(hash: u64) -> Arc<Common<Context>> {
        let mut activity = sample();
        activity.user.name = Some(hash.to_string().into());
        Arc::new(Common { hash, value: activity.into_parts().1 })
    }

    fn shape(hash: u64) -> Arc<Common<Shape>> {
        let mut activity = sample();
        activity.request.host = Some(hash.to_string().into());
        Arc::new(Common { hash, value: activity.into_parts().2.split().0 })
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

    fn go_with_the_last_record_of_their_age<T: Part>(part: fn(u64) -> Arc<Common<T>>) {
        let connection = log();
        let mut parts = Parts::default();
        let add = |parts: &mut Parts<T>, hash| {
            refer::<T>(Some(parts.of(&part(hash), AGE_OCTETS, &connection).unwrap()), &connection)
        };
        let is_there = |parts: &mut Parts<T>, expected: &[(i64, i64)], why: &str| {
            parts.delete_unused(&connection).unwrap();
            assert_eq!(rows::<T>(&connection), expected, "{why}");
        };
        let of_two_ages = [(1, 1), (2, 1), (3, 3), (4, 3)];
        // One of before there was the table.
        refer::<T>(None, &connection);
        for hash in [1, 2] {
            add(&mut parts, hash);
        }
        parts.forget();
        for hash in [2, 1, 2] {
            add(&mut parts, hash);
        }
        is_there(&mut parts, &of_two_ages, "each is of some record");
        connection.execute("DELETE FROM activities WHERE seq <= 2", []).unwrap();
        is_there(&mut parts, &of_two_ages, "the record left is of the first age");
        connection.execute("DELETE FROM activities WHERE seq = 3", []).unwrap();
        is_there(&mut parts, &of_two_ages[2..], "none is of the first age");
        connection.execute("DELETE FROM activities", []).unwrap();
        is_there(&mut parts, &[], "nothing refers to any");
        add(&mut parts, 2);
        is_there(&mut parts, &[(1, 1)], "what was known went with the rows");
    }

    #[test]
    fn parts_go_with_the_last_record_of_their_age() {
        go_with_the_last_record_of_their_age(shared);
        go_with_the_last_record_of_their_age(shape);
    }

    #[test]
    fn records_that_refer_to_none_keep_all_if_there_are_many() {
        let connection = log();
        let mut parts = Parts::default();
        for hash in [1, 2] {
            parts.forget();
            parts.of(&shape(hash), AGE_OCTETS, &connection).unwrap();
        }
        (0..LOOKED_AT).for_each(|_| refer::<Shape>(None, &connection));
        refer::<Shape>(Some(2), &connection);
        parts.delete_unused(&connection).unwrap();
        assert_eq!(rows::<Shape>(&connection), [(1, 1), (2, 2)]);
        connection.execute("DELETE FROM activities WHERE seq = 1", []).unwrap();
        parts.delete_unused(&connection).unwrap();
        assert_eq!(rows::<Shape>(&connection), [(2, 2)]);
    }

    #[test]
    fn an_age_has_an_end() {
        let connection = log();
        let mut parts = Parts::default();
        for n in 0..=Context::AGE_MAX {
            parts.of(&shared(n as u64), AGE_OCTETS, &connection).unwrap();
        }
        assert_eq!(parts.known.len(), 1);
        let last = Context::AGE_MAX as i64 + 1;
        assert_eq!(rows::<Context>(&connection).last(), Some(&(last, last)));
        // By its octets, which are those of four of these and a little more.
        let each = serde_json::to_string(&shape(10).value).unwrap().len();
        let (mut parts, most) = (Parts::default(), each * 4 + 1);
        for n in 10..21 {
            parts.of(&shape(n), most, &connection).unwrap();
        }
        let ages: Vec<_> = rows::<Shape>(&connection).into_iter().map(|(_, age)| age).collect();
        assert_eq!(ages, [1, 1, 1, 1, 1, 6, 6, 6, 6, 6, 11]);
        assert_eq!(
            [Some(1 << 20), Some(1 << 40), None].map(octets_within),
            [1 << 16, AGE_OCTETS, AGE_OCTETS]
        );
    }
}
