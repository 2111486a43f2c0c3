//! The log under load, under a failing disk, after damage and after SIGKILL.

mod durability;
mod segments;

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use super::*;
use crate::activity::Activity;
use crate::activity::tests::sample;
use crate::record::query::{Entry, Filter, Gap, Reader};

const SOON: Duration = Duration::from_secs(20);

fn record_at(time: Timestamp) -> Activity {
    Activity { id: Uuid::now_v7(), time, ..sample() }
}

fn record() -> Activity {
    record_at(Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap())
}

pub(in crate::record) fn read(path: &Path) -> (Vec<Activity>, Vec<Gap>) {
    let (mut activities, mut gaps) = (Vec::new(), Vec::new());
    let show = |entry| {
        match entry {
            Entry::Activity(activity) => activities.push(*activity),
            Entry::Gap(gap) => gaps.push(gap),
        }
        ControlFlow::Continue(())
    };
    Reader::open(path).unwrap().newest_first(&Filter::default(), show).unwrap();
    (activities, gaps)
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let by = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < by, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_recorded_is_read_back_equal_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, opened) = ActivityLog::open(&path, None).unwrap();
    assert_eq!(opened, Opened::Ready { lost: 0 });
    let mut written: Vec<Activity> = (0..1500).map(|_| record()).collect();
    for activity in &written {
        log.record(activity).unwrap();
    }
    log.flush(SOON).unwrap();
    let (while_open, gaps) = read(&path);
    written.reverse();
    assert_eq!(while_open, written);
    assert_eq!(gaps, []);
    assert_eq!(log.state().records, 1500);
    assert_eq!(log.state().stored, 1500);
    drop(log);
    assert_eq!(read(&path).0, written, "also after a clean end, without a daemon");
    let (log, opened) = ActivityLog::open(&path, None).unwrap();
    assert_eq!(opened, Opened::Ready { lost: 0 });
    assert_eq!(log.state().records, 1500);
}

#[test]
fn dropping_the_log_stores_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    for _ in 0..3000 {
        log.record(record()).unwrap();
    }
    drop(log);
    assert_eq!(read(&path).0.len(), 3000);
}

#[test]
fn the_same_record_twice_is_one_activity() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let activity = record();
    log.record(&activity).unwrap();
    log.record(&activity).unwrap();
    log.flush(SOON).unwrap();
    assert_eq!(read(&path).0, [activity]);
    assert_eq!(log.state().records, 1);
}

#[test]
fn only_the_owner_can_read_any_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    log.record(record()).unwrap();
    log.flush(SOON).unwrap();
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    // And the reserve, where it was made already.
    assert!(names.len() >= 4, "database, its two companions and the marker: {names:?}");
    for name in names {
        let mode = std::fs::metadata(&name).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", name.display());
    }
}

/// The locks that anybody holds on the file (proc(5)).
fn locks_on(path: &Path) -> Vec<String> {
    let file = format!(":{} ", std::fs::metadata(path).unwrap().ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().filter(|lock| lock.contains(&file)).map(str::to_owned).collect()
}

#[test]
fn opening_the_log_again_leaves_the_locks_of_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    log.record(record()).unwrap();
    drop(log);
    let reader = Reader::open(&path).unwrap();
    reader.end().unwrap();
    assert_eq!(locks_on(&path).len(), 1, "the reader's");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    assert_eq!(locks_on(&path).len(), 1, "one for all connections of a process: SQLite counts them");
    drop(log);
    assert_eq!(locks_on(&path).len(), 1, "the reader is still there");
    drop(reader);
    assert_eq!(locks_on(&path), [""; 0]);
}

/// Another process that holds the write lock is the mildest form of a disk that takes nothing.
fn lock(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.busy_timeout(SOON).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn what_the_queue_cannot_hold_is_counted_exactly_and_announced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let options = Options { queue: 10, batch: 5, ..Options::default() };
    let (log, _) = ActivityLog::open_with(&path, options).unwrap();
    let other = lock(&path);
    let began = Instant::now();
    let refused = (0..500).filter(|_| log.record(record()).is_err()).count() as u64;
    assert!(began.elapsed() < Duration::from_secs(2), "recording never waits for the disk");
    assert!((485..=490).contains(&refused), "{refused}");
    assert_eq!(log.state().lost, refused);
    wait_until("the trouble shows", || log.state().trouble.is_some());
    other.execute_batch("ROLLBACK").unwrap();
    log.flush(SOON).unwrap();
    let (activities, gaps) = read(&path);
    assert_eq!(activities.len() as u64 + refused, 500);
    wait_until("the gap is announced", || read(&path).1.iter().map(|g| g.count).sum::<u64>() == refused);
    assert!(gaps.len() <= 1, "losses in a row are one gap: {gaps:?}");
    assert_eq!(log.state().trouble, None);
    drop(log);
    assert_eq!(
        ActivityLog::open(&path, None).unwrap().1,
        Opened::Ready { lost: 0 },
        "announced once, not twice"
    );
}

