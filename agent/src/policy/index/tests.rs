//! The index against asking every policy, over sets and sessions of all shapes.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::catalog::{App, Catalog};
use crate::classify::{ActivityType, Classification, Kind};
use crate::diagnostic::SourceFile;
use crate::policy::{Networks, PolicySet, Subject};
use crate::session::{ClientKind, Device, Process, Session, User};

const USERS: [&str; 6] = ["all", "user:ada", "user:bob", "uid:1000", "group:staff", "group:ops"];
const APPS: [&str; 4] = ["all", "slack", "box", "office365"];
const DEVICES: [&str; 4] = ["all", "compliant", "tag:eu", "tag:kiosk"];
const LOCATIONS: [&str; 5] = ["all", "corp", "lab", "six", "last"];
const CONTROLS: [&str; 7] = [
    "",
    "session.control = 'block-downloads'",
    "session.control = 'monitor-only'",
    "session.control = 'custom'\n[[policy.session.rule]]\nactivity = ['download']\naction = 'block'",
    "session.control = 'custom'\n[[policy.session.rule]]\nfiles.extensions = ['docx']\naction = 'monitor'",
    "session.control = 'custom'\n[[policy.session.rule]]\nactivity = ['upload']\naction = 'allow'",
    "session.control = 'custom'\n[[policy.session.rule]]\naction = 'allow'\n[[policy.session.rule]]\n\
     activity = ['view']\naction = 'block'",
];

/// A condition under `key`: absent, or with lists that may be of any length but an empty include.
fn scope(key: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = subsequence(words, 1..=words.len());
    let none = subsequence(words, 0..=words.len());
    prop_oneof![
        Just(String::new()),
        (some.clone(), Just(Vec::new())).prop_map(move |lists| line(key, lists)),
        (some, none).prop_map(move |lists| line(key, lists)),
    ]
}

fn line(key: &str, (include, exclude): (Vec<&str>, Vec<&str>)) -> String {
    format!("{key} = {{ include = {include:?}, exclude = {exclude:?} }}\n")
}

fn policy() -> impl Strategy<Value = String> {
    let kinds =
        select(&["", "conditions.client_apps = ['browser']\n", "conditions.client_apps = ['native']\n"]);
    let apps = (subsequence(&APPS[..], 1..=2), subsequence(&APPS[1..], 0..=1));
    (
        select(&["enabled", "enabled", "report-only", "disabled"]),
        (scope("users", &USERS), apps.prop_map(|lists| line("apps", lists)), kinds),
        (scope("conditions.devices", &DEVICES), scope("conditions.locations", &LOCATIONS)),
        select(&CONTROLS[..]),
    )
        .prop_map(|(state, (users, apps, kinds), (devices, locations), control)| {
            format!("state = '{state}'\n{users}{apps}{kinds}{devices}{locations}{control}\n")
        })
}

prop_compose! {
    fn circumstances()(
        (name, uid) in select(&[(Some("ada"), 1000), (Some("bob"), 7), (None, 9)]),
        groups in subsequence(&["staff", "ops", "other"], 0..=3),
        app in select(&["slack", "box", "m365-teams", "zoom", "gone"]),
        browser in any::<bool>(),
        (compliant, tags) in (any::<bool>(), subsequence(&["eu", "kiosk"], 0..=2)),
        address in select(&[
            "9.255.255.255", "10.0.0.0", "10.9.0.1", "10.255.255.255", "11.0.0.0", "::ffff:10.9.0.1", "2001:db8::1",
            "2001:db9::", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0",
        ]),
        activity in select(&[ActivityType::Download, ActivityType::Upload, ActivityType::View]),
        file in select(&["a.docx", "a.pdf"]),
    ) -> (Session, Device, Classification) {
        let shared = |words: Vec<&str>| words.into_iter().map(Arc::from).collect();
        let session = Session {
            app: Arc::new(App { id: app.into(), ..App::default() }),
            user: Arc::new(User { uid: Some(uid), name: name.map(Arc::from), groups: shared(groups) }),
            process: Arc::new(Process::default()),
            kind: if browser { ClientKind::Browser } else { ClientKind::Native },
            remote: false,
            client: ClientAddr("192.0.2.1:4000".parse().unwrap()),
            location: LocationAddr(address.parse().unwrap()),
            original_dst: OriginalDst("203.0.113.1:443".parse().unwrap()),
            server_name: "h".into(),
        };
        let device =
            Device { id: "d".into(), compliant, reason: "r".into(), tags: shared(tags), os: "linux".into() };
        let class = Classification {
            activity,
            download: activity == ActivityType::Download,
            filename: Some(file.into()),
            other_filenames: Vec::new(),
            mime: None,
            file_type: None,
            kind: Kind::Attachment,
            reason: "r".into(),
        };
        (session, device, class)
    }
}

fn networks() -> Networks {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Networks::from([
        ("corp".into(), nets(&["10.0.0.0/8", "10.9.0.0/16", "2001:db8::/32"])),
        ("lab".into(), nets(&["10.9.0.0/16"])),
        ("six".into(), nets(&["::/0"])),
        ("last".into(), nets(&["255.255.255.255/32", "ffff::/16"])),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn index_and_explanation_decide_alike(
        policies in prop::collection::vec(policy(), 1..150),
        asked in prop::collection::vec(circumstances(), 8),
    ) {
        let text: String = policies
            .iter()
            .enumerate()
            .map(|(number, body)| format!("[[policy]]\nname = 'P{number}'\n{body}"))
            .collect();
        let set = PolicySet::build(&[SourceFile::new("p.toml", text.as_str())], &Catalog::builtin(), &networks());
        let set = set.unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
        for (session, device, class) in &asked {
            let explained = set.explain(session, device, class, None).decision;
            prop_assert_eq!(&set.evaluate(session, device, class, None), &explained, "{}\n{:?}", text, session);
            // What a connection keeps of it says the same, on whatever device.
            let standing = set.standing(session);
            for (_, device, class) in &asked {
                let subject = Subject::new(class, None);
                let explained = set.explain(session, device, class, None).decision;
                prop_assert_eq!(
                    set.decide_standing(&standing, session, device, subject), explained, "{}\n{:?}", text, session
                );
            }
            let included = set.policies().iter().any(|policy| {
                policy.in_force() && policy.apps.judge(|rule| rule.matches(&session.app.id)).matched()
            });
            prop_assert_eq!(set.selects(&session.app), included);
        }
    }
}
