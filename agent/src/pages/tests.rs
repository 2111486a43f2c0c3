//! What is put into pages, where, and what their heads say afterwards.

use proptest::prelude::*;

use super::csp::{Hashes, allow};
use super::*;
use crate::http::head::Version;

fn page(fields: &[(&str, &str)]) -> ResponseHead {
    fields.iter().fold(ResponseHead::new(200, Version::Http11), |head, (name, value)| head.with(name, value))
}

fn get() -> RequestHead {
    RequestHead::new("GET", "/", Version::Http11)
}

/// Where something comes first, marked by `^`.
#[track_caller]
fn place(marked: &str) {
    let at = marked.find('^').unwrap();
    let text = marked.replacen('^', "", 1);
    assert_eq!(Start::of(text.as_bytes()), Start { at, settled: true, utf16: false }, "{marked}");
}

#[test]
fn the_place_is_behind_what_only_describes_a_page() {
    for marked in [
        "^<p>text",
        "^text",
        "<!doctype html>^\n<p>",
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html lang=en><head>^<title>",
        "\u{feff}<!doctype html><html><head>^\n<script>",
        "<!-- a > b --><!doctype html><!--><html>^<body>",
        "<!---><html><!---->^<p>",
        "<!-- x --!><HTML data-a='>' b=\">\" c=a=b\"c>^<p>",
        "<html a = '>' =\">^ \"x>",
        "<head><meta charset=\"utf-8\">^<meta name=viewport content=x>",
        "<head><meta http-equiv=Content-Type content='text/html; charset=utf-8'>^<title>",
        "<head>^<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\" charset=x>",
        "<head>^<meta http-equiv=refresh content=0 charset=x>",
        "<head>^<meta http-equiv=Content-Security-P&#111;licy charset=x>",
        "<html>^<header>",
        "<head>^<metadata>",
        "<head/>^<script>",
        "^<htm>",
        "^<!x>",
    ] {
        place(marked);
    }
}

#[test]
fn what_is_not_there_yet_is_waited_for_within_a_bound() {
    for started in [
        "",
        "\u{feff}",
        "  ",
        "<",
        "<!",
        "<!-",
        "<!-- ->",
        "<!doc",
        "<!doctype html",
        "<html",
        "<html a='>",
        "<meta charset=x",
    ] {
        let start = Start::of(started.as_bytes());
        assert!(!start.settled, "{started}: {start:?}");
    }
    assert!(!Start::of(&[0xEF]).settled && !Start::of(&[0xFF]).settled);
    assert!(Start::of(&[0xFF, 0xFE, b'<', 0]).utf16 && Start::of(&[0xFE, 0xFF]).utf16);
    let endless = [b"<!doctype html><!--".as_slice(), &[b'x'; MAX_START]].concat();
    assert_eq!(Start::of(&endless), Start { at: 15, settled: true, utf16: false });
}

proptest! {
    /// However the octets of a page arrive, the place is the same.
    #[test]
    fn any_split_finds_the_same_place(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "<!doctype html>", "<html", "<head", "<meta", "<p", ">", " ", "=", "\"", "'", "/", "<!--", "-->", "--!>", "-", "a",
                "charset", "policy", "<", "!", "\u{feff}",
            ]),
            0..24,
        ),
    ) {
        let page = parts.concat();
        let whole = Start::of(page.as_bytes());
        prop_assert!(whole.at <= page.len());
        for split in 0..page.len() {
            let early = Start::of(&page.as_bytes()[..split]);
            prop_assert!(early.at <= split);
            if early.settled {
                prop_assert_eq!(early, whole);
            }
        }
    }

    /// Nothing that a user is told leaves its string.
    #[test]
    fn a_message_is_text_whatever_it_says(told in any::<String>()) {
        let told: Arc<str> = told.into();
        let parts = Restrictions::of(|_| Some(told.clone())).unwrap().parts();
        let html = parts.html();
        prop_assert!(html.is_ascii());
        prop_assert_eq!(html.matches('<').count(), 4);
        let plain = Restrictions::of(|_| Some("".into())).unwrap().parts();
        prop_assert_eq!(parts.script.matches('"').count(), plain.script.matches('"').count());
        prop_assert_eq!(parts.style.matches('"').count(), plain.style.matches('"').count());
        prop_assert_eq!(parts.style.matches(['{', '}', ';']).count(), plain.style.matches(['{', '}', ';']).count());
    }

    /// Octets of a policy from anywhere; what it says of others stays as it was.
    #[test]
    fn policies_lose_nothing(
        directives in prop::collection::vec(
            ("(img-src|script-src|script-src-elem|style-src|default-src|sandbox|x)", "( ('none'|'self'|'unsafe-inline'|'nonce-a'|https:|a\\.test)){0,3}"),
            0..6,
        ),
    ) {
        let text: Vec<String> = directives.iter().map(|(name, sources)| format!("{name}{sources}")).collect();
        let mut fields = Fields::new();
        fields.push(b"content-security-policy", text.join("; ").as_bytes());
        allow(&mut fields, &hashes());
        let after = String::from_utf8(fields.get("content-security-policy").unwrap().to_vec()).unwrap();
        let after: Vec<&str> = after.split(';').map(str::trim).collect();
        for (number, before) in text.iter().enumerate() {
            let now = after.get(number).copied().unwrap_or_default();
            let same = now.split(' ').filter(|word| !word.starts_with("'sha256-"));
            let same: Vec<&str> = same.filter(|word| *word != "'none'").collect();
            let known: Vec<&str> = before.split(' ').filter(|word| *word != "'none'" && !word.is_empty()).collect();
            prop_assert_eq!(same, known);
        }
    }
}

