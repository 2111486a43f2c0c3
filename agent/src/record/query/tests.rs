//! Filters against a naive filter over the same records, and following.

mod listing;

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::activity::FileFacts;
use crate::activity::tests::sample;
use crate::record::activity_log::ActivityLog;
use crate::record::segments;

const SOON: Duration = Duration::from_secs(20);
const BASE: i64 = 1_700_000_000_000_000;

/// Values that differ in what a sloppy filter would confuse: case, prefixes, wildcards, quotes, numbers as names.
const USERS: [&str; 5] = ["ada", "Ada", "ad%", "1000", "o'brien\"; --"];
const APPS: [(&str, Option<&str>); 4] =
    [("slack", None), ("teams", Some("office365")), ("sharepoint", Some("office365")), ("office365x", None)];
const DEVICES: [&str; 3] = ["d-1", "d-10", "D-1"];
const POLICIES: [&str; 3] = ["no downloads", "no_downloads", "NO downloads"];
const FILES: [&str; 7] =
    ["q3.xlsx", "Q3.XLSX", "q3_xlsx", "a%b.pdf", "aXb.pdf", "back\\slash.pdf", "ärger.pdf"];
const ADDRESSES: [&str; 6] =
    ["10.0.0.1", "10.0.255.255", "10.1.0.0", "a00::1", "2001:db8::1", "255.255.255.255"];
const PATTERNS: [&str; 10] =
    ["q3.xlsx", "*.xlsx", "q3?xlsx", "a%b.pdf", "a*b.pdf", "*", "", "back\\*", "?rger.pdf", "*PDF"];
const NETWORKS: [&str; 7] = [
    "10.0.0.0/16",
    "10.0.0.1/32",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "10.0.128.0/17",
    "255.255.255.255/32",
];

fn activity() -> impl Strategy<Value = Activity> {
    (
        (prop::option::of(select(&USERS[..])), prop::option::of(select(vec![1000_u32, 1001, 0]))),
        select(&APPS[..]),
        (select(&ActivityType::ALL[..]), select(vec![Action::Allow, Action::Monitor, Action::Block])),
        (select(&DEVICES[..]), select(&ADDRESSES[..]), prop::option::of(select(&POLICIES[..]))),
        (prop::option::of(prop::option::of(select(&FILES[..]))), 0..20_i64),
    )
        .prop_map(
            |((user, uid), (app, suite), (kind, action), (device, address, policy), (file, time))| {
                let mut activity = sample();
                activity.id = Uuid::now_v7();
                activity.time = Timestamp::from_microsecond(BASE + time).unwrap();
                activity.user.name = user.map(Into::into);
                activity.user.uid = uid;
                activity.app.id = app.into();
                activity.app.suite = suite.map(Into::into);
                activity.kind = kind;
                activity.decision.action = action;
                activity.decision.policy = policy.map(Into::into);
                activity.device.id = device.into();
                activity.client.address = address.parse().unwrap();
                activity.file = file.map(|name| FileFacts {
                    name: name.map(Into::into),
                    extension: None,
                    size: None,
                    mime: None,
                    file_type: None,
                });
                activity
            },
        )
}

fn filter() -> impl Strategy<Value = Filter> {
    let some = |values: Vec<&'static str>| prop::option::weighted(0.3, select(values).prop_map(String::from));
    let time = || {
        prop::option::weighted(
            0.3,
            (-1..21_i64, 0..3_i32).prop_map(|(micros, nanos)| {
                Timestamp::from_nanosecond(i128::from(BASE + micros) * 1000 + i128::from(nanos) * 400)
                    .unwrap()
            }),
        )
    };
    let users = USERS.into_iter().chain(["1001", "0", "nobody", "-1"]).collect();
    let apps = vec!["slack", "teams", "office365", "office365x", "none"];
    (
        (some(users), some(apps), prop::option::weighted(0.3, select(&ActivityType::ALL[..]))),
        prop::option::weighted(0.3, select(vec![Action::Allow, Action::Monitor, Action::Block])),
        prop::option::weighted(0.3, select(&NETWORKS[..]).prop_map(|n| n.parse::<IpNet>().unwrap())),
        (some(DEVICES.to_vec()), some(POLICIES.to_vec()), some(PATTERNS.to_vec())),
        (time(), time(), prop::option::weighted(0.2, 0..40_usize)),
    )
        .prop_map(
            |((user, app, kind), action, network, (device, policy, file), (since, until, limit))| Filter {
                user,
                app,
                kind,
                action,
                network,
                device,
                since,
                until,
                policy,
                file,
                limit,
            },
        )
}

/// Says the same as `Filter`, the slow and obvious way.
fn holds(filter: &Filter, a: &Activity) -> bool {
    let is =
        |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
    let uid_is = |wanted: &str| a.user.uid.is_some_and(|uid| uid.to_string() == wanted);
    let user = filter.user.as_deref().is_none_or(|w| a.user.name.as_deref() == Some(w) || uid_is(w));
    let app = filter.app.as_deref().is_none_or(|w| &*a.app.id == w || a.app.suite.as_deref() == Some(w));
    let name = a.file.as_ref().and_then(|f| f.name.as_deref());
    let file =
        filter.file.as_deref().is_none_or(|pattern| name.is_some_and(|name| name_matches(pattern, name)));
    let address: IpAddr = a.client.address;
    user && app
        && file
        && filter.kind.is_none_or(|w| w == a.kind)
        && filter.action.is_none_or(|w| w == a.decision.action)
        && filter.network.is_none_or(|n| n.contains(&address))
        && is(&filter.device, Some(&*a.device.id))
        && is(&filter.policy, a.decision.policy.as_deref())
        && filter.since.is_none_or(|t| a.time >= t)
        && filter.until.is_none_or(|t| a.time <= t)
}

