//! What the command prints, and that a follower sees each record once and soon.

use std::time::Instant;

use clap::Parser;
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

use super::*;
use crate::activity::Activity;
use crate::activity::tests::sample;
use crate::record::activity_log::ActivityLog;

const SOON: Duration = Duration::from_secs(20);
const PIPE: Screen = Screen { width: None, colour: false };

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: ActivityArgs,
}

fn args(line: &[&str]) -> ActivityArgs {
    Line::try_parse_from([&["activity"], line].concat()).unwrap().args
}

fn record(n: u32) -> Activity {
    let mut activity = Activity { id: Uuid::now_v7(), ..sample() };
    activity.time = Timestamp::from_second(1_800_000_000 + i64::from(n)).unwrap();
    activity.user.name = Some(if n.is_multiple_of(2) { "ada" } else { "bob" }.into());
    activity
}

struct Log {
    log: ActivityLog,
    dir: tempfile::TempDir,
}

impl Log {
    fn with(records: &[Activity]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = ActivityLog::open(&dir.path().join("activity.db"), None).unwrap();
        let log = Self { log, dir };
        log.add(records);
        log
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("activity.db")
    }

    fn add(&self, records: &[Activity]) {
        for record in records {
            self.log.record(record).unwrap();
        }
        self.log.flush(SOON).unwrap();
    }

