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
    let required: &[&str] =
        if class == 6006 { &["actor", "file", "src_endpoint"] } else { &["http_request"] };
    for name in required {
        assert!(event.get(name).is_some(), "class {class} requires {name}: {event}");
    }
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
