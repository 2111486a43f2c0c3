//! What an admin reads when all is well, and when it is not.

use std::path::PathBuf;

use super::*;
use crate::admin::health::{Part, PartHealth};
use crate::admin::status::{
    AuthorityStatus, ConsoleStatus, DeviceStatus, ExportStatus, GapStatus, LogStatus, NextAuthority,
    PolicyStatus, ReloadStatus, SteeringStatus,
};

const NOW: &str = "2026-03-04T12:00:00Z";
const PLAIN: Screen = Screen { width: None, colour: false };

pub(in crate::cli) fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        pid: 4711,
        since: "2026-03-04T09:30:00Z".parse().unwrap(),
        mode: "host".into(),
        listener: "127.0.0.1:40443".into(),
        steering: SteeringStatus {
            hooks: vec!["portcullis_connect4 on /sys/fs/cgroup".into()],
            counters: [("steered".to_owned(), 12), ("refused".to_owned(), 0)].into(),
            fail: "closed".into(),
            pins: Some("/sys/fs/bpf/portcullis/_root/v3".into()),
            adopted: true,
            gap: Some(GapStatus {
                from: "2026-03-04T09:29:57Z".parse().unwrap(),
                to: "2026-03-04T09:30:00Z".parse().unwrap(),
            }),
        },
        policies: PolicyStatus {
            revision: 3,
            count: 2,
            apps: 40,
            last_reload: Some(ReloadStatus { time: "2026-03-04T11:59:00Z".parse().unwrap(), error: None }),
            rolled_back: None,
        },
        device: DeviceStatus {
            id: "d-1".into(),
            compliant: true,
            reason: "checks passed".into(),
            tags: vec![],
            checks: vec![],
        },
        certificate_authority: AuthorityStatus {
            subject: "CN=Portcullis on host".into(),
            fingerprint: "ab".repeat(32),
            not_after: None,
            constraints: Constraints::CoverCatalog,
            next: None,
        },
        activity_log: LogStatus {
            path: PathBuf::from("/var/lib/portcullis/activity.db"),
            records: 99,
            lost: 0,
            trouble: None,
            set_aside: None,
        },
        console: Some(ConsoleStatus { listen: "127.0.0.1:9465".into(), trouble: None }),
        exports: vec![ExportStatus {
            name: "siem".into(),
            to: "tls://siem.example:6514".into(),
            sent: 12,
            last: None,
            trouble: None,
        }],
        health: Part::ALL.map(|part| PartHealth { part, condition: Condition::Ok }).to_vec(),
    }
}

fn show(status: &Status) -> String {
    screenful(status, PLAIN, NOW.parse().unwrap())
}

#[test]
fn a_well_agent_fits_one_screen_and_says_so() {
    let text = show(&status());
    assert!(is_well(&status()));
    assert!(text.lines().count() <= 24, "{text}");
    for part in [
        "pid 4711, running\n",
        "(2 h 30 min ago)",
        "host, listening on 127.0.0.1:40443",
        "portcullis_connect4",
        "steered 12",
        "fail closed, state kept in /sys/fs/bpf/portcullis/_root/v3",
        "none for 3.0 s until",
        "2 policies, 40 apps, revision 3",
        "(1 min ago)",
        "d-1, compliant",
        "SHA-256 abab",
        "99 records, 0 lost",
        "certificate-authority ok",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("refused"), "counters that count nothing are noise");
}

#[test]
fn what_is_wrong_is_said_with_its_reason_and_remedy() {
    let mut status = status();
    status.policies.last_reload.as_mut().unwrap().error =
        Some("10.toml:3:1: no such app\n  3 | include\x1b[2J".into());
    status.certificate_authority.constraints =
        Constraints::Outgrown { names: (0..9).map(|n| format!("host{n}.test")).collect() };
    status.certificate_authority.next = Some(NextAuthority {
        subject: "CN=the next".into(),
        fingerprint: "cd".repeat(32),
        follows_at: Some(NOW.parse().unwrap()),
    });
    status.activity_log.trouble = Some("database or disk is full".into());
    status.activity_log.lost = 7;
    status.health[0].condition = Condition::Failed("hook detached".into());
    status.health[4].condition = Condition::Degraded("last good policies".into());
    assert!(!is_well(&status));
    let text = show(&status);
    for part in [
        "running, not well",
        "last good policies are in force",
        "10.toml:3:1: no such app\n",
        "outgrown",
        "host4.test, …",
        "portcullis ca rotate",
        "to follow: CN=the next",
        "in force from ",
        "disk is full",
        "7 lost",
        "steering failed: hook detached",
        "policies degraded: last good policies",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(
        screenful(&status, Screen { width: Some(80), colour: true }, NOW.parse().unwrap())
            .contains("\x1b[31m")
    );
}

#[test]
fn degraded_is_not_well_either() {
    let mut status = status();
    status.health[5].condition = Condition::Degraded("stale".into());
    assert!(!is_well(&status));
}

#[test]
fn json_is_the_value_itself() {
    let text = as_json(&status());
    assert_eq!(text.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status());
}

#[test]
fn an_answer_of_another_version_names_both() {
    let error = understand(serde_json::json!({"version": "9.9.9"})).unwrap_err();
    assert!(
        error.to_string().contains("9.9.9") && error.to_string().contains(env!("CARGO_PKG_VERSION")),
        "{error}"
    );
}

#[test]
fn without_a_daemon_the_exit_status_is_three() {
    let dir = tempfile::tempdir().unwrap();
    let code = run(&StatusArgs::default(), &dir.path().join("control.sock"));
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(3)));
}
