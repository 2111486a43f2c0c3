//! Which records may match a filter, newest first, as the columns of the segments tell. A segment is looked at when everything
//! newer has been shown, so that a listing that is cut at a hundred records does not look at all of them.

use std::collections::BinaryHeap;

use memchr::memmem::Finder;
use rusqlite::{Connection, params_from_iter};

use super::Position;
use super::condition::{Test, Wanted, Where};
use crate::record::segments::{self, Column, Mask, Segment, Value};

#[derive(Debug)]
pub(super) struct Candidates {
    wanted: Where,
    /// Only what is older.
    before: Option<Position>,
    /// Those not yet looked at: the one with the latest record is the last.
    segments: Vec<Segment>,
    /// Time and number of those found.
    found: BinaryHeap<(i64, i64)>,
}

impl Candidates {
    /// What is written from now on is not among them. Records behind the last segment are all looked at here.
    pub(super) fn of(
        wanted: &Where,
        before: Option<Position>,
        connection: &Connection,
    ) -> rusqlite::Result<Self> {
        let (mut segments, last) = segments::all(connection)?;
        segments.retain(|segment| {
            let is_older = before.is_none_or(|before| segment.since <= before.time);
            segment.until >= wanted.since && segment.since <= wanted.until && is_older
        });
        segments.sort_by_key(|segment| segment.until);
        let mut candidates = Self { wanted: wanted.clone(), before, segments, found: BinaryHeap::new() };
        let sql =
            format!("SELECT time, seq FROM activities AS a NOT INDEXED WHERE {} AND seq > ?", wanted.sql);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(wanted.values.iter().chain([&last.into()])))?;
        while let Some(row) = rows.next()? {
            candidates.find(row.get(0)?, row.get(1)?);
        }
        Ok(candidates)
    }

    /// The next one's time and number.
    pub(super) fn next(&mut self, connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
        let newest = |found: &BinaryHeap<(i64, i64)>| found.peek().map(|(time, _)| *time);
        while let Some(segment) =
            self.segments.pop_if(|segment| newest(&self.found).is_none_or(|time| time <= segment.until))
        {
            self.look(&segment, connection)?;
        }
        Ok(self.found.pop())
    }

    /// The numbers of the next ones, `most` of them at most.
    pub(super) fn some(&mut self, most: usize, connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let mut some = Vec::new();
        while some.len() < most
            && let Some((_, seq)) = self.next(connection)?
        {
            some.push(seq);
        }
        Ok(some)
    }

    fn look(&mut self, segment: &Segment, connection: &Connection) -> rusqlite::Result<()> {
        let Some(mask) = mask(&self.wanted.tests, segment, connection)? else { return Ok(()) };
        let Some(times) = segment.times(connection)? else { return Ok(()) };
        let Some(seqs) = segment.seqs(connection)? else { return Ok(()) };
        for at in mask.places() {
            if let (Some(time), Some(seq)) = (times.get(at), seqs.get(at)) {
                self.find(*time, *seq);
            }
        }
        Ok(())
    }

    fn find(&mut self, time: i64, seq: i64) {
        let is_older = self.before.is_none_or(|before| (time, seq) < (before.time, before.seq));
        if is_older && (self.wanted.since..=self.wanted.until).contains(&time) {
            self.found.push((time, seq));
        }
    }
}

/// The records of a segment that may pass all tests. `None` when none does.
fn mask(tests: &[Test], segment: &Segment, connection: &Connection) -> rusqlite::Result<Option<Mask>> {
    let mut all = Mask::all(segment.records);
    for test in tests {
        let mut any = Mask::none(segment.records);
        for (kind, wanted) in &test.any {
            let found = segment.column(*kind, connection, |data| wanted.mask(data, &all, segment.records))?;
            // Without its columns the segment is gone, and its records with it.
            let Some(found) = found else { return Ok(None) };
            any.or(&found);
        }
        all = any;
        if all.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

impl Wanted {
    /// Those of the records `within` that a column leaves.
    fn mask(&self, data: &[u8], within: &Mask, records: usize) -> Mask {
        if let Some(finder) = self.finder()
            && !Column::may_contain(data, finder)
        {
            return Mask::none(records);
        }
        let is_wanted = |value: Value<'_>| match value {
            Value::Absent => false,
            Value::Is(value) => self.is_met_by(value),
            Value::TooLong => true,
        };
        // A column that cannot be read excludes nothing: the records are looked at.
        let mask = Column::read(data, records).and_then(|column| column.mask(within, is_wanted));
        mask.unwrap_or_else(|| within.clone())
    }

    /// What must stand in the column of any value that is wanted.
    fn finder(&self) -> Option<&Finder<'static>> {
        match self {
            Self::Is(value) => Some(value),
            Self::Name(name) => name.longest(),
            Self::Network { .. } => None,
        }
    }

    fn is_met_by(&self, value: &[u8]) -> bool {
        match self {
            Self::Is(wanted) => wanted.needle() == value,
            Self::Name(name) => name.matches(value),
            Self::Network { first, last } => {
                value.len() == first.len() && (&**first..=&**last).contains(&value)
            }
        }
    }
}
