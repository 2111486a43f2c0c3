//! Rules that ask for content, and which bodies are looked at for them.

use super::*;
use crate::detect::scan::{Scan, Unscanned};

/// What a rule with `content` decides about an activity whose bodies were looked at, or not.
#[track_caller]
fn content_case(rules: &str, activity: ActivityType, scan: Option<&Scan>, at_request: bool) -> &'static str {
    let set = build(&custom(rules));
    let (session, device) = (session_of("slack"), device_of());
    let class = Classification {
        activity,
        download: activity == ActivityType::Download,
        filename: None,
        other_filenames: Vec::new(),
        mime: None,
        file_type: None,
        kind: Kind::Api,
        reason: "test".into(),
    };
    let subject = Subject::new(&class, None).with_content(scan);
    let subject = if at_request { subject.at_request() } else { subject };
    let decision = set.decide(&session, &device, subject);
    assert_eq!(set.explain_subject(&session, &device, subject).decision, decision);
    decision.action().name()
}

fn session_of(app: &str) -> Session {
    Session {
        app: catalog().app(app).cloned().unwrap(),
        user: Arc::default(),
        process: Arc::default(),
        kind: ClientKind::Native,
        remote: false,
        client: ClientAddr("198.51.100.7:40000".parse().unwrap()),
        location: LocationAddr("198.51.100.7".parse().unwrap()),
        original_dst: OriginalDst("203.0.113.1:443".parse().unwrap()),
        server_name: "host.test".into(),
    }
}

fn device_of() -> Device {
    Device { id: "d".into(), compliant: false, reason: "x".into(), tags: Vec::new(), os: "linux".into() }
}

#[test]
fn content_counts_the_detectors_that_are_named() {
    let found = |text: &str, unscanned| Scan { counts: crate::detect::detect(text.as_bytes()), unscanned };
    let one = found("4242424242424242", None);
    let two = found("4242424242424242 and DE89370400440532013000", None);
    let part = found("", Some(Unscanned::TooLarge));
    let rules = rule("content = { detect = ['credit-card', 'iban'], at_least = 2 }\naction = 'block'");
    for (scan, expected) in
        [(None, "allow"), (Some(&one), "allow"), (Some(&two), "block"), (Some(&part), "allow")]
    {
        assert_eq!(content_case(&rules, ActivityType::Upload, scan, false), expected, "{scan:?}");
        assert_eq!(content_case(&rules, ActivityType::Upload, scan, true), expected, "{scan:?}");
        assert_eq!(content_case(&rules, ActivityType::None, scan, true), expected, "{scan:?}");
    }
    let other = rule("content = { detect = ['us-ssn'] }\naction = 'block'");
    assert_eq!(content_case(&other, ActivityType::Upload, Some(&two), false), "allow");
    let strict = rule("content = { detect = ['us-ssn'], unscanned = 'match' }\naction = 'block'");
    assert_eq!(content_case(&strict, ActivityType::Upload, Some(&part), false), "block");
    assert_eq!(content_case(&strict, ActivityType::Upload, Some(&one), false), "allow");
    // Nothing was asked for, so nothing is assumed.
    assert_eq!(content_case(&strict, ActivityType::Upload, None, false), "allow");
    let downloads = rule("activity = ['download']\ncontent = { detect = ['iban'] }\naction = 'block'");
    assert_eq!(content_case(&downloads, ActivityType::Download, Some(&two), false), "block");
    assert_eq!(content_case(&downloads, ActivityType::Upload, Some(&two), false), "allow");
}

/// Before there is a response, a rule about any activity does not take a request for one.
#[test]
fn at_the_request_rules_are_about_what_it_does() {
    let any = rule("files = { larger_than = '1MiB' }\naction = 'block'");
    assert_eq!(content_case(&any, ActivityType::None, None, true), "allow");
    assert_eq!(content_case(&any, ActivityType::None, None, false), "block");
    assert_eq!(content_case(&any, ActivityType::Upload, None, true), "block");
    let uploads = rule("activity = ['upload']\naction = 'block'");
    assert_eq!(content_case(&uploads, ActivityType::Upload, None, true), "block");
    assert_eq!(content_case(&uploads, ActivityType::Message, None, true), "allow");
}

#[test]
fn policies_say_which_bodies_they_have_to_see() {
    let class = |activity| Classification {
        activity,
        download: activity == ActivityType::Download,
        filename: None,
        other_filenames: Vec::new(),
        mime: None,
        file_type: None,
        kind: Kind::Api,
        reason: "test".into(),
    };
    let asked = |rules: &str| {
        let set = build(&custom(rules));
        let bodies = set.bodies_of(catalog().app("slack").unwrap());
        assert_eq!(set.reads_bodies_of(catalog().app("slack").unwrap()), bodies.any());
        [ActivityType::Upload, ActivityType::Message, ActivityType::None]
            .map(|activity| bodies.asks_request(&class(activity)))
            .into_iter()
            .chain(
                [ActivityType::Download, ActivityType::View]
                    .map(|activity| bodies.asks_response(&class(activity))),
            )
            .chain([bodies.asks_forms(), bodies.at_request()])
            .map(|asked| if asked { 'x' } else { '-' })
            .collect::<String>()
    };
    let content = "content = { detect = ['iban'] }";
    assert_eq!(asked(&rule(&format!("{content}\naction = 'block'"))), "xxxxx-x");
    assert_eq!(asked(&rule(&format!("activity = ['upload']\n{content}\naction = 'block'"))), "x----xx");
    assert_eq!(asked(&rule(&format!("activity = ['message']\n{content}\naction = 'monitor'"))), "-x----x");
    assert_eq!(asked(&rule(&format!("activity = ['download']\n{content}\naction = 'block'"))), "---x---");
    assert_eq!(asked(&rule("activity = ['upload']\nfiles.names = ['*.exe']\naction = 'block'")), "-----xx");
    assert_eq!(asked(&rule("activity = ['upload']\naction = 'block'")), "-----xx");
    assert_eq!(asked(&rule("activity = ['upload']\naction = 'monitor'")), "-------");
    assert_eq!(asked(&rule("activity = ['download']\naction = 'block'")), "-------");
    let pages = |rules: &str| {
        let set = build(&custom(rules));
        let catalog = catalog();
        let slack = catalog.app("slack").unwrap();
        (set.bodies_of(slack).restricts_pages(), set.reads_bodies_of(slack))
    };
    assert_eq!(pages(&rule("activity = ['download', 'paste']\naction = 'block'")), (true, true));
    assert_eq!(pages(&rule("activity = ['print']\naction = 'block'")), (true, true));
    assert_eq!(pages(&rule("activity = ['print']\naction = 'monitor'")), (false, false));
    assert_eq!(pages(&rule("action = 'block'")), (false, false), "no page is shown at all");
    let set = build(&block(""));
    assert!(!set.reads_bodies_of(catalog().app("slack").unwrap()));
}
