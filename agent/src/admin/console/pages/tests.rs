//! Pages of a busy agent: everything is there, and no name becomes markup.

use jiff::Timestamp;

use super::super::query_string::Asked;
use super::layout::Standing;
use super::{activity, apps, details, overview, policies};
use crate::activity::tests::sample;
use crate::admin::apps::{AppRow, AppStatus};
use crate::admin::why::Why;
use crate::policy::PolicySet;
use crate::record::metrics::Numbers;
use crate::record::query::Entry;
use crate::record::query::overview::{Actions, BlockedFile, Counted};
use crate::record::query::{Discovered, Gap};

/// Closes whatever could be open, and opens what must not be.
const HOSTILE: &str = "\"'></a></td><script>alert(1)</script><img src=x onerror=alert(1)>\u{202E}";

fn now() -> Timestamp {
    "2026-03-04T12:00:00Z".parse().unwrap()
}

fn standing() -> Standing {
    Standing { version: HOSTILE.into(), unwell: Some(vec!["steering", "listener"]), device: HOSTILE.into() }
}

#[track_caller]
fn check(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    assert!(page.contains("alert(1)"), "the name is not there at all: {page}");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(!page.contains("<img") && !page.contains('\u{202E}'), "{page}");
    assert!(!page.contains("\"'>") && page.contains("2 parts not well"), "{page}");
}

#[test]
fn no_name_becomes_markup() {
    let text = || HOSTILE.to_owned();
    let counted = vec![Counted { name: text(), count: 3, last: now() }];
    let counts = overview::Counts {
        slots: vec![Actions { allow: 1, monitor: 2, block: 3 }; 60],
        apps: counted.clone(),
        users: counted.clone(),
        files: vec![BlockedFile { file: text(), app: text(), count: 3, last: now() }],
    };
    let numbers = Numbers { active_connections: 7, lost: 1, verdicts: vec![(1e-6, 2), (f64::INFINITY, 1)] };
    check(&overview::render(&standing(), overview::Range::Hour, now(), Ok(&counts), &numbers).into_string());
    check(&overview::render(&standing(), overview::Range::Week, now(), Err(HOSTILE), &numbers).into_string());

    let mut record = sample();
    record.app.name = HOSTILE.into();
    record.app.id = HOSTILE.into();
    record.user.name = Some(HOSTILE.into());
    record.request.path = HOSTILE.into();
    record.decision.policy = Some(HOSTILE.into());
    record.decision.reason = HOSTILE.into();
    record.client.user_agent = Some(HOSTILE.into());
    record.file.as_mut().unwrap().name = Some(HOSTILE.into());
    let gap = Gap { since: now(), until: now(), count: 2, reason: text() };
    let listing = activity::Listing {
        entries: vec![Entry::Activity(record.clone().into()), Entry::Gap(gap)],
        next: None,
    };
    let query = form_urlencoded::Serializer::new(String::new())
        // The form shows what was asked for as it was asked: changed, it would ask for something else.
        .append_pair("user", HOSTILE.trim_end_matches('\u{202E}'))
        .append_pair("type", HOSTILE)
        .append_pair("id", &record.id.to_string())
        .finish();
    let asked = Asked::read(&query);
    let why = Why::NotKept(record.id);
    let (_, wrong) = asked.filter();
    assert_eq!(wrong.len(), 1);
    let view = activity::View {
        asked: &asked,
        wrong: &wrong,
        listing: Ok(&listing),
        details: Some(Ok(Some(details::Details { activity: record.into(), why }))),
        apps: vec![text()],
        policies: vec![text()],
    };
    check(&activity::render(&standing(), now(), view).into_string());

    let row = AppRow {
        id: HOSTILE.into(),
        name: HOSTILE.into(),
        suite: Some(HOSTILE.into()),
        category: Some(HOSTILE.into()),
        status: AppStatus::Connected,
        connected: true,
        available_controls: vec![],
        policies: vec![],
        first_seen: Some(now()),
        last_seen: None,
        sessions: 1_000_000,
        users: 2,
        downloads_allowed: 3,
        downloads_blocked: 4,
    };
    let seen = Discovered {
        domain: text(),
        app: text(),
        via: "redirect".into(),
        count: 1,
        first_seen: now(),
        last_seen: now(),
    };
    let all = apps::Apps { rows: vec![row], discovered: vec![seen] };
    check(&apps::render(&standing(), now(), Ok(&all)).into_string());
    check(&apps::render(&standing(), now(), Err(HOSTILE)).into_string());
    check(
        &policies::render(&standing(), now(), &PolicySet::default(), Err(HOSTILE), Some(HOSTILE))
            .into_string(),
    );
}
