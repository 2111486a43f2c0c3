//! What filters ask of records, by columns: some thousand records that were written one after the other are a segment, and of
//! each segment every column is one value, a few octets a record. A filter reads the columns that it asks about and knows by
//! them which records may match; the records themselves say whether they do.
//!
//! An index of the table for each column would find a rare value sooner, but every record would have to be sorted into every one
//! of them, which takes several times what storing it takes; and filters that many records meet each, and few together, would still
//! have to look at many. Records behind the last segment are looked at one by one.

mod column;
mod mask;
mod numbers;
mod shared;

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use column::Builder;
pub(super) use column::{Column, Value};
pub(super) use mask::Mask;
pub(super) use numbers::read as numbers;
use shared::Shared;

use super::contexts;

/// Records of a segment. The more, the fewer segments there are to look at, and the more records behind the last one.
pub const RECORDS: usize = 4096;

/// The step that makes the tables.
pub(super) const TABLES: &str = "
CREATE TABLE segments (
    first   INTEGER PRIMARY KEY,                 -- seq of its first record and of its last
    last    INTEGER NOT NULL,
    records INTEGER NOT NULL,
    since   INTEGER NOT NULL,                    -- microseconds since 1970: earliest and latest record
    until   INTEGER NOT NULL
) STRICT;
CREATE TABLE columns (
    place INTEGER PRIMARY KEY,                   -- kind << 56 | first of the segment
    data  BLOB    NOT NULL
) STRICT;
";

/// What segments took the place of. A log of before has them until all of its records are in segments.
const OLD_INDEXES: [&str; 9] = [
    "activities_app",
    "activities_user",
    "activities_action",
    "activities_policy",
    "activities_type",
    "activities_suite",
    "activities_file",
    "activities_ip",
    "activities_device",
];

/// A column. The numbers are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Distances from the earliest, in microseconds.
    Time = 0,
    /// Distances from the first number, where some number between is no record's.
    Seq = 1,
    Type = 2,
    Action = 3,
    App = 4,
    Suite = 5,
    User = 6,
    /// Eight octets, big-endian.
    Uid = 7,
    Device = 8,
    /// Four or sixteen octets.
    Address = 9,
    Policy = 10,
    /// In lower case, as far as it is ASCII.
    File = 11,
}

/// Bits of a record's number in the place of a column. One number is all that finds it: SQLite reads a key of two parts together
/// with what lies behind them.
const SEQ_BITS: u32 = 56;

impl Kind {
    /// Those that have values.
    const VALUES: [Self; 10] = [
        Self::Type,
        Self::Action,
        Self::App,
        Self::Suite,
        Self::User,
        Self::Uid,
        Self::Device,
        Self::Address,
        Self::Policy,
        Self::File,
    ];

    /// Those that a record leaves to its context.
    const OF_CONTEXT: [Self; 7] =
        [Self::Action, Self::App, Self::Suite, Self::User, Self::Uid, Self::Device, Self::Policy];

    /// What SQL calls its value of a record.
    pub(super) fn sql(self) -> String {
        if Self::OF_CONTEXT.contains(&self) { contexts::column(self.name()) } else { self.name().to_owned() }
    }

    /// Its name in the table of the records.
    const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Seq => "seq",
            Self::Type => "type",
            Self::Action => "action",
            Self::App => "app",
            Self::Suite => "suite",
            Self::User => "user",
            Self::Uid => "uid",
            Self::Device => "device",
            Self::Address => "client_ip",
            Self::Policy => "policy",
            Self::File => "file",
        }
    }

    const fn place(self, segment: i64) -> i64 {
        (self as i64) << SEQ_BITS | segment
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) records: usize,
    pub(super) since: i64,
    pub(super) until: i64,
}

impl Segment {
    const COLUMNS: &str = "first, last, records, since, until";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let [first, last, since, until] = [row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?];
        Ok(Self { first, last, records: row.get(2)?, since, until })
    }

    /// Calls `with` with a column. `None` when it is not there: the segment was deleted meanwhile.
    pub(super) fn column<T>(
        &self,
        kind: Kind,
        connection: &Connection,
        with: impl FnOnce(&[u8]) -> T,
    ) -> rusqlite::Result<Option<T>> {
        connection
            .prepare_cached("SELECT data FROM columns WHERE place = ?1")?
            .query_row([kind.place(self.first)], |row| Ok(with(row.get_ref(0)?.as_blob()?)))
            .optional()
    }

    /// Times of the records, in the order of writing. `None` when they are not there.
    pub(super) fn times(&self, connection: &Connection) -> rusqlite::Result<Option<Vec<i64>>> {
        let times = self.column(Kind::Time, connection, |data| numbers(data, self.since, self.records))?;
        Ok(times.flatten())
    }

    /// Numbers of the records, in the order of writing. `None` when they are not there.
    pub(super) fn seqs(&self, connection: &Connection) -> rusqlite::Result<Option<Vec<i64>>> {
        if is_whole(self.first, self.last, self.records) {
            return Ok(Some((self.first..=self.last).collect()));
        }
        let seqs = self.column(Kind::Seq, connection, |data| numbers(data, self.first, self.records))?;
        Ok(seqs.flatten())
    }
}

/// Whether every number from `first` to `last` is a record's.
fn is_whole(first: i64, last: i64, records: usize) -> bool {
    last.checked_sub(first)
        .is_some_and(|distance| usize::try_from(distance).is_ok_and(|distance| distance + 1 == records))
}

