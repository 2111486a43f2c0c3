//! What heads answer, also for values no parser would let through.

use super::*;

#[test]
fn fields_are_found_without_case_and_keep_their_order() {
    let mut fields: Fields = [("A", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
    assert_eq!(fields.get("A"), Some(&b"1"[..]));
    assert_eq!(fields.get_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!((fields.count("a"), fields.len(), fields.get("c")), (2, 3, None));
    fields.set("A", b"9");
    assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"A"[..], &b"9"[..]), (b"b", b"2")]);
    fields.set("c", b"");
    assert_eq!(fields.remove("B"), 1);
    assert_eq!(fields, [("A", "9"), ("c", "")].into_iter().collect());
    assert_eq!(fields.remove("B"), 0);
}

#[test]
fn list_members_come_from_all_lines() {
    let fields: Fields = [("Connection", "close,, x "), ("connection", "\tUpgrade")].into_iter().collect();
    assert_eq!(fields.tokens("connection").collect::<Vec<_>>(), [&b"close"[..], b"x", b"Upgrade"]);
    assert!(fields.has_token("Connection", "upgrade"));
    assert!(!fields.has_token("Connection", "up"));
}

#[test]
fn secrets_and_queries_stay_out_of_debug_output() {
    let head =
        RequestHead::new("GET", "/f?sig=hush", Version::Http11).with("Cookie", "hush").with("X", "seen");
    let text = format!("{head:?} {head:#?}");
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("seen"));
}

#[track_caller]
fn check(target: &str, host: Option<&str>, path: &str, query: Option<&str>, expected_host: Option<&str>) {
    let mut head = RequestHead::new("GET", target, Version::Http11);
    if let Some(host) = host {
        head.fields_mut().push(b"hOST", host.as_bytes());
    }
    assert_eq!((head.path(), head.query(), head.host()), (path, query, expected_host), "{target:?} {host:?}");
    assert_eq!((head.method(), head.target()), ("GET", target));
}

#[test]
fn target_and_host_take_their_parts() {
    check("/a/b?c=d?e", Some("files.corp.test:8443"), "/a/b", Some("c=d?e"), Some("files.corp.test"));
    check("/", Some("Corp.Test."), "/", None, Some("Corp.Test."));
    check("*", Some("[2001:db8::1]:443"), "*", None, Some("[2001:db8::1]"));
    check("/", Some("[::1]"), "/", None, Some("[::1]"));
    check("HTTPS://a.test:1/x?y", Some("a.test:1"), "/x", Some("y"), Some("a.test"));
    check("http://a.test", None, "/", None, Some("a.test"));
    check("http://a.test?q", None, "/", Some("q"), Some("a.test"));
    check("/?", None, "/", Some(""), None);
}

#[test]
fn odd_values_answer_without_panic() {
    check("", None, "/", None, None);
    check("http://", Some(""), "/", None, None);
    check("é", Some("ä:1"), "é", None, Some("ä"));
    check("httpé", Some(":80"), "httpé", None, None);
    check("/", Some("["), "/", None, Some("["));
    check("/", Some("[::1"), "/", None, Some("["));
    check("/", Some("a:b:c"), "/", None, Some("a"));
    let mut head = RequestHead::new("", "", Version::Http2);
    head.fields_mut().push(b"host", b"\xff\xfe");
    assert_eq!((head.method(), head.host(), head.port()), ("", None, None));
}

#[test]
fn the_pseudo_authority_goes_before_host() {
    let head =
        RequestHead::new("GET", "/", Version::Http2).with("host", "b.test").with_authority("a.test:8443");
    assert_eq!(
        (head.host(), head.port(), head.authority()),
        (Some("a.test"), Some(8443), Some("a.test:8443"))
    );
}

#[test]
fn a_response_has_the_usual_phrase_unless_the_origin_sent_another() {
    assert_eq!(ResponseHead::new(200, Version::Http11).reason(), b"OK");
    assert_eq!(ResponseHead::new(799, Version::Http11).reason(), b"");
    assert_eq!(ResponseHead::with_fields(200, b"Yes", Version::Http11, Fields::new()).reason(), b"Yes");
}
