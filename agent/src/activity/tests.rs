//! What enters a record and what never does.

pub(crate) mod samples;

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::App;
use crate::classify::Kind;
use crate::http::head::Version;
use crate::policy::decision::Reason;
use crate::session::{Process, User};

pub(in crate::activity) use samples::Facts;
pub(crate) use samples::{full, sample};

#[test]
fn the_json_has_the_shape_of_the_interface_contract() {
    let expected = serde_json::json!({
        "id": "00000000-0000-0000-0000-000000000007",
        "time": "2026-03-04T05:06:07.000008Z",
        "type": "download",
        "app": {"id": "corp-files", "name": "Corp Files", "suite": "corp", "category": "file-hosting"},
        "user": {"name": "ada", "uid": 1000, "groups": ["staff", "hr"]},
        "device": {"id": "d-1", "compliant": false, "tags": ["kiosk"], "os": "Debian 12", "reason": "file missing"},
        "process": {
            "pid": 4711, "exe": "/usr/bin/curl", "name": "curl", "cgroup": "/system.slice/job.service",
            "unit": "job.service", "container": null
        },
        "client": {
            "address": "10.1.2.3", "port": 40000, "kind": "native", "user_agent": "Mozilla/5.0 (X11)", "locations": []
        },
        "server": {"address": "203.0.113.9", "port": 443, "name": "files.corp.test"},
        "request": {
            "method": "GET", "host": "files.corp.test", "path": "/sites/hr/q3%20plan.xlsx", "version": "HTTP/1.1"
        },
        "response": {"status": 200, "mime": "application/pdf", "disposition": "attachment"},
        "file": {
            "name": "q3 plan.xlsx", "extension": "xlsx", "size": 12345, "mime": "application/vnd.ms-excel",
            "type": null
        },
        "decision": {
            "action": "block", "enforced": true, "policy": "no downloads", "rule": null,
            "reason": "the policy applies and its session control covers this activity",
            "policy_set": "00000000-0000-0000-0000-000000000005", "micros": 42
        },
        "report_only": ["trial"],
        "content": null,
        "evaluated": {"download": true, "kind": "attachment", "why": "says attachment", "size": 12345},
        "transfer": null
    });
    let record = sample();
    assert_eq!(serde_json::to_value(&record).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Activity>(expected).unwrap(), record);
}

#[test]
fn records_of_earlier_versions_are_read() {
    let mut json = serde_json::to_value(sample()).unwrap();
    let process = json["process"].as_object_mut().unwrap();
    assert!(process.remove("unit").is_some() && process.remove("container").is_some());
    let read: Activity = serde_json::from_value(json).unwrap();
    assert_eq!((&read.process.unit, &read.process.container), (&None, &None));
    assert!(read.circumstances().is_ok());

    let mut json = serde_json::to_value(sample()).unwrap();
    json.as_object_mut().unwrap().remove("evaluated");
    assert!(json["device"].as_object_mut().unwrap().remove("reason").is_some());
    assert!(json["decision"].as_object_mut().unwrap().remove("policy_set").is_some());
    let read: Activity = serde_json::from_value(json).unwrap();
    assert_eq!(read.circumstances().unwrap_err(), NotEvaluated::Older);
}

/// What policies look at, of a session and of the record made of it.
#[track_caller]
fn check_comes_back(facts: &Facts, cut: bool) {
    let json = serde_json::to_string(&facts.record()).unwrap();
    let record: Activity = serde_json::from_str(&json).unwrap();
    assert_eq!(record.evaluated.as_ref().map(|evaluated| evaluated.cut), Some(cut));
    let found = record.circumstances().unwrap();
    if cut {
        return;
    }
    assert_eq!(found.session.user, facts.session.user);
    assert_eq!(found.session.app.id, facts.session.app.id);
    assert_eq!(found.session.kind, facts.session.kind);
    assert_eq!(found.session.location, facts.session.location);
    assert_eq!(found.device, facts.device);
    assert_eq!(found.class, facts.classification);
    assert_eq!(found.size, Some(12_345));
}

#[test]
fn what_policies_were_asked_about_comes_back_from_the_record() {
    check_comes_back(&Facts::new(), false);
    let mut other_names = Facts::new();
    other_names.classification.other_filenames = vec!["a.exe".into(), "b.exe".into()];
    check_comes_back(&other_names, false);
    let mut no_file = Facts::new();
    no_file.classification.activity = ActivityType::View;
    no_file.classification.filename = None;
    no_file.classification.mime = Some("text/html".into());
    no_file.classification.download = false;
    no_file.classification.file_type = crate::classify::FileType::from_name("pdf");
    assert!(no_file.classification.file_type.is_some());
    check_comes_back(&no_file, false);
    let many = |count: u32| {
        let mut facts = Facts::new();
        let groups = (0..count).map(|n| format!("g{n}").into()).collect();
        facts.session.user = Arc::new(User { groups, ..User::default() });
        facts.device.tags = (0..count).map(|n| format!("t{n}").into()).collect();
        facts
    };
    check_comes_back(&many(65), false);
    check_comes_back(&many(MAX_GROUPS as u32), false);
    check_comes_back(&many(MAX_GROUPS as u32 + 1), true);
    let mut long_name = Facts::new();
    long_name.classification.filename = Some("n".repeat(MAX_FILE_NAME + 1));
    check_comes_back(&long_name, true);
}