    fn list(&self, line: &[&str], screen: Screen) -> String {
        let mut out = Vec::new();
        list(&args(line), &self.path(), screen, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[test]
fn a_saved_query_is_its_filters_with_relative_times_and_what_is_given_replaces_its_part() {
    let log = Log::with(&[]);
    let mut saved = Saved::beside(&log.path()).unwrap();
    let given = args(&["--user", "o'brien --x", "--since", "2d", "--type", "download", "--ip", "10.0.0.0/8"]);
    saved.save("risky", &given).unwrap();
    let saved = Saved::beside(&log.path()).unwrap();
    let read =
        saved.apply("risky", &args(&["--query", "risky", "--type", "upload", "--limit", "3"])).unwrap();
    assert_eq!((read.user.as_deref(), read.ip), (Some("o'brien --x"), given.ip));
    assert_eq!(read.since.as_ref().map(|time| &*time.given), Some("2d"));
    assert!(read.since.unwrap().at >= given.since.unwrap().at, "two days before now, not before then");
    assert_eq!((read.kind.map(ActivityType::name), read.limit), (Some("upload"), Some(3)));
    assert_eq!(
        saved.lines().collect::<Vec<_>>(),
        ["risky: '--user=o'brien --x' --type=download --ip=10.0.0.0/8 --since=2d"]
    );
    assert!(matches!(saved.apply("other", &args(&[])), Err(SavedError::Unknown(_))));
    let mut saved = Saved::beside(&log.path()).unwrap();
    assert!(matches!(saved.save("../x", &args(&[])), Err(SavedError::Name)));
    saved.forget("risky").unwrap();
    assert!(Saved::beside(&log.path()).unwrap().lines().next().is_none());
}

#[test]
fn saved_queries_are_listed_and_removed_wherever_the_settings_file_is_named() {
    use clap::Parser as _;
    let parse = |line: &[&str]| {
        crate::cli::Arguments::try_parse_from(
            [&["portcullis", "activity", "--config", "/x.toml"], line].concat(),
        )
    };
    assert!(parse(&["--queries"]).is_ok(), "a variable counts as given as well");
    assert!(parse(&["--queries", "--json"]).is_ok());
    assert!(parse(&["--forget", "x"]).is_ok());
    for pointless in
        ["--user=ada", "--type=download", "--follow", "--save=y", "--query=y", "--forget=y", "--limit=1"]
    {
        assert!(parse(&["--queries", pointless]).is_err(), "{pointless}");
    }
    let log = Log::with(&[]);
    let given = args(&["--user", "ada", "--since", "2d"]);
    Saved::beside(&log.path()).unwrap().save("risky", &given).unwrap();
    let list = |line: &[&str]| {
        let mut out = Vec::new();
        super::saved(&args(line), &log.path(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        list(&["--queries", "--json"]),
        "{\"filters\":[\"--user=ada\",\"--since=2d\"],\"name\":\"risky\"}\n"
    );
    assert_eq!(list(&["--queries"]), "risky: --user=ada --since=2d\n");
}

#[test]
fn csv_and_json_hold_every_record_and_the_columns_exist() {
    let log = Log::with(&[record(1), record(2)]);
    let csv = log.list(&["-o", "csv"], PIPE);
    let mut lines = csv.lines();
    assert_eq!(lines.next().unwrap().split(',').count(), COLUMNS.len());
    assert_eq!(lines.count(), 2, "{csv}");
    assert!(csv.contains(",download,corp-files,corp,bob,1000,staff hr,"), "{csv}");
    let records: Vec<Activity> = serde_json::from_str(&log.list(&["-o", "json"], PIPE)).unwrap();
    assert_eq!(records.len(), 2);
    let value = serde_json::to_value(&records[0]).unwrap();
    for (name, pointer) in COLUMNS.iter().filter(|(_, pointer)| !pointer.starts_with("/transfer")) {
        assert!(value.pointer(pointer).is_some(), "{name}");
    }
}

#[test]
fn json_is_one_record_a_line_newest_first() {
    let records: Vec<Activity> = (0..6).map(record).collect();
    let log = Log::with(&records);
    let text = log.list(&["--json", "--user", "ada", "--limit", "2"], PIPE);
    let read: Vec<Activity> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(read, [records[4].clone(), records[2].clone()]);
    assert_eq!(log.list(&["--json", "--user", "eve"], PIPE), "");
}

#[test]
fn filters_of_the_command_line_reach_the_query() {
    let parsed = args(&[
        "--user",
        "ada",
        "--app",
        "slack",
        "--type",
        "sign-in-failed",
        "--action",
        "block",
        "--ip",
        "10.1.2.3/8",
        "--device",
        "d-1",
        "--since",
        "2026-01-01T00:00:00Z",
        "--until",
        "2026-01-02T00:00:00Z",
        "--policy",
        "p q",
        "--file",
        "*.pdf",
        "--limit",
        "5",
    ]);
    let expected = Filter {
        user: Some("ada".into()),
        app: Some("slack".into()),
        kind: Some(ActivityType::SignInFailed),
        action: Some(Action::Block),
        network: Some("10.0.0.0/8".parse().unwrap()),
        device: Some("d-1".into()),
        since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        until: Some("2026-01-02T00:00:00Z".parse().unwrap()),
        policy: Some("p q".into()),
        file: Some("*.pdf".into()),
        limit: Some(5),
    };
    assert_eq!(parsed.filter(), expected);
    assert_eq!(args(&["--ip", "::ffff:10.0.0.1"]).ip, Some("10.0.0.1/32".parse().unwrap()));
    for bad in [
        ["--type", "steal"],
        ["--action", "deny"],
        ["--ip", "host.test"],
        ["--since", "soon"],
        ["--limit", "-1"],
    ] {
        assert!(Line::try_parse_from(["activity", bad[0], bad[1]]).is_err(), "{bad:?}");
    }
}

#[test]
fn rows_fit_the_terminal_and_hide_no_attack() {
    let mut hostile = record(1);
    hostile.user.name = Some("ada\x1b[31m".into());
    hostile.file.as_mut().unwrap().name = Some("文件\u{202E}fdp.exe\r\nforged line ".repeat(8).into());
    hostile.decision.policy =
        Some("a policy with a name that is longer than any column would like it to be".into());
    let log = Log::with(&[record(0), hostile]);
    for width in [20, 40, 80, 99, 100, 120, 150, 200] {
        let text = log.list(&[], Screen { width: Some(width), colour: false });
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains(['\x1b', '\r', '\u{202E}']), "{text:?}");
        let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
        assert!(widest <= width.max(70), "{width}: {widest}\n{text}");
    }
    let text = log.list(&[], Screen { width: Some(120), colour: true });
    assert_eq!(text.matches('\x1b').count(), 6, "head and two verdicts, each begun and ended: {text:?}");
    assert!(log.list(&["--json"], PIPE).contains("\\u202e"));
}

#[test]
fn a_pipe_gets_whole_values_and_no_colours() {
    let mut long = record(0);
    let name = format!("{}.xlsx", "x".repeat(200));
    long.file.as_mut().unwrap().name = Some(name.as_str().into());
    let log = Log::with(&[long.clone()]);
    let text = log.list(&[], PIPE);
    assert!(text.contains(&name) && text.contains(&long.id.to_string()) && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_terminal_is_not_flooded_and_a_pipe_gets_all() {
    let records: Vec<Activity> = (0..TERMINAL_SHOWS as u32 + 50).map(record).collect();
    let log = Log::with(&records);
    let screen = Screen { width: Some(120), colour: false };
    assert_eq!(log.list(&[], screen).lines().count(), TERMINAL_SHOWS + 1);
    assert_eq!(log.list(&[], PIPE).lines().count(), records.len() + 1);
    assert_eq!(log.list(&["--json"], screen).lines().count(), records.len());
    assert_eq!(log.list(&["--limit", "230"], screen).lines().count(), 231);
}

#[test]
fn a_follower_sees_the_latest_and_then_each_record_within_a_second() {
    let records: Vec<Activity> = (0..30).map(record).collect();
    let log = Log::with(&records);
    let later = [record(40), record(41), record(42)];
    let (mut out, mut added) = (Vec::new(), None);
    let follow_args = args(&["--follow", "--json", "--user", "ada"]);
    let mut calls = 0;
    follow(&follow_args, &log.path(), PIPE, &mut out, |shown| {
        calls += 1;
        if calls == 1 {
            assert_eq!(shown, FOLLOW_SHOWS);
            log.add(&later);
            added = Some(Instant::now());
        }
        shown < FOLLOW_SHOWS + 2 && calls < 100
    })
    .unwrap();
    assert!(added.unwrap().elapsed() < Duration::from_secs(1));
    let seen: Vec<Uuid> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str::<Activity>(l).unwrap().id)
        .collect();
    let ada = |a: &&Activity| a.user.name.as_deref() == Some("ada");
    let mut expected: Vec<Uuid> = records.iter().filter(ada).map(|a| a.id).collect();
    expected.drain(..expected.len() - FOLLOW_SHOWS);
    expected.extend(later.iter().filter(ada).map(|a| a.id));
    assert_eq!(seen, expected);
}

#[test]
fn a_follower_goes_on_in_the_file_that_replaces_a_damaged_one() {
    let log = Log::with(&[record(0)]);
    let path = log.path();
    let (mut out, mut calls, mut keep) = (Vec::new(), 0, Some(log));
    let mut fresh = None;
    let after = record(7);
    follow(&args(&["-f", "--json"]), &path, PIPE, &mut out, |shown| {
        calls += 1;
        if calls == 1 {
            let Log { log, dir } = keep.take().unwrap();
            drop(log);
            // The follower's own connection kept the write-ahead log alive, which alone would restore the file.
            for part in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(dir.path().join(format!("activity.db{part}")));
            }
            std::fs::write(&path, b"damaged beyond any repair, longer than a header").unwrap();
            let (log, opened) = ActivityLog::open(&path, None).unwrap();
            assert!(matches!(opened, crate::record::activity_log::Opened::SetAside { .. }), "{opened:?}");
            fresh = Some(Log { log, dir });
            fresh.as_ref().unwrap().add(std::slice::from_ref(&after));
        }
        shown < 3 && calls < 100
    })
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(&after.id.to_string()), "{text}");
    assert!(text.lines().any(|l| l.contains("\"type\":\"gap\"") && l.contains("damaged")), "{text}");
}

#[test]
fn without_a_log_it_fails_and_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let error = list(&args(&[]), &path, PIPE, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(!path.exists(), "looking creates nothing");
}
