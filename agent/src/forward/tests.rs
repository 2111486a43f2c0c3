//! Exports against receivers that come, go and stall, and a file that is rotated.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;

use super::*;
use crate::activity::Activity;
use crate::activity::tests::sample;
use crate::record::activity_log::ActivityLog;
use crate::siem::Form;

const SOON: Duration = Duration::from_secs(20);

struct Setup {
    dir: tempfile::TempDir,
    log: ActivityLog,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = ActivityLog::open(&dir.path().join("activity.db"), None).unwrap();
        Self { dir, log }
    }

    fn record(&self, count: usize) -> Vec<Uuid> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            self.log.record(&Activity { id: *id, ..sample() }).unwrap();
        }
        self.log.flush(SOON).unwrap();
        ids
    }

    fn export(&self, target: ExportTarget, form: Form) -> Exports {
        let export =
            Export { name: "siem".into(), form, target, roots: crate::config::UpstreamRoots::System };
        Exports::start(vec![Prepared { export, connector: None }], &self.dir.path().join("activity.db"))
            .unwrap()
    }

    fn tcp(&self, port: u16) -> Exports {
        self.export(ExportTarget::Tcp { host: "127.0.0.1".into(), port }, Form::Activity)
    }
}

/// Reads frames by their octet counts, as a receiver does, until it has so many.
fn receive(stream: std::net::TcpStream, count: usize) -> Vec<Uuid> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut reader = BufReader::new(stream);
    (0..count)
        .map(|_| {
            let mut length = Vec::new();
            reader.read_until(b' ', &mut length).unwrap();
            let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().unwrap();
            let mut message = vec![0; length];
            reader.read_exact(&mut message).unwrap();
            let message = String::from_utf8(message).unwrap();
            assert!(message.starts_with("<108>1 20"), "{message}");
            let json = &message[message.find('{').unwrap()..];
            serde_json::from_str::<Activity>(json).unwrap().id
        })
        .collect()
}

#[test]
fn every_record_arrives_in_order_and_again_after_the_receiver_died() {
    let setup = Setup::new();
    let first = setup.record(3);
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let exports = setup.tcp(port);
    assert_eq!(receive(receiver.accept().unwrap().0, 3), first, "from before the export was set up");
    // It went away at once: nothing of it is confirmed, all of it comes again with what is new.
    let second = setup.record(700);
    let all = [first, second].concat();
    assert_eq!(receive(receiver.accept().unwrap().0, all.len()), all);
    drop(exports);
}

#[test]
fn what_was_confirmed_is_not_sent_again_after_a_restart() {
    let setup = Setup::new();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let first = setup.record(2);
    let exports = setup.tcp(port);
    let stream = receiver.accept().unwrap().0;
    assert_eq!(receive(stream.try_clone().unwrap(), 2), first);
    let kept = setup.dir.path().join("export-siem.json");
    let by = Instant::now() + SOON;
    while !kept.exists() {
        assert!(Instant::now() < by, "never confirmed");
        std::thread::sleep(POLL);
    }
    let state = exports.states().remove(0);
    assert_eq!((state.sent, state.trouble), (2, None));
    drop(exports);
    let second = setup.record(2);
    let _exports = setup.tcp(port);
    assert_eq!(receive(receiver.accept().unwrap().0, 2), second);
}

#[test]
fn a_file_may_be_rotated_and_holds_whole_lines() {
    let setup = Setup::new();
    let path = setup.dir.path().join("out.jsonl");
    let _exports = setup.export(ExportTarget::File(path.clone()), Form::Cef);
    let wait_for = |path: &Path, lines: usize| {
        let by = Instant::now() + SOON;
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= lines {
                assert!(text.ends_with('\n') && text.lines().all(|l| l.starts_with("CEF:0|")), "{text}");
                return text;
            }
            assert!(Instant::now() < by, "{text}");
            std::thread::sleep(POLL);
        }
    };
    setup.record(3);
    wait_for(&path, 3);
    let rotated = path.with_extension("1");
    std::fs::rename(&path, &rotated).unwrap();
    setup.record(2);
    wait_for(&path, 2);
    assert_eq!(wait_for(&rotated, 3).lines().count(), 3);
}

#[test]
fn a_download_that_was_under_way_is_told_again_with_its_end() {
    let setup = Setup::new();
    let path = setup.dir.path().join("out.jsonl");
    let id = Uuid::now_v7();
    let (entered, transfer) = setup.log.begin(&Activity { id, ..sample() });
    entered.unwrap();
    setup.log.flush(SOON).unwrap();
    let told = |count: usize| {
        let by = Instant::now() + SOON;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<Activity> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if lines.len() >= count {
                assert!(lines.iter().all(|line| line.id == id), "{text}");
                return lines.iter().map(|line| line.transfer.unwrap().state.name()).collect::<Vec<_>>();
            }
            assert!(Instant::now() < by, "{text}");
            std::thread::sleep(POLL);
        }
    };
    let exports = setup.export(ExportTarget::File(path.clone()), Form::Activity);
    assert_eq!(told(1), ["open"]);
    // Also by a process that did not send the first one.
    let kept = setup.dir.path().join("export-siem.json");
    while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(&id.to_string())) {
        std::thread::sleep(POLL);
    }
    drop(exports);
    let _exports = setup.export(ExportTarget::File(path.clone()), Form::Activity);
    drop(transfer);
    setup.log.flush(SOON).unwrap();
    assert_eq!(told(2), ["open", "aborted"]);
    while std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(&id.to_string())) {
        std::thread::sleep(POLL);
    }
    assert_eq!(told(2), ["open", "aborted"]);
}

#[test]
fn a_receiver_that_is_not_there_is_said_and_tried_again() {
    let setup = Setup::new();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    drop(receiver);
    let exports = setup.tcp(port);
    let by = Instant::now() + SOON;
    while exports.states()[0].trouble.is_none() {
        assert!(Instant::now() < by);
        std::thread::sleep(POLL);
    }
    let ids = setup.record(1);
    let receiver = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(receive(receiver.accept().unwrap().0, 1), ids);
}
