//! What a listing shows besides matches: its order over pages, gaps, records that cannot be read back, and how it follows and ends.

use super::*;

#[test]
fn listings_longer_than_a_page_have_neither_holes_nor_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    // Many with the same time, so that pages break inside it.
    let records: Vec<Activity> = (0..3 * PAGE as i64 + 7)
        .map(|n| Activity {
            id: Uuid::now_v7(),
            time: Timestamp::from_microsecond(BASE + n / 400).unwrap(),
            ..sample()
        })
        .collect();
    let _log = store(&path, &records);
    let reader = Reader::open(&path).unwrap();
    let mut expected: Vec<Uuid> = records.iter().map(|a| a.id).collect();
    expected.reverse();
    assert_eq!(shown(&reader, &Filter::default()), expected);
    let limited = Filter { limit: Some(PAGE + 1), ..Filter::default() };
    assert_eq!(shown(&reader, &limited), expected[..PAGE + 1]);
    assert_eq!(shown(&reader, &Filter { limit: Some(PAGE), ..Filter::default() }), expected[..PAGE]);
    assert!(shown(&reader, &Filter { limit: Some(0), ..Filter::default() }).is_empty());
}

#[test]
fn pages_put_together_are_the_whole_listing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let records: Vec<Activity> = (0..57)
        .map(|n| Activity {
            id: Uuid::now_v7(),
            time: Timestamp::from_microsecond(BASE + n / 9).unwrap(),
            ..sample()
        })
        .collect();
    let log = store(&path, &records);
    for time in [BASE - 1, BASE + 2, BASE + 3, BASE + 9] {
        Connection::open(&path)
            .unwrap()
            .execute("INSERT INTO gaps (since, until, count, reason) VALUES (?1, ?1, 1, 'x')", [time])
            .unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    let mut whole = Vec::new();
    reader
        .newest_first(&Filter::default(), |entry| {
            whole.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(whole.len(), 61);
    for size in [1, 5, 19, 57, 60] {
        let filter = Filter { limit: Some(size), ..Filter::default() };
        let (mut together, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = reader.page_before(&filter, before).unwrap();
            together.extend(page);
            pages += 1;
            assert!(pages < 80, "{size}: {before:?}");
            match next {
                Some(_) => before = next,
                None => break,
            }
        }
        assert_eq!(together, whole, "{size}");
    }
    drop(log);
}

#[test]
fn a_statement_that_takes_too_long_is_ended_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let log = store(&path, &[sample()]);
    let reader = Reader::open(&path).unwrap();
    let stopper = reader.stopper();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The statement may not have begun when it is first ended.
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                stopper.stop();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let result = reader.connection.query_row(endless, [], |row| row.get::<_, i64>(0));
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        let error = result.unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
    });
    assert!(reader.get(sample().id).unwrap().is_some(), "the reader goes on");
    drop(log);
}

#[test]
fn a_follower_sees_each_matching_record_once_in_the_order_of_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let log = store(&path, &[sample()]);
    let reader = Reader::open(&path).unwrap();
    let mut cursor = reader.end().unwrap();
    let filter = Filter { app: Some("slack".to_owned()), ..Filter::default() };
    assert_eq!(reader.added_since(&mut cursor, &filter).unwrap(), []);
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for n in 0..PAGE + 300 {
        let mut activity = Activity { id: Uuid::now_v7(), ..sample() };
        if n % 3 != 0 {
            activity.app.id = "slack".into();
            expected.push(activity.id);
        }
        log.record(&activity).unwrap();
        if n % 250 == 0 {
            log.flush(SOON).unwrap();
            seen.extend(reader.added_since(&mut cursor, &filter).unwrap());
        }
    }
    log.flush(SOON).unwrap();
    loop {
        let more = reader.added_since(&mut cursor, &filter).unwrap();
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let seen: Vec<Uuid> = seen
        .into_iter()
        .map(|entry| match entry {
            Entry::Activity(a) => a.id,
            Entry::Gap(gap) => panic!("{gap:?}"),
        })
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(cursor, reader.end().unwrap());
}

