//! The table of shapes: what records have in common that are of one client program and alike.

use rusqlite::{Connection, params};

use crate::activity::Shape;
use crate::record::parts::Part;

/// The step that makes the table.
pub(super) const TABLE: &str = "
CREATE TABLE shapes (
    id   INTEGER PRIMARY KEY,
    age  INTEGER NOT NULL,                       -- id of the first shape of the same age
    text TEXT    NOT NULL                        -- as JSON
) STRICT;
ALTER TABLE activities ADD COLUMN shape INTEGER; -- NULL: the record has none
";

impl Part for Shape {
    const TABLE: &'static str = "shapes";
    const COLUMN: &'static str = "shape";
    /// Each of some 300 octets: programs times hosts times answers that are in use at one time.
    const AGE_MAX: usize = 4096;

    fn insert(&self, age: i64, text: &str, connection: &Connection) -> rusqlite::Result<()> {
        let into = "INSERT INTO shapes (age, text) VALUES (?1, ?2)";
        connection.prepare_cached(into)?.execute(params![age, text]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::activity::Activity;
    use crate::activity::tests::{full, sample};
    use crate::record::activity_log::ActivityLog;
    use crate::record::activity_log::tests::read;

    const SOON: Duration = Duration::from_secs(20);

    fn record(port: u16, of: Activity) -> Activity {
        let mut activity = Activity { id: Uuid::now_v7(), ..of };
        activity.client.port = port;
        activity
    }

    #[test]
    fn records_of_one_shape_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        let mut far = record(3, sample());
        far.client.address = "2001:db8::7".parse().unwrap();
        let mut other = record(6, sample());
        other.request.host = None;
        let bare = Activity { file: None, content: None, ..record(5, full()) };
        let written = [record(1, sample()), record(2, sample()), far, record(4, full()), bare, other];
        for activity in &written {
            log.record(activity).unwrap();
        }
        log.flush(SOON).unwrap();
        let (mut found, gaps) = read(&path);
        found.reverse();
        assert_eq!((&*found, &*gaps), (&written[..], &[][..]));
        let connection = Connection::open(&path).unwrap();
        let mut shapes = connection.prepare("SELECT shape FROM activities ORDER BY seq").unwrap();
        let shapes: Vec<Option<i64>> =
            shapes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        // What was seen for the first time has none.
        assert_eq!(shapes, [None, Some(1), Some(1), None, Some(2), None]);
    }

    #[test]
    fn a_record_that_cannot_be_put_together_is_a_gap_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        for port in 1..=3 {
            log.record(record(port, sample())).unwrap();
        }
        log.flush(SOON).unwrap();
        let connection = Connection::open(&path).unwrap();
        let reasons = |change: &str| {
            connection.execute_batch(change).unwrap();
            let (found, gaps) = read(&path);
            assert_eq!(found.len() + gaps.len(), 3);
            gaps.into_iter().map(|gap| gap.reason).collect::<Vec<_>>()
        };
        let of_third = "UPDATE activities SET client_ip = x'07' WHERE seq = 3";
        assert_eq!(reasons(of_third), ["record 3 cannot be read back: no address"]);
        let all = reasons("DELETE FROM shapes");
        let lost = [3, 2].map(|seq| format!("record {seq} cannot be read back: no shape 1"));
        assert_eq!(all, lost);
    }
}
