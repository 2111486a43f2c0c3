//! Segments as the writer makes them, brings an older log to them, and lets them go with their records.

use super::*;
use crate::policy::decision::Action;
use crate::record::schema::MIGRATIONS;
use crate::record::segments::TABLES;

fn of_segments(segment: usize) -> Options {
    Options { segment, ..Options::default() }
}

fn number(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn in_segments(path: &Path) -> i64 {
    number(path, "SELECT ifnull(sum(records), 0) FROM segments")
}

fn indexes(path: &Path) -> i64 {
    number(
        path,
        "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 'activities\\_%' ESCAPE '\\'",
    )
}

fn found(path: &Path, file: &str) -> usize {
    matching(path, &Filter { file: Some(file.to_owned()), ..Filter::default() })
}

fn matching(path: &Path, filter: &Filter) -> usize {
    let mut found = 0;
    let count = |_| {
        found += 1;
        ControlFlow::Continue(())
    };
    Reader::open(path).unwrap().newest_first(filter, count).unwrap();
    found
}

fn named(file: &str) -> Activity {
    let mut activity = record();
    activity.file.as_mut().unwrap().name = Some(file.into());
    activity
}

#[test]
fn records_come_into_segments_while_and_after_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    for n in 0..250 {
        log.record(named(if n % 50 == 0 { "Wanted.pdf" } else { "other.pdf" })).unwrap();
    }
    log.flush(SOON).unwrap();
    wait_until("two segments", || in_segments(&path) == 200);
    assert_eq!(found(&path, "wanted*"), 5);
    drop(log);
    // The next run counts what the one before left.
    let (log, _) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    (0..49).for_each(|_| log.record(named("wanted.pdf")).unwrap());
    log.flush(SOON).unwrap();
    assert_eq!(found(&path, "wanted*"), 54);
    assert_eq!(in_segments(&path), 200);
    log.record(named("wanted.pdf")).unwrap();
    wait_until("the third", || in_segments(&path) == 300);
    assert_eq!(found(&path, "wanted*"), 55);
    assert_eq!(found(&path, "*.pdf"), 300);
}

#[test]
fn no_segment_is_made_of_few_records_behind_those_that_were_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    (0..100).for_each(|_| log.record(named("old.pdf")).unwrap());
    wait_until("a segment", || in_segments(&path) == 100);
    drop(log);
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DELETE FROM activities; DELETE FROM segments; DELETE FROM columns").unwrap();
    drop(old);
    let (log, _) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    (0..99).for_each(|_| log.record(named("new.pdf")).unwrap());
    log.flush(SOON).unwrap();
    drop(log);
    assert_eq!(in_segments(&path), 0);
    let (log, _) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    log.record(named("new.pdf")).unwrap();
    wait_until("the next", || in_segments(&path) == 100);
    assert_eq!(found(&path, "new.pdf"), 100);
}

#[test]
fn a_log_with_indexes_is_brought_to_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    // Never reaches a segment, and so keeps the indexes of its first steps until it has looked after the file.
    let (log, _) = ActivityLog::open_with(&path, of_segments(1000)).unwrap();
    for n in 0..350 {
        // Its shape is no other's, so that it says all of it itself.
        let mut old = named("old.pdf");
        old.client.user_agent = Some(n.to_string().into());
        log.record(old).unwrap();
    }
    drop(log);
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE segments; DROP TABLE columns").unwrap();
    old.execute_batch("DROP TABLE shapes; ALTER TABLE activities DROP COLUMN shape").unwrap();
    for name in ["action", "app", "suite", "user", "uid", "device", "policy"] {
        let of_context = format!("(SELECT contexts.{name} FROM contexts WHERE contexts.id = context)");
        old.execute_batch(&format!(
            "UPDATE activities SET {name} = {of_context}; ALTER TABLE contexts DROP COLUMN {name}"
        ))
        .unwrap();
    }
    for name in ["app", "action", "user", "device"] {
        old.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS activities_{name} ON activities ({name}, time)"
        ))
        .unwrap();
    }
    let at = MIGRATIONS.iter().position(|step| *step == TABLES).unwrap();
    old.pragma_update(None, "user_version", at).unwrap();
    drop(old);
    let (log, opened) = ActivityLog::open_with(&path, of_segments(100)).unwrap();
    assert_eq!(opened, Opened::Ready { lost: 0 });
    assert_eq!(found(&path, "old.pdf"), 350, "whatever is in segments by now");
    wait_until("all in segments", || in_segments(&path) == 300);
    wait_until("the indexes of time and of open transfers are left", || indexes(&path) == 2);
    assert_eq!(found(&path, "old.pdf"), 350);
    // Those before say themselves what those behind leave to their context; the last ones of either are in no segment.
    let all = || {
        let (user, app, device) = (Some("ada".into()), Some("corp".into()), Some("d-1".into()));
        let of_policy =
            Filter { policy: Some("no downloads".into()), action: Some(Action::Block), ..Filter::default() };
        let filters =
            [of_policy, Filter { user, ..Filter::default() }, Filter { app, device, ..Filter::default() }];
        filters.map(|filter| matching(&path, &filter))
    };
    assert_eq!(all(), [350; 3]);
    (0..33).for_each(|_| log.record(named("new.pdf")).unwrap());
    log.flush(SOON).unwrap();
    assert_eq!(all(), [383; 3]);
    (0..100).for_each(|_| log.record(named("new.pdf")).unwrap());
    wait_until("both in segments", || in_segments(&path) == 400);
    assert_eq!(all(), [483; 3]);
    let user = Some("bob".into());
    assert_eq!(matching(&path, &Filter { user, ..Filter::default() }), 0);
    drop(log);
}

#[test]
fn segments_go_with_their_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, of_segments(10)).unwrap();
    let long_ago = Timestamp::now().checked_sub(Duration::from_secs(100 * 86_400)).unwrap();
    (0..40).for_each(|_| log.record(record_at(long_ago)).unwrap());
    (0..20).for_each(|_| log.record(record()).unwrap());
    wait_until("all in segments", || in_segments(&path) == 60);
    drop(log);
    let (log, _) = ActivityLog::open_with(
        &path,
        Options { retention: Some(Duration::from_secs(90 * 86_400)), ..of_segments(10) },
    )
    .unwrap();
    wait_until("the old ones are gone", || in_segments(&path) == 20);
    let columns = "SELECT count(DISTINCT place & 0xffffffffff) FROM columns";
    wait_until("and their columns", || number(&path, columns) == 2);
    assert_eq!(found(&path, "*"), 20);
    drop(log);
}
