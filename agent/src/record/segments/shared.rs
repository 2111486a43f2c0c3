//! What records leave to their contexts, read once for all records of a segment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;
use rusqlite::{Connection, OptionalExtension};

use super::{Kind, octets};

/// In the order of [`Kind::OF_CONTEXT`].
type Values = [Option<Vec<u8>>; Kind::OF_CONTEXT.len()];

#[derive(Debug, Default)]
pub(super) struct Shared(HashMap<i64, Values, RandomState>);

impl Shared {
    /// All are absent where there is no such context.
    pub(super) fn of(&mut self, context: i64, connection: &Connection) -> rusqlite::Result<&Values> {
        match self.0.entry(context) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(read(context, connection)?)),
        }
    }
}

fn read(context: i64, connection: &Connection) -> rusqlite::Result<Values> {
    let named = Kind::OF_CONTEXT.map(Kind::name).join(", ");
    let mut values = Values::default();
    connection
        .prepare_cached(&format!("SELECT {named} FROM contexts WHERE id = ?1"))?
        .query_row([context], |row| {
            for (at, (kind, value)) in Kind::OF_CONTEXT.into_iter().zip(&mut values).enumerate() {
                *value = octets(kind, row.get_ref(at)?).map(Into::into);
            }
            Ok(())
        })
        .optional()?;
    Ok(values)
}
