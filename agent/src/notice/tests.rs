//! Which requests get the notice, and for how long it counts as read.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::http::head::Version;
use crate::session::Whom;

const NAVIGATION: [(&str, &str); 2] = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];

fn get(target: &str, fields: &[(&str, &str)]) -> RequestHead {
    fields.iter().fold(RequestHead::new("GET", target, Version::Http11), |head, (n, v)| head.with(n, v))
}

#[test]
fn only_pages_that_somebody_opens_get_it() {
    let asked = |fields: &[(&str, &str)]| Asked::of(&get("/", fields), true);
    let html = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for page in [&NAVIGATION[..], &[html]] {
        assert_eq!(asked(page), Some(Asked::Page), "{page:?}");
        assert_eq!(Asked::of(&get("/", page), false), None, "a program: {page:?}");
        let mut post = RequestHead::new("POST", "/", Version::Http11);
        for (name, value) in page {
            post = post.with(name, value);
        }
        assert_eq!(Asked::of(&post, true), None, "a form: {page:?}");
    }
    for other in [
        &[("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), html][..],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"), html],
        &[("Sec-Fetch-Mode", "navigate"), html],
        &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Purpose", "prefetch")],
        &[html, ("X-Requested-With", "XMLHttpRequest")],
        &[("Accept", "application/json")],
        &[],
    ] {
        assert_eq!(asked(other), None, "{other:?}");
    }
}

#[test]
fn its_links_are_followed_from_the_same_site_alone_and_lead_nowhere_else() {
    let at = |query: &str, site: &str| {
        let target = format!("{CONTINUE}?{query}");
        Asked::of(&get(&target, &[&NAVIGATION[..], &[("Sec-Fetch-Site", site)]].concat()), true)
    };
    let continued = |then: &str, hide| Some(Asked::Continue { then: then.to_owned(), hide });
    assert_eq!(at("then=%2Fa%3Fb%3D1", "same-origin"), continued("/a?b=1", false));
    assert_eq!(at("then=%2F&hide=week", "same-origin"), continued("/", true));
    assert_eq!(at("then=%2F&hide=week", "cross-site"), Some(Asked::Page));
    for elsewhere in
        ["//evil.test/", "https://evil.test/", "%2F%2Fevil.test", "%2F%5Cevil.test", "%2Fa%0D%0Ab", ""]
    {
        assert_eq!(at(&format!("then={elsewhere}"), "same-origin"), continued("/", false), "{elsewhere}");
    }
    let again = get(&format!("{CONTINUE}?then=%2F"), &NAVIGATION);
    assert_eq!(behind(&again), "/");
}

proptest! {
    #[test]
    fn nothing_leads_to_another_host(then in "[/\\\\a-z:.%?#\\x00-\\x20é]{0,12}") {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("then", &then).finish();
        let asked = Asked::of(&get(&format!("{CONTINUE}?{query}"), &NAVIGATION), true);
        let Some(Asked::Continue { then, .. }) = asked else { return Err(TestCaseError::fail("no link")) };
        prop_assert!(then.starts_with('/') && !then.starts_with("//") && !then.contains('\\'), "{then}");
        prop_assert!(!then.contains(|c: char| c.is_control() || c == ' '), "{then}");
    }
}

#[test]
fn who_has_read_it_is_shown_it_again_for_another_app_or_after_a_while() {
    let (box_, slack): (Arc<str>, Arc<str>) = ("box".into(), "slack".into());
    let (alice, bob) = (Whom::User(1000), Whom::User(1001));
    let now = Timestamp::UNIX_EPOCH;
    let mut told = Told::default();
    assert!(told.is_due(alice, &box_, now));
    told.read(alice, &box_, now);
    assert!(!told.is_due(alice, &box_, now + SITTING - SignedDuration::from_secs(1)));
    assert!(told.is_due(alice, &box_, now + SITTING));
    assert!(told.is_due(alice, &slack, now) && told.is_due(bob, &box_, now));
    told.hide(alice, now);
    assert!(!told.is_due(alice, &slack, now + HIDDEN - SignedDuration::from_secs(1)));
    assert!(told.is_due(alice, &slack, now + HIDDEN) && told.is_due(bob, &slack, now));
}

#[test]
fn what_was_hidden_outlives_the_agent_and_a_damaged_file_does_not_stop_it() {
    let slack: Arc<str> = "slack".into();
    let now = Timestamp::UNIX_EPOCH;
    let mut told = Told::default();
    told.hide(Whom::User(7), now);
    told.hide(Whom::Host("10.0.0.7".parse().unwrap()), now);
    let later = Told::from_text(&told.to_text()).unwrap();
    assert!(!later.is_due(Whom::User(7), &slack, now));
    assert!(!later.is_due(Whom::Host("10.0.0.7".parse().unwrap()), &slack, now));
    for damaged in ["", "{}", "[{}]", "[{\"whom\":7}]", &told.to_text()[1..]] {
        assert!(Told::from_text(damaged).is_none(), "{damaged}");
    }
}

#[test]
fn memory_of_it_is_bounded_and_forgets_what_ends_first() {
    let app: Arc<str> = "slack".into();
    let mut told = Told::default();
    let at = |number: u32| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(number.into());
    let most = u32::try_from(MAX_HIDDEN).unwrap();
    for number in 0..most + 2 {
        told.hide(Whom::User(number), at(number));
    }
    let now = at(most + 2);
    let shown: Vec<u32> = (0..most + 2).filter(|user| told.is_due(Whom::User(*user), &app, now)).collect();
    assert_eq!(shown, [0, 1]);
}
