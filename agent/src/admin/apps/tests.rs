//! The list against policies and a real activity log.

use std::time::Duration;

use super::*;
use crate::activity::Via;
use crate::activity::tests::sample;
use crate::activity::tests::samples::session;
use crate::classify::ActivityType;
use crate::diagnostic::SourceFile;
use crate::policy::decision::Action;
use crate::record::Recorder;
use crate::record::activity_log::ActivityLog;
use crate::record::metrics::Metrics;
use crate::reload::{Texts, compile};
use crate::session::User;

const APPS: &str = r#"
[[app]]
id = "corp-files"
name = "Corp Files"
suite = "corp"
category = "file-hosting"
domains = ["files.corp.test", "*.corp.test"]
[[app]]
id = "memo"
name = "Memo"
domains = ["memo.test"]
"#;

fn snapshot(settings: &str, states: [&str; 2]) -> Snapshot {
    let [corp, memo] = states;
    let policies = format!(
        "[[policy]]\nname = \"corp\"\nstate = \"{corp}\"\n[policy.apps]\ninclude = [\"corp\"]\n[policy.session]\n\
         control = \"block-downloads\"\n[[policy]]\nname = \"memo\"\nstate = \"{memo}\"\n[policy.apps]\n\
         include = [\"memo\"]\n[policy.session]\ncontrol = \"monitor-only\"\n"
    );
    let texts = Texts {
        config: Some(SourceFile::new("portcullis.toml", settings)),
        apps: vec![SourceFile::new("apps.d/a.toml", APPS)],
        policies: vec![SourceFile::new("policies.d/a.toml", policies.as_str())],
    };
    compile(&texts, 1).unwrap()
}

#[test]
fn each_selected_app_has_a_row_before_anybody_used_it_and_no_other() {
    let rows = rows(&snapshot("", ["enabled", "report-only"]), None).unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| &*row.id).collect();
    assert_eq!(ids, ["corp-files", "memo"]);
    assert_eq!(rows[0].status, AppStatus::Waiting);
    assert_eq!((rows[0].sessions, rows[0].first_seen), (0, None));
    assert_eq!(rows[0].available_controls, CONTROLS);
    assert_eq!(rows[0].policies, ["corp".into()]);
    let rows = super::rows(&snapshot("", ["disabled", "disabled"]), None).unwrap();
    assert_eq!(rows, [], "no policy, no app");
}

#[test]
fn an_app_whose_names_are_all_bypassed_has_no_controls() {
    let of = |bypass: &str| {
        let settings = format!("[tls]\nbypass = [{bypass}]\n");
        let rows = rows(&snapshot(&settings, ["enabled", "disabled"]), None).unwrap();
        (rows[0].status, rows[0].available_controls.len())
    };
    assert_eq!(of("\"files.corp.test\", \"*.corp.test\""), (AppStatus::Bypassed, 0));
    assert_eq!(of("\"*.corp.test\""), (AppStatus::Bypassed, 0));
    assert_eq!(of("\"files.corp.test\""), (AppStatus::Waiting, 3));
    assert_eq!(of("\"*.files.corp.test\""), (AppStatus::Waiting, 3));
}

#[test]
fn sessions_users_downloads_and_discovered_hosts_are_counted_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let recorder = || {
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        Recorder::new(log, Arc::new(Metrics::new("1")))
    };
    let snapshot = snapshot("", ["enabled", "enabled"]);
    let log = recorder();
    let metrics = log.metrics.no_app();
    for user in [Some("ada"), Some("ada"), Some("bo"), None] {
        let mut session = session();
        session.user = Arc::new(User { name: user.map(Into::into), ..User::default() });
        let in_use = log.in_use(&session);
        in_use.saw(Via::Referrer, "portal.example");
        in_use.saw(Via::Referrer, "portal.example");
        in_use.saw(Via::Redirect, "memo.test");
        for (kind, action) in [
            (ActivityType::Download, Action::Block),
            (ActivityType::Download, Action::Monitor),
            (ActivityType::Download, Action::Allow),
            (ActivityType::View, Action::Allow),
        ] {
            let mut activity = sample();
            activity.id = uuid::Uuid::now_v7();
            activity.kind = kind;
            activity.decision.action = action;
            log.activity(&metrics, activity.into()).unwrap();
        }
    }
    drop(log);
    let log = recorder();
    log.log.flush(Duration::from_secs(20)).unwrap();
    let reader = Reader::open(&path).unwrap();
    let row = rows(&snapshot, Some(&reader)).unwrap().remove(0);
    assert_eq!((row.status, row.connected), (AppStatus::Connected, true));
    assert_eq!((row.sessions, row.users), (4, 2), "who is unknown is nobody");
    assert_eq!((row.downloads_allowed, row.downloads_blocked), (8, 4));
    assert!(row.first_seen <= row.last_seen);
    // memo.test belongs to an app by now, whoever saw it when.
    let found = discovered(&snapshot, &reader).unwrap();
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (&*one.domain, &*one.app, &*one.via, one.count),
        ("portal.example", "corp-files", "referrer", 8)
    );
}

#[test]
fn hosts_that_a_client_makes_up_push_out_none_that_is_seen_often() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let (log, _) = ActivityLog::open(&path, None).unwrap();
    let log = Recorder::new(log, Arc::new(Metrics::new("1")));
    {
        let in_use = log.in_use(&session());
        in_use.saw(Via::Referrer, "portal.example");
        in_use.saw(Via::Referrer, "portal.example");
        for made_up in 0..5000 {
            in_use.saw(Via::Referrer, &format!("{made_up}.evil.example"));
        }
    }
    log.log.flush(Duration::from_secs(20)).unwrap();
    let found = Reader::open(&path).unwrap().discovered().unwrap();
    assert!(found.len() <= 4096, "{}", found.len());
    assert_eq!((&*found[0].domain, found[0].count), ("portal.example", 2));
}
