//! Each form against the rules of its format, with names that try to leave it.

mod ocsf;

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