/// A value as a column has it.
fn octets(kind: Kind, value: ValueRef<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        ValueRef::Text(text) if kind == Kind::File => Some(text.to_ascii_lowercase().into()),
        ValueRef::Text(octets) | ValueRef::Blob(octets) => Some(octets.into()),
        ValueRef::Integer(number) => Some(number.to_be_bytes().to_vec().into()),
        ValueRef::Null | ValueRef::Real(_) => None,
    }
}

/// All segments in the order of writing, and the number of the last record that is in one.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<(Vec<Segment>, i64)> {
    let sql = format!("SELECT {} FROM segments ORDER BY first", Segment::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let segments: Vec<Segment> = statement.query_map([], Segment::read)?.collect::<rusqlite::Result<_>>()?;
    let last = segments.last().map_or(0, |segment| segment.last);
    Ok((segments, last))
}

/// Makes a segment of the next `size` records. `false` when there are not so many.
pub(super) fn make(size: usize, connection: &mut Connection) -> rusqlite::Result<bool> {
    // Asked at each turn of the writer: each is a look at one end of a table.
    let mut ends = connection.prepare_cached(
        "SELECT (SELECT min(seq) FROM activities), (SELECT max(seq) FROM activities),
                (SELECT last FROM segments ORDER BY first DESC LIMIT 1)",
    )?;
    let [oldest, newest, last]: [Option<i64>; 3] =
        ends.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    drop(ends);
    let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(false) };
    let last = last.unwrap_or(0).max(oldest - 1);
    // By their numbers, of which few are no record's: a segment may come out smaller, never empty.
    let behind = newest - last;
    if usize::try_from(behind).map_or(true, |behind| behind < size) {
        return Ok(false);
    }
    let transaction = connection.transaction()?;
    // With the place of each in what a record leaves to its context.
    let mut columns = Kind::VALUES.map(|kind| {
        let of_context = Kind::OF_CONTEXT.iter().position(|other| *other == kind);
        (kind, of_context, Builder::default())
    });
    let (mut seqs, mut times) = (Vec::with_capacity(size), Vec::with_capacity(size));
    {
        let named = Kind::VALUES.map(Kind::name).join(", ");
        let sql = format!(
            "SELECT seq, time, action = '', context, {named} FROM activities WHERE seq > ?1 ORDER BY seq LIMIT ?2"
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query((last, size))?;
        let mut shared = Shared::default();
        while let Some(row) = rows.next()? {
            seqs.push(row.get(0)?);
            times.push(row.get(1)?);
            let context = if row.get(2)? { Some(shared.of(row.get(3)?, &transaction)?) } else { None };
            for (at, (kind, of_context, column)) in columns.iter_mut().enumerate() {
                match context.zip(*of_context) {
                    Some((context, place)) => column.push(context.get(place).and_then(Option::as_deref)),
                    None => column.push(octets(*kind, row.get_ref(at + 4)?).as_deref()),
                }
            }
        }
    }
    let extremes = |numbers: &[i64]| numbers.iter().copied().min().zip(numbers.iter().copied().max());
    let (Some((first, last)), Some((since, until))) = (extremes(&seqs), extremes(&times)) else {
        return Ok(false);
    };
    transaction
        .prepare_cached(
            "INSERT INTO segments (first, last, records, since, until) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![first, last, seqs.len(), since, until])?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO columns (place, data) VALUES (?1, ?2)")?;
        let mut insert = |kind: Kind, data: Vec<u8>| insert.execute(params![kind.place(first), data]);
        insert(Kind::Time, numbers::write(&times, since))?;
        if !is_whole(first, last, seqs.len()) {
            insert(Kind::Seq, numbers::write(&seqs, first))?;
        }
        for (kind, _, column) in columns {
            insert(kind, column.finish())?;
        }
    }
    transaction.commit()?;
    Ok(true)
}

/// Deletes the segments of which no record is left.
pub(super) fn delete_unused(connection: &Connection) -> rusqlite::Result<()> {
    let gone = "last < (SELECT ifnull(min(seq), 9223372036854775807) FROM activities)";
    let Some(end) =
        connection.query_row(&format!("SELECT max(first) FROM segments WHERE {gone}"), [], |row| {
            row.get::<_, Option<i64>>(0)
        })?
    else {
        return Ok(());
    };
    for kind in Kind::VALUES.into_iter().chain([Kind::Time, Kind::Seq]) {
        connection
            .prepare_cached("DELETE FROM columns WHERE place BETWEEN ?1 AND ?2")?
            .execute((kind.place(0), kind.place(end)))?;
    }
    connection.execute("DELETE FROM segments WHERE first <= ?1", [end]).map(drop)
}

/// Drops one of the indexes of before there were segments. `false` when none is left.
pub(super) fn drop_old_index(connection: &Connection) -> rusqlite::Result<bool> {
    let names = OLD_INDEXES.map(|name| format!("'{name}'")).join(", ");
    let sql = format!("SELECT name FROM sqlite_schema WHERE type = 'index' AND name IN ({names}) LIMIT 1");
    match connection.query_row(&sql, [], |row| row.get::<_, String>(0)).optional()? {
        Some(name) => connection.execute_batch(&format!("DROP INDEX {name}")).map(|()| true),
        None => Ok(false),
    }
}