fn hashes() -> Hashes {
    Hashes { script: "'sha256-S'".to_owned(), style: Some("'sha256-T'".to_owned()) }
}

#[track_caller]
fn policy(before: &str, after: &str) {
    let mut fields = Fields::new();
    fields.push(b"Content-Security-Policy", before.as_bytes());
    allow(&mut fields, &hashes());
    let line = String::from_utf8(fields.get("content-security-policy").unwrap().to_vec()).unwrap();
    assert_eq!(line, after, "{before}");
}

#[test]
fn a_content_security_policy_lets_our_own_pass_and_nothing_else() {
    policy(
        "default-src 'none'; script-src 'nonce-x'",
        "default-src 'none'; script-src 'nonce-x' 'sha256-S'; style-src-elem 'sha256-T'",
    );
    policy("script-src 'NONE'; style-src 'self'", " script-src 'sha256-S'; style-src 'self' 'sha256-T'");
    policy(
        "default-src 'self' https:",
        "default-src 'self' https:; script-src-elem 'self' https: 'sha256-S'; style-src-elem 'self' https: 'sha256-T'",
    );
    // A hash would keep the page's own inline scripts from running.
    let inline = "script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'";
    policy(inline, inline);
    policy(
        "script-src 'unsafe-inline' 'strict-dynamic'; style-src 'unsafe-inline' 'strict-dynamic'",
        " script-src 'unsafe-inline' 'strict-dynamic' 'sha256-S'; style-src 'unsafe-inline' 'strict-dynamic'",
    );
    policy("img-src 'none'; upgrade-insecure-requests", "img-src 'none'; upgrade-insecure-requests");
    policy(
        "script-src a; script-src-elem b; script-src-elem c",
        "script-src a; script-src-elem b 'sha256-S'; script-src-elem c",
    );
    // Each of several policies holds.
    policy("script-src a, style-src b", " script-src a 'sha256-S', style-src b 'sha256-T'");
    let mut fields = Fields::new();
    for line in ["script-src a", "script-src b"] {
        fields.push(b"content-security-policy", line.as_bytes());
    }
    allow(&mut fields, &hashes());
    assert!(fields.get_all("content-security-policy").all(|line| line.ends_with(b" 'sha256-S'")));
    assert_eq!(fields.count("content-security-policy"), 2);
}

#[test]
fn only_pages_are_altered() {
    let html = ("Content-Type", "Text/HTML; charset=utf-8");
    let is = |fields: &[(&str, &str)]| is_page(&get(), &page(fields));
    assert_eq!(is(&[html]), Ok(true));
    assert_eq!(is(&[html, ("Content-Encoding", "identity")]), Ok(true));
    assert_eq!(is(&[html, ("Content-Encoding", "gzip")]), Err(Unrestrictable::Compressed));
    assert_eq!(is(&[("Content-Type", "text/html;charset=UTF-16LE")]), Err(Unrestrictable::Utf16));
    for other in [&[][..], &[("Content-Type", "text/plain")], &[("Content-Type", "application/json")]] {
        assert_eq!(is(other), Ok(false), "{other:?}");
    }
    assert_eq!(is_page(&RequestHead::new("HEAD", "/", Version::Http11), &page(&[html])), Ok(false));
    for status in [204, 206, 304] {
        let head = ResponseHead::new(status, Version::Http11).with(html.0, html.1);
        assert_eq!(is_page(&get(), &head), Ok(false), "{status}");
    }
    let failed = ResponseHead::new(404, Version::Http11).with(html.0, html.1);
    assert_eq!(is_page(&get(), &failed), Ok(true));
}

#[test]
fn heads_fit_what_is_sent() {
    let mut request =
        get().with("If-None-Match", "\"a\"").with("Accept-Encoding", "gzip, br").with("Range", "bytes=5-");
    ask(&mut request);
    assert_eq!(request.fields().get("if-none-match"), None);
    assert_eq!(request.fields().get("accept-encoding"), Some(&b"identity"[..]));
    assert_eq!(request.fields().get("range"), Some(&b"bytes=5-"[..]));
    let mut response = page(&[
        ("Content-Length", "100"),
        ("ETag", "\"a\""),
        ("Last-Modified", "x"),
        ("Cache-Control", "max-age=60"),
        ("Content-Digest", "sha-256=:x:"),
        ("Set-Cookie", "a=b"),
    ]);
    answer(&mut response, 11, &hashes());
    let fields: Vec<_> =
        response.fields().iter().map(|(n, v)| (n.to_ascii_lowercase(), v.to_vec())).collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"content-length", b"111"), (b"cache-control", b"no-store"), (b"set-cookie", b"a=b")];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
}

#[test]
fn only_what_is_blocked_is_named() {
    assert_eq!(Restrictions::of(|_| None), None);
    let only = |wanted| {
        Restrictions::of(|activity| (activity == wanted).then(|| "No \"quotes\" é.".into())).unwrap().parts()
    };
    let copy = only(ActivityType::Copy);
    assert!(copy.script.contains("const M={copy:\"No \\u0022quotes\\u0022 \\u00e9.\"};"), "{}", copy.script);
    assert!(copy.html().starts_with("<script>"));
    let print = only(ActivityType::Print);
    assert!(
        print.style.contains("content:\"No\\000020\\000022quotes\\000022\\000020\\0000e9\\00002e\""),
        "{}",
        print.style
    );
}
