//! What policies decide, case by case, and what is refused in their text.

mod conditions;
mod content;
mod controls;
mod set;
mod text;

use super::decision::{Action, Reason};
use super::*;
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::classify::{ActivityType, Classification, FileType, Kind};
use crate::session::{ClientKind, Device, Process, Session, User};

const APPS: &str = r#"
[[app]]
id = "corp-files"
suite = "corp"
domains = ["files.corp.test"]
[[app]]
id = "corp-wiki"
suite = "corp"
domains = ["wiki.corp.test"]
"#;

/// One situation. The default: alice, in staff, with Chromium on a device that is not compliant, downloads report.docx
/// from slack, out of the networks that have a name.
struct Case {
    policies: String,
    app: &'static str,
    user: Option<(&'static str, u32)>,
    groups: Vec<&'static str>,
    kind: ClientKind,
    compliant: bool,
    tags: Vec<&'static str>,
    location: &'static str,
    activity: ActivityType,
    names: Vec<&'static str>,
    mime: &'static str,
    content: Option<FileType>,
    size: Option<u64>,
}

fn case(policies: impl Into<String>) -> Case {
    Case {
        policies: policies.into(),
        app: "slack",
        user: Some(("alice", 1000)),
        groups: vec!["staff"],
        kind: ClientKind::Browser,
        compliant: false,
        tags: vec![],
        location: "198.51.100.7",
        activity: ActivityType::Download,
        names: vec!["report.docx"],
        mime: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        content: None,
        size: Some(1000),
    }
}

fn policy(name: &str, body: &str) -> String {
    format!("[[policy]]\nname = \"{name}\"\n{body}\n")
}

/// A policy that blocks downloads from every app, with further lines.
fn block(lines: &str) -> String {
    let apps = if lines.contains("apps.") { "" } else { "apps.include = ['all']\n" };
    policy("P", &format!("{apps}session.control = 'block-downloads'\n{lines}"))
}

/// A custom policy over every app with these rules.
fn custom(rules: &str) -> String {
    policy("P", &format!("apps.include = ['all']\nsession.control = 'custom'\n{rules}"))
}

fn rule(lines: &str) -> String {
    format!("[[policy.session.rule]]\n{lines}\n")
}

fn catalog() -> Catalog {
    Catalog::build(&[SourceFile::new("a.toml", APPS)]).unwrap()
}

fn networks() -> Networks {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Networks::from([
        ("corp".into(), nets(&["10.0.0.0/8", "2001:db8::/32"])),
        ("lab".into(), nets(&["10.9.0.0/16"])),
    ])
}

#[track_caller]
fn build(text: &str) -> PolicySet {
    PolicySet::build(&[SourceFile::new("p.toml", text)], &catalog(), &networks())
        .unwrap_or_else(|found| panic!("{text}\n{found:#?}"))
        .with_revision(5)
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    #[track_caller]
    fn decide(&self) -> (decision::Decision, Explanation) {
        let set = build(&self.policies);
        let session = Session {
            app: catalog()
                .app(self.app)
                .cloned()
                .unwrap_or_else(|| Arc::new(App { id: self.app.into(), ..App::default() })),
            user: Arc::new(User {
                uid: self.user.map(|(_, uid)| uid),
                name: self.user.map(|(name, _)| name.into()),
                groups: self.groups.iter().map(|group| Arc::from(*group)).collect(),
            }),
            process: Arc::new(Process::default()),
            kind: self.kind,
            remote: false,
            client: ClientAddr("198.51.100.7:40000".parse().unwrap()),
            location: LocationAddr(self.location.parse().unwrap()),
            original_dst: OriginalDst("203.0.113.1:443".parse().unwrap()),
            server_name: "host.test".into(),
        };
        let device = Device {
            id: "d".into(),
            compliant: self.compliant,
            reason: "checked".into(),
            tags: self.tags.iter().map(|tag| Arc::from(*tag)).collect(),
            os: "linux".into(),
        };
        let class = Classification {
            activity: self.activity,
            download: self.activity == ActivityType::Download,
            filename: self.names.first().map(|name| (*name).to_owned()),
            other_filenames: self.names.iter().skip(1).map(|name| (*name).to_owned()).collect(),
            mime: Some(self.mime.to_owned()),
            file_type: self.content,
            kind: Kind::Attachment,
            reason: "test".into(),
        };
        let decision = set.evaluate(&session, &device, &class, self.size);
        let explanation = set.explain(&session, &device, &class, self.size);
        assert_eq!(decision, explanation.decision, "explaining must not decide otherwise");
        assert_eq!((decision.revision(), decision.set()), (5, Some(set.id())));
        check_comes_back(&set);
        let read_back = PolicySet::from_document(&set.document()).unwrap().with_revision(5);
        assert_eq!(read_back.explain(&session, &device, &class, self.size), explanation);
        let selected = set.selects(&session.app);
        let steered = decision.policy().is_some() || !decision.report_only().is_empty();
        assert!(selected || !steered, "what is not steered is not decided by a policy");
        (decision, explanation)
    }
}

/// The set is the same from its document, without catalog and networks, and each policy from the words it is written in.
#[track_caller]
fn check_comes_back(set: &PolicySet) {
    let read_back = PolicySet::from_document(&set.document()).unwrap();
    assert_eq!((read_back.id(), read_back.policies()), (set.id(), set.policies()));
    for policy in set.policies() {
        let text = write::Written::of(policy).to_toml();
        let written = build(&text);
        let again = Policy { path: policy.path.clone(), line: policy.line, ..written.policies()[0].clone() };
        assert_eq!(&again, policy, "{text}");
    }
}

const BLOCKED: (Action, Option<&str>) = (Action::Block, Some("P"));
const PASSED: (Action, Option<&str>) = (Action::Allow, None);
const LEFT_ALONE: (Action, Option<&str>) = (Action::Allow, Some("P"));
const MONITORED: (Action, Option<&str>) = (Action::Monitor, Some("P"));

#[track_caller]
fn check(case: Case, expected: (Action, Option<&str>)) {
    let (decision, _) = case.decide();
    assert_eq!((decision.action(), decision.policy().map(|p| &**p)), expected, "{decision:?}");
}

/// The policy would apply but for this exclusion.
#[track_caller]
fn check_excluded(case: Case, by: &str) {
    let (decision, _) = case.decide();
    assert_eq!(decision.action(), Action::Allow);
    assert_eq!(decision.reason(), &Reason::Excluded { policy: "P".into(), by: by.into() });
}
