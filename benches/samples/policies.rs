//! Catalogs and policy sets of several sizes, and the session that one of the policies is about.

use std::fmt::Write as _;
use std::sync::Arc;

use portcullis::addr::{ClientAddr, LocationAddr, OriginalDst};
use portcullis::catalog::Catalog;
use portcullis::diagnostic::SourceFile;
use portcullis::policy::{Networks, PolicySet};
use portcullis::session::{ClientKind, Device, Process, Session, User};

use crate::http::HOST;

/// The policy that applies to [`session`]: every condition is given.
const MATCHING: &str = r#"
[[policy]]
name = "Prevent downloads from unmanaged devices"
users = { include = ["group:staff"], exclude = ["group:breakglass"] }
apps.include = ["office365"]
session.control = "block-downloads"
[policy.conditions]
client_apps = ["browser"]
devices = { include = ["all"], exclude = ["compliant"] }
locations = { include = ["all"], exclude = ["corp"] }
"#;

/// What the policies that do not match are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Other apps: the index leaves them out.
    OtherApps,
    /// The same app, other users.
    SameApp,
    /// The same app and users, devices with other tags in networks of their own.
    OtherPlaces,
    /// The same app and users; they only monitor.
    AllApply,
}

/// `count` policies, the last of which is the only one that applies to [`session`].
pub fn policy_set(count: usize, others: Others) -> PolicySet {
    let mut text = String::new();
    let mut networks = Networks::new();
    for number in 1..count {
        let all = "users.include = [\"group:staff\"]\napps.include = [\"office365\"]";
        let body = match others {
            Others::OtherApps => {
                format!("users.include = [\"group:team-{number}\"]\napps.include = [\"slack\"]")
            }
            Others::SameApp => {
                format!("users.include = [\"group:team-{number}\"]\napps.include = [\"office365\"]")
            }
            Others::OtherPlaces => {
                let net = format!("100.{}.{}.0/24", 64 + number / 256, number % 256);
                networks.insert(format!("site-{number}").into(), [net.parse().expect("a network")].into());
                format!(
                    "{all}\nconditions.devices.include = [\"tag:kiosk-{number}\"]\n\
                     conditions.locations.include = [\"site-{number}\"]"
                )
            }
            Others::AllApply => all.to_owned(),
        };
        let control = if others == Others::AllApply { "monitor-only" } else { "block-downloads" };
        writeln!(text, "[[policy]]\nname = \"Policy {number}\"\n{body}\nsession.control = \"{control}\"")
            .expect("writing to memory");
    }
    text.push_str(MATCHING);
    let corp: Arc<[_]> = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a network")).into();
    networks.insert("corp".into(), corp);
    PolicySet::build(&[SourceFile::new("policies.toml", text)], &Catalog::builtin(), &networks)
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()))
}

/// Apps, groups, sites and kinds of device of an organisation with many policies.
const APPS: [&str; 12] = [
    "office365",
    "slack",
    "box",
    "dropbox",
    "google-drive",
    "github",
    "jira",
    "confluence",
    "salesforce",
    "zoom",
    "gitlab",
    "notion",
];
const GROUPS: usize = 2000;
const SITES: usize = 200;
const TAGS: usize = 40;

