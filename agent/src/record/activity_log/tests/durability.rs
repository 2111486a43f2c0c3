//! Transfers in two phases, what strict durability waits for, and the bounds of the file.

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::activity::TransferState;
use crate::record::transfer::STORED_WITHIN;

fn strict() -> Options {
    Options { durability: Durability::Strict, ..Options::default() }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// As the data path does it: inside its runtime.
fn begin(log: &ActivityLog, activity: Activity) -> (Result<(), Lost>, Transfer<'_>) {
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        log.begin(&activity)
    })
}

fn transfer_of(path: &Path, id: Uuid) -> Option<TransferFacts> {
    read(path).0.into_iter().find(|activity| activity.id == id).unwrap().transfer
}

#[test]
fn a_transfer_is_open_then_as_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let [whole, broken, quick] = [(); 3].map(|()| record());
    let ids = [whole.id, broken.id, quick.id];
    let begin_now = |activity| {
        let (entered, mut transfer) = begin(&log, activity);
        entered.unwrap();
        assert!(wait(transfer.may_begin()), "normal durability waits for nothing");
        transfer
    };
    let (whole, broken) = (begin_now(whole), begin_now(broken));
    // Over before the writer saw its beginning.
    begin_now(quick).end(true, 7);
    log.flush(SOON).unwrap();
    assert_eq!(transfer_of(&path, ids[0]), Some(TransferFacts::OPEN));
    whole.end(true, 40_000);
    drop(broken);
    log.flush(SOON).unwrap();
    let ended = |state, bytes| Some(TransferFacts { state, bytes: Some(bytes) });
    assert_eq!(
        ids.map(|id| transfer_of(&path, id)),
        [
            ended(TransferState::Complete, 40_000),
            ended(TransferState::Aborted, 0),
            ended(TransferState::Complete, 7)
        ]
    );
    let by_id = Reader::open(&path).unwrap().get(ids[0]).unwrap().unwrap();
    assert_eq!(by_id.transfer, ended(TransferState::Complete, 40_000));
}

#[test]
fn what_was_under_way_when_the_agent_was_killed_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let activity = record();
    let id = activity.id;
    let (_, transfer) = begin(&log, activity);
    log.flush(SOON).unwrap();
    // As after SIGKILL: nobody tells of the end, nobody closes the run.
    std::mem::forget(transfer);
    std::mem::forget(log);
    let (_log, opened) = ActivityLog::open(&path, None).unwrap();
    assert_eq!(opened, Opened::Ready { lost: 0 });
    let expected = TransferFacts { state: TransferState::Incomplete, bytes: None };
    assert_eq!(transfer_of(&path, id), Some(expected));
}

#[test]
fn a_strict_download_begins_when_its_record_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, strict()).unwrap();
    for _ in 0..50 {
        let activity = record();
        let id = activity.id;
        let (_, mut transfer) = begin(&log, activity);
        assert!(wait(transfer.may_begin()));
        assert!(Reader::open(&path).unwrap().get(id).unwrap().is_some(), "released before it was stored");
        transfer.end(true, 1);
    }
}

#[test]
fn a_strict_download_is_withheld_while_the_file_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, strict()).unwrap();
    log.record(record()).unwrap();
    log.flush(SOON).unwrap();
    let other = lock(&path);
    let activity = record();
    let id = activity.id;
    let (_, mut transfer) = begin(&log, activity);
    let began = Instant::now();
    assert!(!wait(transfer.may_begin()));
    assert!(began.elapsed() >= STORED_WITHIN, "it did not wait");
    drop(transfer);
    // The setting takes effect at once.
    log.set_durability(Durability::Normal);
    let (_, mut unhurried) = begin(&log, record());
    assert!(wait(unhurried.may_begin()));
    other.execute_batch("ROLLBACK").unwrap();
    log.flush(SOON).unwrap();
    let expected = TransferFacts { state: TransferState::Withheld, bytes: Some(0) };
    assert_eq!(transfer_of(&path, id), Some(expected), "the record says that nothing was released");
}