#[test]
fn gaps_stand_among_the_records_by_time_whatever_the_filter_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let at = |micros: i64| Timestamp::from_microsecond(BASE + micros).unwrap();
    let records: Vec<Activity> =
        [10, 30].map(|t| Activity { id: Uuid::now_v7(), time: at(t), ..sample() }).to_vec();
    let log = store(&path, &records);
    let writer = Connection::open(&path).unwrap();
    for (time, count) in [(5, 1), (20, 2), (40, 3)] {
        writer
            .execute(
                "INSERT INTO gaps (since, until, count, reason) VALUES (?1, ?1, ?2, 'x')",
                (BASE + time, count),
            )
            .unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    let show = |filter: &Filter| {
        let mut shown = Vec::new();
        reader
            .newest_first(filter, |entry| {
                shown.push(match entry {
                    Entry::Activity(a) => format!("activity {}", a.time.as_microsecond() - BASE),
                    Entry::Gap(g) => format!("gap {}", g.count),
                });
                ControlFlow::Continue(())
            })
            .unwrap();
        shown
    };
    assert_eq!(show(&Filter::default()), ["gap 3", "activity 30", "gap 2", "activity 10", "gap 1"]);
    assert_eq!(show(&Filter { limit: Some(1), ..Filter::default() }), ["gap 3", "activity 30"]);
    let within = Filter { since: Some(at(15)), until: Some(at(35)), ..Filter::default() };
    assert_eq!(show(&within), ["activity 30", "gap 2"]);
    assert_eq!(
        show(&Filter { user: Some("nobody".into()), ..Filter::default() }),
        ["gap 3", "gap 2", "gap 1"]
    );

    let mut cursor = reader.end().unwrap();
    writer.execute("UPDATE gaps SET count = 10 WHERE count = 3", []).unwrap();
    let grown = reader.added_since(&mut cursor, &Filter::default()).unwrap();
    assert!(matches!(&grown[..], [Entry::Gap(gap)] if gap.count == 7), "{grown:?}");
    assert_eq!(reader.added_since(&mut cursor, &Filter::default()).unwrap(), []);
    drop(log);
}

#[test]
fn a_record_is_found_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let log = store(&path, &[sample()]);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.get(sample().id).unwrap(), Some(sample()));
    assert_eq!(reader.get(Uuid::nil()).unwrap(), None);
    drop(log);
}

#[test]
fn a_row_that_cannot_be_read_back_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let other = Activity { id: Uuid::now_v7(), ..sample() };
    let log = store(&path, &[sample(), other.clone()]);
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE activities SET record = '{}' WHERE seq = 1", [])
        .unwrap();
    let reader = Reader::open(&path).unwrap();
    let gaps = Cell::new(0);
    let mut activities = Vec::new();
    let show = |entry| {
        match entry {
            Entry::Activity(a) => activities.push(*a),
            Entry::Gap(gap) => gaps.set(gaps.get() + gap.count),
        }
        ControlFlow::Continue(())
    };
    reader.newest_first(&Filter::default(), show).unwrap();
    assert_eq!((activities, gaps.get()), (vec![other], 1));
    drop(log);
}

#[test]
fn a_missing_log_is_told_apart_from_one_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    assert!(matches!(Reader::open(&path), Err(QueryError::Missing(_))));
    std::fs::write(&path, b"no database at all, whatever its name says").unwrap();
    assert!(matches!(Reader::open(&path), Err(QueryError::Unreadable { .. })));
    assert!(std::fs::read(&path).unwrap().starts_with(b"no database"), "reading changes nothing");
}

#[test]
fn a_follower_does_not_go_on_in_a_log_that_a_newer_version_took_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let reader = Reader::open(&path).unwrap();
    let mut cursor = reader.end().unwrap();
    log.record(sample()).unwrap();
    log.flush(SOON).unwrap();
    assert_eq!(reader.added_since(&mut cursor, &Filter::default()).unwrap().len(), 1);
    drop(log);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = reader.added_since(&mut cursor, &Filter::default()).unwrap_err().to_string();
    assert!(error.contains("another version of the program (schema 99)"), "{error}");
}
