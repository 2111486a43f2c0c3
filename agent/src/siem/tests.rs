//! Each form against the rules of its format, with names that try to leave it.

use serde_json::Value;

use super::*;
use crate::activity::tests::sample;
use crate::classify::ActivityType;
use crate::policy::decision::Action;

fn hostile() -> Activity {
    let mut activity = sample();
    activity.user.name = Some("eve|CEF:0|x\\ act=allow".into());
    let file = activity.file.as_mut().unwrap();
    file.name = Some("a=b|c\\d\r\n<14>1 - - - - - - forged".into());
    activity
}

#[test]
fn cef_has_seven_header_fields_and_escaped_values() {
    let line = super::activity(Form::Cef, &hostile(), "gw|1");
    assert!(!line.contains(['\r', '\n']), "{line}");
    let fields: Vec<&str> = line.splitn(8, '|').collect();
    let [version, vendor, product, _, signature, name, severity, extension] = fields.as_slice() else {
        panic!("{line}")
    };
    assert_eq!((*version, *vendor, *product), ("CEF:0", "Portcullis", "Portcullis"));
    assert_eq!((*signature, *name, *severity), ("download", "download blocked", "7"));
    assert!(extension.starts_with("externalId=00000000-0000-0000-0000-000000000007 rt="), "{extension}");
    assert!(extension.contains(" act=block "), "{extension}");
    assert!(extension.contains(" fname=a\\=b|c\\\\d  <14>1 - - - - - - forged "), "{extension}");
    assert!(extension.contains(" suser=eve|CEF:0|x\\\\ act\\=allow "), "{extension}");
    // Every `=` that is not escaped belongs to a key.
    let keys = extension.replace("\\=", "").split(' ').filter(|word| word.contains('=')).count();
    let equals = extension.replace("\\=", "").matches('=').count();
    assert_eq!(keys, equals, "{extension}");
}

/// The attributes that OCSF requires of every event, and of File Hosting Activity.
const REQUIRED: [&str; 7] =
    ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];

#[track_caller]
fn check_ocsf(activity: &Activity, class: u64, id: u64) -> Value {
    let event: Value = serde_json::from_str(&super::activity(Form::Ocsf, activity, "gw")).unwrap();
    for name in REQUIRED {
        assert!(event.get(name).is_some(), "no {name} in {event}");
    }
    assert_eq!((event["class_uid"].as_u64(), event["activity_id"].as_u64()), (Some(class), Some(id)));
    assert_eq!(event["type_uid"].as_u64(), Some(class * 100 + id));
    assert_eq!(event["category_uid"].as_u64(), Some(class / 1000));
    let required: &[&str] = match class {
        6006 => &["actor", "file", "src_endpoint"],
        4002 => &["http_request"],
        _ => &["src_endpoint", "dst_endpoint"],
    };
    for name in required {
        assert!(event.get(name).is_some(), "class {class} requires {name}: {event}");
    }
    // at_least_one of the object Actor.
    assert!(event.get("actor").is_none_or(|actor| !actor.as_object().unwrap().is_empty()), "{event}");
    event
}

#[test]
fn ocsf_has_the_class_and_what_it_requires() {
    let event = check_ocsf(&hostile(), 6006, 2);
    assert_eq!((&event["action_id"], &event["disposition_id"]), (&json!(2), &json!(2)));
    assert_eq!(event["actor"]["user"]["uid"], "1000");
    assert_eq!(event["file"]["ext"], "xlsx");
    assert_eq!(event["time"], 1_772_600_767_000_i64);
    let mut activity = sample();
    activity.kind = ActivityType::View;
    activity.decision.action = Action::Monitor;
    activity.file = None;
    let event = check_ocsf(&activity, 4002, 3);
    assert_eq!(event["action_id"], 3);
    activity.kind = ActivityType::Upload;
    check_ocsf(&activity, 6006, 1);
    activity.kind = ActivityType::SignIn;
    activity.request.method = "POST".into();
    check_ocsf(&activity, 4002, 6);
    // A connection that was refused before it asked for anything, of a client that nobody knows.
    activity.kind = ActivityType::Access;
    activity.decision.action = Action::Block;
    activity.decision.enforced = true;
    (activity.request.method, activity.request.path, activity.response) = ("".into(), "".into(), None);
    activity.user = crate::activity::UserFacts { name: None, uid: None, groups: vec![] };
    activity.process = crate::activity::ProcessFacts {
        pid: None,
        exe: None,
        name: None,
        cgroup: None,
        unit: None,
        container: None,
    };
    activity.client.user_agent = None;
    let event = check_ocsf(&activity, 4001, 5);
    assert_eq!(event.get("actor"), None);
    activity.kind = ActivityType::Upload;
    assert_eq!(check_ocsf(&activity, 6006, 1)["actor"], json!({"app_name": activity.client.kind.name()}));
}

#[test]
fn a_request_of_cef_is_a_whole_url_and_no_key_is_empty() {
    let mut activity = sample();
    let shown = |activity: &Activity, key: &str| {
        let line = super::activity(Form::Cef, activity, "gw");
        line.split(' ').find_map(|word| word.strip_prefix(key).map(str::to_owned))
    };
    activity.request.host = Some("files.corp.test".into());
    activity.request.path = "/dl/report.docx".into();
    activity.server.port = 443;
    assert_eq!(shown(&activity, "request=").as_deref(), Some("https://files.corp.test/dl/report.docx"));
    activity.server.port = 8443;
    assert_eq!(shown(&activity, "request=").as_deref(), Some("https://files.corp.test:8443/dl/report.docx"));
    activity.server.port = 80;
    (activity.request.host, activity.server.name) = (None, "".into());
    activity.server.address = "2001:db8::1".parse().unwrap();
    assert_eq!(shown(&activity, "request=").as_deref(), Some("http://[2001:db8::1]/dl/report.docx"));
    assert_eq!(shown(&activity, "dhost="), None);
}

#[test]
fn a_gap_is_told_in_every_form() {
    let at = "2026-03-04T05:06:07Z".parse().unwrap();
    let gap = Missing { since: at, until: at, count: 12, reason: "disk = full" };
    assert!(missing(Form::Cef, &gap, "gw").contains(" cnt=12 "));
    assert!(missing(Form::Cef, &gap, "gw").ends_with(" reason=disk \\= full"));
    let event: Value = serde_json::from_str(&missing(Form::Ocsf, &gap, "gw")).unwrap();
    for name in REQUIRED {
        assert!(event.get(name).is_some(), "no {name} in {event}");
    }
    let line: Value = serde_json::from_str(&missing(Form::Activity, &gap, "gw")).unwrap();
    assert_eq!((&line["type"], &line["count"]), (&json!("gap"), &json!(12)));
}

#[test]
fn a_frame_counts_its_octets() {
    let mut out = Vec::new();
    let time = "2026-03-04T05:06:07.000008Z".parse().unwrap();
    frame((Severity::of(Action::Block), time, "download"), ("gw \u{e4}\n1", 7), "text ä", &mut out);
    frame((Severity::Error, time, ""), ("", 7), "", &mut out);
    let expected = "<108>1 2026-03-04T05:06:07.000008Z gw1 portcullis 7 download - text ä";
    let second = "<107>1 2026-03-04T05:06:07.000008Z - portcullis 7 - - ";
    let all = format!("{} {expected}{} {second}", expected.len(), second.len());
    assert_eq!(String::from_utf8(out).unwrap(), all);
}