#[test]
fn of_a_refusal_nothing_was_asked() {
    let facts = Facts::new();
    let decision = Decision::for_failure(crate::policy::failure_mode::Failure::NoServerName, 1);
    let refused = Refused {
        session: &facts.session,
        device: &facts.device,
        decision: &decision,
        enforced: true,
        request: None,
        networks: &facts.networks,
    };
    let record = Activity::refused(Uuid::nil(), Timestamp::UNIX_EPOCH, &refused);
    assert_eq!(record.circumstances().unwrap_err(), NotEvaluated::Refused);
}

#[test]
fn what_is_unknown_is_null_and_never_guessed() {
    let mut facts = Facts::new();
    facts.session.user = Arc::new(User::default());
    facts.session.process = Arc::new(Process::default());
    facts.request = RequestHead::new("GET", "/", Version::Http10);
    facts.classification.filename = None;
    facts.classification.mime = None;
    facts.classification.activity = ActivityType::View;
    let mut observed = facts.observed();
    observed.response = None;
    let json = serde_json::to_value(Activity::new(Uuid::nil(), Timestamp::UNIX_EPOCH, &observed)).unwrap();
    for pointer in [
        "/user/name",
        "/user/uid",
        "/process/pid",
        "/process/exe",
        "/process/name",
        "/process/cgroup",
        "/process/unit",
        "/process/container",
        "/client/user_agent",
        "/request/host",
        "/response",
        "/file",
        "/content",
        "/decision/rule",
    ] {
        assert_eq!(json.pointer(pointer), Some(&serde_json::Value::Null), "{pointer}");
    }
}

#[test]
fn query_strings_cookies_and_tokens_are_not_kept() {
    let json = serde_json::to_string(&Facts::new().record()).unwrap();
    assert!(!json.contains("secret"), "{json}");
}

#[track_caller]
fn check_path(target: &str, expected: &str) {
    assert_eq!(&*text::path(target), expected, "{target}");
}