#[test]
fn a_full_disk_loses_nothing_silently() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let close_within = Duration::from_millis(300);
    let options = Options { queue: 100, batch: 50, max_pages: Some(60), close_within, ..Options::default() };
    let (log, _) = ActivityLog::open_with(&path, options).unwrap();
    let (mut taken, mut refused) = (0, 0);
    wait_until("the disk is full", || {
        match log.record(record()) {
            Ok(()) => taken += 1,
            Err(Lost) => refused += 1,
        }
        std::thread::sleep(Duration::from_micros(200));
        log.state().trouble.is_some() && refused > 0
    });
    assert_eq!(log.flush(Duration::from_millis(100)), Err(Unflushed));
    assert_eq!(log.state().lost, refused);
    drop(log);
    let stored = read(&path).0.len() as u64;
    assert!(stored > 0 && stored < taken, "{stored} of {taken}");
    let (log, opened) = ActivityLog::open(&path, None).unwrap();
    let lost = taken + refused - stored;
    assert_eq!(opened, Opened::Ready { lost });
    assert_eq!(log.state().lost, lost);
    assert_eq!(read(&path).1.iter().map(|g| g.count).sum::<u64>(), lost);
}

#[track_caller]
fn check_set_aside(damage: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    for _ in 0..400 {
        log.record(record()).unwrap();
    }
    drop(log);
    damage(&path);
    let before = std::fs::read(&path).unwrap();
    let (log, opened) = ActivityLog::open(&path, None).unwrap();
    let Opened::SetAside { to, why } = opened else { panic!("{opened:?}") };
    assert!(!why.is_empty());
    assert!(std::fs::read(&to).unwrap() == before, "the evidence is kept as it was");
    assert_eq!(log.state().set_aside, Some(to.clone()));
    let activity = record();
    log.record(&activity).unwrap();
    log.flush(SOON).unwrap();
    let (activities, gaps) = read(&path);
    assert_eq!(activities, [activity]);
    assert!(gaps.iter().any(|g| g.count == 0 && g.reason.contains(to.to_str().unwrap())), "{gaps:?}");
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    check_set_aside(|path| {
        std::fs::write(path, b"this is no database, but it is long enough to have a header").unwrap()
    });
    check_set_aside(|path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xA5; 4096 * 8], 4096 * 3).unwrap();
    });
    check_set_aside(|path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    });
    check_set_aside(|path| Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap());
}

#[test]
fn a_place_that_cannot_be_written_delays_the_records_but_not_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later").join("activity.db");
    let (log, opened) = ActivityLog::open(&path, None).unwrap();
    assert!(matches!(opened, Opened::Unavailable { .. }), "{opened:?}");
    log.record(record()).unwrap();
    std::fs::create_dir(dir.path().join("later")).unwrap();
    log.flush(SOON).unwrap();
    assert_eq!(read(&path).0.len(), 1);
    assert_eq!(log.state().trouble, None);
}

#[test]
fn a_file_that_was_removed_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    log.record(record()).unwrap();
    log.flush(SOON).unwrap();
    for part in ["", "-wal", "-shm"] {
        std::fs::remove_file(crate::record::schema::beside(&path, part)).unwrap();
    }
    wait_until("the file is back", || path.exists() && Reader::open(&path).is_ok());
    log.record(record()).unwrap();
    log.flush(SOON).unwrap();
    let (activities, gaps) = read(&path);
    assert_eq!((activities.len(), gaps.len()), (1, 1));
}

#[test]
fn records_older_than_the_retention_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let day = Duration::from_secs(86_400);
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
    for i in 0..5000_u32 {
        log.record(record_at(now - (2 * day + Duration::from_secs(i.into())))).unwrap();
    }
    let young = record_at(now - day / 2);
    log.record(&young).unwrap();
    drop(log);
    let (log, _) = ActivityLog::open(&path, Some(day)).unwrap();
    wait_until("old records go", || log.state().records == 1);
    assert_eq!(read(&path).0, [young]);
}

/// Not a test of its own: the body of the child that the next one kills.
#[test]
fn child_that_records_until_it_is_killed() {
    let Some(path) = std::env::var_os("PORTCULLIS_TEST_KILLED_LOG") else { return };
    let (log, opened) = ActivityLog::open(Path::new(&path), None).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nopened {opened:?}").unwrap();
    for n in 1.. {
        // What was lost to a full queue counts as admitted all the same.
        let _ = log.record(record());
        writeln!(out, "{n}").unwrap();
    }
}

#[test]
fn after_sigkill_every_record_is_stored_or_counted_and_the_file_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let mut total = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "record::activity_log::tests::child_that_records_until_it_is_killed",
                "--nocapture",
            ])
            .env("PORTCULLIS_TEST_KILLED_LOG", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let opened = lines.by_ref().find(|l| l.contains("opened")).unwrap();
        assert!(opened.contains("Ready"), "round {round}: {opened}");
        // Somewhere inside a transaction, inside its checkpoint, or before the first.
        let last: u64 = lines.by_ref().take(1 + round * 531).last().unwrap().trim().parse().unwrap();
        child.kill().unwrap();
        let rest = lines.filter_map(|l| l.trim().parse::<u64>().ok()).last();
        child.wait().unwrap();
        let said = rest.unwrap_or(last).max(last);

        let (log, opened) = ActivityLog::open(&path, None).unwrap();
        assert!(matches!(opened, Opened::Ready { .. }), "round {round}: {opened:?}");
        let (activities, gaps) = read(&path);
        let accounted = activities.len() as u64 + gaps.iter().map(|g| g.count).sum::<u64>();
        // The last one may have been admitted without the child living to say so.
        assert!(
            (total + said..=total + said + 1).contains(&accounted),
            "round {round}: {total} {said} {accounted}"
        );
        total = accounted;
        drop(log);
    }
    let sound: String =
        Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