/// `count` policies as an organisation has them: about every app, for groups and single users, here and there with
/// exclusions, sites and kinds of device, of all three controls, a tenth of them report-only.
///
/// Numbers that step by primes mix the conditions; which policies apply differs from session to session.
pub fn organisation(count: usize) -> PolicySet {
    let mut text = String::new();
    for number in 0..count {
        let pick = |step: usize, of: usize| number.wrapping_mul(step) / 7 % of;
        let user = match number % 5 {
            0 => format!("user:user-{}", pick(31, 5000)),
            1 if number % 500 == 1 => "all".to_owned(),
            _ => format!("group:group-{}", pick(17, GROUPS)),
        };
        let app = APPS.get(pick(13, APPS.len())).unwrap_or(&"all");
        writeln!(text, "[[policy]]\nname = \"Policy {number}\"\nusers.include = [\"{user}\"]")
            .expect("memory");
        if number.is_multiple_of(3) {
            writeln!(text, "users.exclude = [\"group:group-{}\"]", pick(29, GROUPS)).expect("memory");
        }
        writeln!(text, "apps.include = [\"{app}\"]").expect("memory");
        if number % 10 == 9 {
            text.push_str("state = \"report-only\"\n");
        }
        match number % 4 {
            0 => text.push_str("conditions.devices.exclude = [\"compliant\"]\n"),
            1 => writeln!(text, "conditions.locations.exclude = [\"site-{}\"]", pick(11, SITES))
                .expect("memory"),
            2 => writeln!(text, "conditions.devices.include = [\"tag:kind-{}\"]", pick(19, TAGS))
                .expect("memory"),
            _ => text.push_str("conditions.client_apps = [\"browser\"]\n"),
        }
        match number % 6 {
            0 | 1 => text.push_str("session.control = \"block-downloads\"\n"),
            2 => text.push_str("session.control = \"monitor-only\"\n"),
            _ => text.push_str(
                "session.control = \"custom\"\n[[policy.session.rule]]\nactivity = [\"download\"]\n\
                 files.extensions = [\"pst\", \"sql\"]\naction = \"block\"\n[[policy.session.rule]]\n\
                 activity = [\"upload\"]\naction = \"monitor\"\n",
            ),
        }
    }
    let site = |number: usize| {
        let net = format!("100.{}.{}.0/24", 64 + number / 256, number % 256).parse().expect("a network");
        (Arc::from(format!("site-{number}")), [net].into())
    };
    let networks: Networks = (0..SITES).map(site).collect();
    PolicySet::build(&[SourceFile::new("policies.toml", text)], &Catalog::builtin(), &networks)
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()))
}

/// Sessions of `count` users of that organisation, each in eight groups, with some app at some site, and their devices.
pub fn population(count: usize) -> Vec<(Session, Device)> {
    let catalog = Catalog::builtin();
    let apps: Vec<_> =
        catalog.apps().iter().filter(|app| APPS.contains(&&*app.id) || app.suite.is_some()).collect();
    let one = |number: usize| {
        let groups = (0..8).map(|group| Arc::from(format!("group-{}", (number * 37 + group * 61) % GROUPS)));
        let address = format!("100.{}.{}.9", 64 + number % 2, number % 250);
        let mut session = session();
        session.app = apps[number % apps.len()].clone();
        session.kind = if number.is_multiple_of(3) { ClientKind::Native } else { ClientKind::Browser };
        session.location = LocationAddr(address.parse().expect("an address"));
        session.user = Arc::new(User {
            uid: u32::try_from(number).ok(),
            name: Some(format!("user-{number}").into()),
            groups: groups.collect(),
        });
        let mut device = device();
        device.compliant = number.is_multiple_of(2);
        device.tags = vec![format!("kind-{}", number % TAGS).into()];
        (session, device)
    };
    (0..count).map(one).collect()
}

/// A member of six groups, in a browser, outside of the office.
pub fn session() -> Session {
    let app = Catalog::builtin().lookup(HOST).expect("the built-in catalog has SharePoint").clone();
    let groups = ["alice", "audio", "docker", "plugdev", "projects", "staff"];
    Session {
        app,
        user: Arc::new(User {
            uid: Some(1000),
            name: Some("alice".into()),
            groups: groups.iter().map(|group| Arc::from(*group)).collect(),
        }),
        process: Arc::new(Process::default()),
        kind: ClientKind::Browser,
        remote: false,
        client: ClientAddr("192.0.2.7:40000".parse().expect("an address")),
        location: LocationAddr("192.0.2.7".parse().expect("an address")),
        original_dst: OriginalDst("203.0.113.1:443".parse().expect("an address")),
        server_name: HOST.into(),
    }
}

/// A device that is not managed.
pub fn device() -> Device {
    Device {
        id: "device".into(),
        compliant: false,
        reason: "disk is not encrypted".into(),
        tags: vec!["laptop".into()],
        os: "linux".into(),
    }
}

/// The built-in catalog and an app with `count` more domains, [`extra_domain`] of each number below `count`.
pub fn catalog_with(count: usize) -> Catalog {
    let mut text = "[[app]]\nid = \"many\"\ndomains = [\n".to_owned();
    for number in 0..count {
        writeln!(text, "\"{}\",", extra_domain(number)).expect("writing to memory");
    }
    text.push_str("]\n");
    Catalog::build(&[SourceFile::new("many.toml", text)])
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()))
}

/// A name with four labels.
pub fn extra_domain(number: usize) -> String {
    format!("host-{number}.zone-{}.corp.test", number % 997)
}