pub(super) fn name_matches(pattern: &str, name: &str) -> bool {
    let fold = |text: &str| text.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    glob(&fold(pattern), &fold(name))
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        Some(('?', rest)) => text.split_first().is_some_and(|(_, text)| glob(rest, text)),
        Some((c, rest)) => text.split_first().is_some_and(|(t, text)| t == c && glob(rest, text)),
    }
}

fn shown(reader: &Reader, filter: &Filter) -> Vec<Uuid> {
    let mut ids = Vec::new();
    reader
        .newest_first(filter, |entry| {
            if let Entry::Activity(a) = entry {
                ids.push(a.id);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    ids
}

fn store(path: &Path, records: &[Activity]) -> ActivityLog {
    let (log, _) = ActivityLog::open(path, None).unwrap();
    for record in records {
        log.record(record).unwrap();
    }
    log.flush(SOON).unwrap();
    log
}

/// Segments of these sizes are made one after the other, for as long as there are records for them: none, some, all in
/// segments of one.
const SEGMENTS: [usize; 4] = [1_000_000, 50, 7, 1];

pub(super) fn make_segments(path: &Path, size: usize) {
    let mut connection = Connection::open(path).unwrap();
    while segments::make(size, &mut connection).unwrap() {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_combination_of_filters_shows_exactly_the_records_expected(
        records in prop::collection::vec(activity(), 0..120),
        filters in prop::collection::vec(filter(), 60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let log = store(&path, &records);
        let reader = Reader::open(&path).unwrap();
        for (size, filter) in SEGMENTS.iter().flat_map(|size| filters.iter().map(move |filter| (*size, filter))) {
            make_segments(&path, size);
            let mut expected: Vec<(usize, &Activity)> =
                records.iter().enumerate().filter(|(_, a)| holds(filter, a)).collect();
            expected.sort_by_key(|(seq, a)| std::cmp::Reverse((a.time, *seq)));
            expected.truncate(filter.limit.unwrap_or(usize::MAX));
            let expected: Vec<Uuid> = expected.into_iter().map(|(_, a)| a.id).collect();
            prop_assert_eq!(&shown(&reader, filter), &expected, "{:?}, segments down to {}", filter, size);
        }
        drop(log);
    }
}

/// One filter for each value of each field.
fn single_filters() -> Vec<Filter> {
    let text = |set: fn(&mut Filter, String), values: &[&str]| -> Vec<Filter> {
        let of = |value: &&str| {
            let mut filter = Filter::default();
            set(&mut filter, (*value).to_owned());
            filter
        };
        values.iter().map(of).collect()
    };
    let at = |micros: i64| Timestamp::from_microsecond(BASE + micros).ok();
    let mut all =
        text(|filter, value| filter.user = Some(value), &[&USERS[..], &["1001", "nobody"]].concat());
    all.extend(text(|filter, value| filter.app = Some(value), &["slack", "teams", "office365", "none"]));
    all.extend(text(|filter, value| filter.device = Some(value), &DEVICES));
    all.extend(text(|filter, value| filter.policy = Some(value), &POLICIES));
    all.extend(text(|filter, value| filter.file = Some(value), &PATTERNS));
    all.extend(ActivityType::ALL.map(|kind| Filter { kind: Some(kind), ..Filter::default() }));
    all.extend(
        [Action::Allow, Action::Monitor, Action::Block]
            .map(|action| Filter { action: Some(action), ..Filter::default() }),
    );
    all.extend(NETWORKS.map(|network| Filter { network: network.parse().ok(), ..Filter::default() }));
    all.extend([3, 10].map(|micros| Filter { since: at(micros), ..Filter::default() }));
    all.extend([9, 15].map(|micros| Filter { until: at(micros), ..Filter::default() }));
    all
}

/// Both at once; `None` where both ask for the same field.
fn both(a: &Filter, b: &Filter) -> Option<Filter> {
    let joined = Filter {
        user: a.user.clone().or(b.user.clone()),
        app: a.app.clone().or(b.app.clone()),
        kind: a.kind.or(b.kind),
        action: a.action.or(b.action),
        network: a.network.or(b.network),
        device: a.device.clone().or(b.device.clone()),
        since: a.since.or(b.since),
        until: a.until.or(b.until),
        policy: a.policy.clone().or(b.policy.clone()),
        file: a.file.clone().or(b.file.clone()),
        limit: None,
    };
    (joined != *a && joined != *b).then_some(joined)
}

#[test]
fn every_filter_alone_and_in_pairs_shows_exactly_the_records_expected() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let records = prop::collection::vec(activity(), 200).new_tree(&mut runner).unwrap().current();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activity.db");
    let log = store(&path, &records);
    let reader = Reader::open(&path).unwrap();
    let singles = single_filters();
    let pairs =
        singles.iter().enumerate().flat_map(|(at, a)| singles[at..].iter().filter_map(move |b| both(a, b)));
    let all: Vec<Filter> = singles.iter().cloned().chain(pairs).collect();
    for size in SEGMENTS {
        make_segments(&path, size);
        let mut found = 0;
        for filter in &all {
            let mut expected: Vec<(usize, &Activity)> =
                records.iter().enumerate().filter(|(_, a)| holds(filter, a)).collect();
            expected.sort_by_key(|(seq, a)| std::cmp::Reverse((a.time, *seq)));
            found += usize::from(!expected.is_empty());
            let expected: Vec<Uuid> = expected.into_iter().map(|(_, a)| a.id).collect();
            assert_eq!(shown(&reader, filter), expected, "{filter:?}, segments down to {size}");
        }
        assert!(all.len() > 900 && found > all.len() / 3, "{found} of {} found something", all.len());
    }
    drop(log);
}