#[test]
fn what_the_queue_does_not_take_is_not_released_either() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open_with(&path, Options { queue: 1, batch: 1, ..strict() }).unwrap();
    let other = lock(&path);
    let mut refused = 0;
    for _ in 0..10 {
        if log.record(record()).is_err() {
            refused += 1;
        }
    }
    assert!(refused > 0);
    let (entered, mut transfer) = begin(&log, record());
    assert_eq!(entered, Err(Lost));
    assert!(!wait(transfer.may_begin()));
    drop(transfer);
    other.execute_batch("ROLLBACK").unwrap();
    log.flush(SOON).unwrap();
    wait_until("the gap is announced", || {
        read(&path).1.iter().map(|gap| gap.count).sum::<u64>() == refused + 1
    });
}

#[test]
fn a_reader_that_stays_does_not_let_the_write_ahead_log_grow_without_end() {
    const WAL_MAX: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let options = Options { wal_max: WAL_MAX, queue: 500, batch: 100, ..Options::default() };
    let (log, _) = ActivityLog::open_with(&path, options).unwrap();
    log.record(record()).unwrap();
    log.flush(SOON).unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM activities").unwrap();
    let (mut taken, mut refused) = (1, 0);
    wait_until("the bound is met", || {
        match log.record(record()) {
            Ok(()) => taken += 1,
            Err(Lost) => refused += 1,
        }
        log.state().trouble.is_some_and(|why| why.contains("held the activity log open")) && refused > 0
    });
    let wal = std::fs::metadata(crate::record::schema::beside(&path, "-wal")).unwrap().len();
    // One transaction may go beyond it.
    assert!((WAL_MAX..WAL_MAX + (2 << 20)).contains(&wal), "{wal}");
    reader.execute_batch("ROLLBACK").unwrap();
    log.flush(SOON).unwrap();
    assert_eq!(log.state().trouble, None);
    wait_until("the gap is announced", || {
        let (activities, gaps) = read(&path);
        (activities.len() as u64, gaps.iter().map(|gap| gap.count).sum()) == (taken, refused)
    });
}

#[test]
fn a_log_beyond_its_size_loses_the_oldest_and_says_so() {
    const MAX: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let mut last = record();
    for _ in 0..6000 {
        last = record();
        log.record(&last).unwrap();
    }
    log.flush(SOON).unwrap();
    let size = || std::fs::metadata(&path).unwrap().len();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(size() > MAX, "{}", size());
    log.set_max_size(Some(MAX));
    wait_until("old records go", || {
        log.state().records < 6000 && size() <= MAX + (1 << 18) || {
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            false
        }
    });
    let (activities, gaps) = read(&path);
    assert_eq!(activities.first().map(|activity| activity.id), Some(last.id), "the newest is kept");
    assert!(activities.len() > 1);
    let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!(gap.count as usize + activities.len(), 6000);
    assert!(gap.reason.contains("max_size"), "{gap:?}");
}

/// Shapes that a client makes at will take no more than their part of a small log, and go with their records.
#[test]
fn shapes_of_deleted_records_go_and_those_of_others_stay() {
    const MAX: u64 = 1 << 20;
    const RECORDS: u64 = 6000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) =
        ActivityLog::open_with(&path, Options { max_size: Some(MAX), ..Options::default() }).unwrap();
    let mut last = record();
    for n in 0..RECORDS {
        last = record();
        last.client.user_agent = Some(format!("{:0>400}", n / 2).into());
        log.record(&last).unwrap();
        if n % 1000 == 0 {
            log.flush(SOON).unwrap();
        }
    }
    log.flush(SOON).unwrap();
    let connection = Connection::open(&path).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let pages = "SELECT (page_count - freelist_count) * page_size
                 FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    wait_until("old records go", || number(pages) <= MAX);
    let (activities, gaps) = read(&path);
    assert_eq!(activities.first().map(|activity| activity.id), Some(last.id), "the newest is kept");
    let [gap] = gaps.as_slice() else { panic!("each record that is there can be read: {gaps:?}") };
    assert_eq!(gap.count + activities.len() as u64, RECORDS);
    let shapes = number("SELECT count(*) FROM shapes");
    assert!(shapes > 0 && shapes <= activities.len() as u64, "{shapes} of {} records", activities.len());
}