#[test]
fn credentials_inside_paths_are_cut_out() {
    check_path("/a/b", "/a/b");
    check_path("/a?b=c", "/a");
    check_path("/a#b", "/a");
    check_path("/a;jsessionid=12AB/b;v=1/c", "/a/b/c");
    check_path("/a;b/c", "/a;b/c");
    check_path("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln/x", "/t/[redacted]/x");
    check_path("/t/x-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "/t/[redacted]");
    check_path("/t/keyJ.pdf", "/t/keyJ.pdf");
    check_path("/services/T024BE7LD/B0123/abcdefghijklmnopqrstuvwx", "/services/T024BE7LD/B0123/[redacted]");
    check_path("/services/list/all/of/them", "/services/list/all/of/them");
    check_path("", "");
}

#[test]
fn a_token_that_the_bound_cuts_leaves_nothing_behind() {
    let target = format!("/{}/eyJ{}", "a".repeat(MAX_PATH - 100), "x".repeat(5000));
    assert!(!text::path(&target).contains("eyJ"));
}

#[track_caller]
fn check_extension(name: &str, expected: Option<&str>) {
    assert_eq!(text::extension(name).as_deref(), expected, "{name:?}");
}

#[test]
fn extensions_are_what_follows_the_last_dot() {
    check_extension("Report.DOCX", Some("docx"));
    check_extension("a.tar.gz", Some("gz"));
    check_extension("a.pdf ", Some("pdf"));
    check_extension(".bashrc", None);
    check_extension("name.", None);
    check_extension("name", None);
    check_extension("Dear all. see below", None);
    check_extension("a.averyveryverylongtail", None);
    check_extension("bericht.ÄB", Some("äb"));
}

#[track_caller]
fn check_size(status: u16, fields: &[(&str, &str)], expected: Option<u64>) {
    let mut head = ResponseHead::new(status, Version::Http11);
    for (name, value) in fields {
        head.fields_mut().push(name.as_bytes(), value.as_bytes());
    }
    assert_eq!(text::sent_size(&head), expected, "{status} {fields:?}");
}

#[test]
fn the_size_is_that_of_the_file_or_unknown() {
    check_size(200, &[("Content-Length", "5")], Some(5));
    check_size(200, &[("Content-Length", "+5")], None);
    check_size(200, &[("Content-Length", "99999999999999999999999")], None);
    check_size(200, &[("Content-Length", "5"), ("Content-Encoding", "gzip")], None);
    check_size(206, &[("Content-Length", "5"), ("Content-Range", "bytes 0-4/900")], Some(900));
    check_size(206, &[("Content-Length", "5"), ("Content-Range", "bytes 0-4/*")], None);
    check_size(206, &[("Content-Length", "5")], None);
    check_size(403, &[("Content-Length", "5")], None);
    check_size(200, &[], None);
}

#[test]
fn an_uploads_size_is_that_of_the_body_unless_the_body_wraps_the_file() {
    let upload = |kind: &str| {
        let mut facts = Facts::new();
        facts.classification.activity = ActivityType::Upload;
        facts.request.fields_mut().push(b"Content-Length", b"77");
        facts.request.fields_mut().push(b"Content-Type", kind.as_bytes());
        facts.record().file.unwrap().size
    };
    assert_eq!(upload("application/pdf"), Some(77));
    assert_eq!(upload("multipart/form-data; boundary=x"), None);
}

#[test]
fn dispositions_and_media_types_are_tokens_or_absent() {
    let disposition = |v: &str| text::disposition_type(v.as_bytes()).map(|s| s.to_string());
    assert_eq!(disposition(" INLINE ;filename=a").as_deref(), Some("inline"));
    assert_eq!(disposition("filename=secret.pdf"), None);
    assert_eq!(disposition("\"attachment\""), None);
    assert_eq!(disposition(""), None);
    let mime = |v: &str| text::essence(v.as_bytes()).map(|s| s.to_string());
    assert_eq!(mime("Text/HTML;charset=utf-8").as_deref(), Some("text/html"));
    assert_eq!(mime("html"), None);
    assert_eq!(mime("a/b c"), None);
}

#[test]
fn unknown_words_in_closed_sets_are_refused() {
    let json = serde_json::to_string(&sample()).unwrap();
    for (from, to) in
        [("\"block\"", "\"destroy\""), ("\"native\"", "\"robot\""), ("\"download\"", "\"steal\"")]
    {
        assert!(serde_json::from_str::<Activity>(&json.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn addresses_are_the_locations_and_never_mapped() {
    let mut facts = Facts::new();
    facts.session.location = LocationAddr("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(facts.record().client.address, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
}

proptest! {
    #[test]
    fn no_text_of_the_wire_exceeds_its_bound(
        target in ".{0,3000}",
        agent in prop::collection::vec(any::<u8>(), 0..2000),
        name in ".{0,1500}",
        mime in ".{0,600}",
    ) {
        let mut facts = Facts::new();
        facts.request = RequestHead::new("GET", &target, Version::Http2);
        facts.request.fields_mut().push(b"user-agent", &agent);
        facts.request.fields_mut().push(b"host", name.as_bytes());
        facts.response.fields_mut().push(b"content-type", mime.as_bytes());
        facts.classification.filename = Some(name.clone());
        facts.classification.mime = Some(mime);
        let record = facts.record();
        let file = record.file.clone().unwrap();
        prop_assert!(record.request.path.len() <= MAX_PATH && !record.request.path.contains(['?', '#']));
        prop_assert!(record.client.user_agent.as_ref().is_none_or(|a| a.len() <= MAX_USER_AGENT));
        prop_assert!(record.request.host.as_ref().is_none_or(|h| h.len() <= MAX_HOST));
        prop_assert!(file.name.as_ref().is_none_or(|n| n.len() <= MAX_FILE_NAME && name.starts_with(&**n)));
        prop_assert!(file.mime.as_ref().is_none_or(|m| m.len() <= MAX_NAME));
        let json = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(serde_json::from_str::<Activity>(&json).unwrap(), record);
    }
}

#[test]
fn the_named_locations_that_hold_the_client_are_named() {
    let address = sample().client.address;
    let networks = |text: &str| -> Arc<[ipnet::IpNet]> { Arc::new([text.parse().unwrap()]) };
    let all = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let own = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    let named = [("lab", networks(&own)), ("elsewhere", networks("192.0.2.0/32")), ("any", networks(all))];
    let mut facts = Facts::new();
    facts.networks = named.into_iter().map(|(name, nets)| (Arc::from(name), nets)).collect();
    let record = facts.record();
    assert_eq!(record.client.locations, ["any".into(), "lab".into()]);
    let mut json = serde_json::to_value(&record).unwrap();
    assert_eq!(serde_json::from_value::<Activity>(json.clone()).unwrap(), record);
    json["client"].as_object_mut().unwrap().remove("locations");
    assert!(serde_json::from_value::<Activity>(json).unwrap().client.locations.is_empty(), "an older record");
}
