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
