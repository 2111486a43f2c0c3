//! What policies decide, case by case, and what is refused in their text.
use std::collections::BTreeSet;

use super::decision::{Action, Reason};
use super::*;
use crate::addr::{ClientAddr, LocationAddr, OriginalDst};
use crate::classify::{ActivityType, Classification, FileType, Kind};
use crate::detect::scan::{Scan, Unscanned};
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

#[test]
fn users() {
    check(case(block("")), BLOCKED);
    check(case(block("users.include = ['all']")), BLOCKED);
    check(case(block("users.include = ['user:alice']")), BLOCKED);
    check(case(block("users.include = ['user:bob', 'user:alice']")), BLOCKED);
    check(case(block("users.include = ['user:bob']")), PASSED);
    check(case(block("users.include = ['user:Alice']")), PASSED);
    check(case(block("users.include = ['uid:1000']")), BLOCKED);
    check(case(block("users.include = ['uid:0']")), PASSED);
    check(case(block("users.include = ['group:staff']")), BLOCKED);
    check(case(block("users.include = ['group:admins']")), PASSED);
    check(case(block("users.include = ['user:staff']")), PASSED);
    check_excluded(case(block("users.exclude = ['user:alice']")), "users exclude \"user:alice\"");
    check_excluded(
        case(block("users.include = ['user:alice']\nusers.exclude = ['group:staff']")),
        "users exclude \"group:staff\"",
    );
    check_excluded(case(block("users.exclude = ['uid:1000']")), "users exclude \"uid:1000\"");
    check(case(block("users.exclude = ['user:bob', 'group:admins', 'uid:7']")), BLOCKED);
    check(case(block("users.include = ['user:bob']\nusers.exclude = ['user:alice']")), PASSED);
    let unknown = |lines: &str| {
        case(block(lines)).with(|c| {
            c.user = None;
            c.groups = vec![];
        })
    };
    check(unknown("users.include = ['all']"), BLOCKED);
    check(unknown("users.include = ['group:staff']"), PASSED);
    check(unknown("users.exclude = ['group:staff', 'uid:0', 'user:root']"), BLOCKED);
}

#[test]
fn apps_and_suites() {
    check(case(block("apps.include = ['slack']")), BLOCKED);
    check(case(block("apps.include = ['box', 'slack']")), BLOCKED);
    check(case(block("apps.include = ['box']")), PASSED);
    check_excluded(case(block("apps.include = ['all']\napps.exclude = ['slack']")), "apps exclude \"slack\"");
    let at = |app, lines: &str| case(block(lines)).with(|c| c.app = app);
    check(at("m365-teams", "apps.include = ['office365']"), BLOCKED);
    check(at("m365-graph", "apps.include = ['office365']"), BLOCKED);
    check(at("onedrive-personal", "apps.include = ['office365']"), PASSED);
    check(at("corp-wiki", "apps.include = ['corp']"), BLOCKED);
    check_excluded(
        at("corp-wiki", "apps.include = ['corp']\napps.exclude = ['corp-wiki']"),
        "apps exclude \"corp-wiki\"",
    );
    check(at("corp-files", "apps.include = ['corp']\napps.exclude = ['corp-wiki']"), BLOCKED);
    check_excluded(
        at("corp-files", "apps.include = ['all']\napps.exclude = ['corp']"),
        "apps exclude \"corp\"",
    );
    check(at("jira", "apps.include = ['confluence']"), BLOCKED);
    check(at("github", "apps.include = ['github']"), BLOCKED);
    check(at("gone-since-reload", "apps.include = ['all']"), BLOCKED);
    check(at("gone-since-reload", "apps.include = ['slack']"), PASSED);
}

#[test]
fn client_apps() {
    let native = |lines: &str| case(block(lines)).with(|c| c.kind = ClientKind::Native);
    check(case(block("conditions.client_apps = ['browser']")), BLOCKED);
    check(native("conditions.client_apps = ['browser']"), PASSED);
    check(native("conditions.client_apps = ['native']"), BLOCKED);
    check(case(block("conditions.client_apps = ['native']")), PASSED);
    check(native("conditions.client_apps = ['browser', 'native']"), BLOCKED);
    check(native(""), BLOCKED);
}

#[test]
fn devices() {
    let compliant = |lines: &str| case(block(lines)).with(|c| c.compliant = true);
    let unmanaged = "conditions.devices = { include = ['all'], exclude = ['compliant'] }";
    check(case(block(unmanaged)), BLOCKED);
    check_excluded(compliant(unmanaged), "devices exclude \"compliant\"");
    check(compliant("conditions.devices.include = ['compliant']"), BLOCKED);
    check(case(block("conditions.devices.include = ['compliant']")), PASSED);
    let tagged = |lines: &str| case(block(lines)).with(|c| c.tags = vec!["kiosk", "eu"]);
    check(tagged("conditions.devices.include = ['tag:kiosk']"), BLOCKED);
    check(tagged("conditions.devices.include = ['tag:lab']"), PASSED);
    check(case(block("conditions.devices.include = ['tag:kiosk']")), PASSED);
    check_excluded(
        tagged("conditions.devices.exclude = ['tag:lab', 'tag:eu']"),
        "devices exclude \"tag:eu\"",
    );
    check(case(block("conditions.devices.exclude = ['tag:eu']")), BLOCKED);
}

#[test]
fn locations() {
    let at = |location, lines: &str| case(block(lines)).with(|c| c.location = location);
    let outside = "conditions.locations = { include = ['all'], exclude = ['corp'] }";
    check(at("198.51.100.7", outside), BLOCKED);
    check_excluded(at("10.1.2.3", outside), "locations exclude \"corp\"");
    check_excluded(at("::ffff:10.1.2.3", outside), "locations exclude \"corp\"");
    check_excluded(at("2001:db8::5", outside), "locations exclude \"corp\"");
    check(at("2001:db9::5", outside), BLOCKED);
    check(at("10.1.2.3", "conditions.locations.include = ['corp']"), BLOCKED);
    check(at("11.1.2.3", "conditions.locations.include = ['corp']"), PASSED);
    check(at("10.9.2.3", "conditions.locations.include = ['lab']"), BLOCKED);
    check_excluded(
        at("10.9.2.3", "conditions.locations = { include = ['corp'], exclude = ['lab'] }"),
        "locations exclude \"lab\"",
    );
    check(at("10.8.2.3", "conditions.locations = { include = ['corp'], exclude = ['lab'] }"), BLOCKED);
}

#[test]
fn an_exclusion_is_the_reason_only_where_the_policy_would_have_applied() {
    let both = block("users.exclude = ['user:alice']\nconditions.client_apps = ['native']");
    let (decision, _) = case(both).decide();
    assert_eq!(decision.reason(), &Reason::NoPolicyApplied);
    let first = block("users.exclude = ['user:alice']\nconditions.devices.exclude = ['tag:eu']");
    check_excluded(case(first).with(|c| c.tags = vec!["eu"]), "users exclude \"user:alice\"");
    let other = block("users.exclude = ['user:alice']")
        + &policy("Q", "apps.include = ['slack']\nsession.control = 'monitor-only'");
    check(case(other), (Action::Monitor, Some("Q")));
}

#[test]
fn the_three_controls() {
    let with = |control: &str, activity| {
        let text = policy("P", &format!("apps.include = ['all']\nsession.control = '{control}'"));
        case(text).with(|c| c.activity = activity)
    };
    for activity in ActivityType::ALL {
        let download = activity == ActivityType::Download;
        check(with("block-downloads", activity), if download { BLOCKED } else { LEFT_ALONE });
        check(with("monitor-only", activity), MONITORED);
    }
    let (decision, _) = with("block-downloads", ActivityType::View).decide();
    assert_eq!(decision.reason(), &Reason::NotControlled);
    let (decision, _) = with("block-downloads", ActivityType::Download).decide();
    assert_eq!((decision.reason(), decision.rule(), decision.message()), (&Reason::Policy, None, None));
}

#[test]
fn without_control_or_when_disabled_a_policy_neither_steers_nor_decides() {
    for body in [
        "apps.include = ['all']",
        "apps.include = ['all']\n[policy.session]",
        "apps.include = ['all']\nsession.message = 'unused'",
        "apps.include = ['all']\nstate = 'disabled'\nsession.control = 'block-downloads'",
    ] {
        check(case(policy("P", body)), PASSED);
        assert!(!build(&policy("P", body)).selects(catalog().app("slack").unwrap()), "{body}");
    }
    check(case(""), PASSED);
}

#[test]
fn selection_follows_includes_and_exclusions_of_apps_alone() {
    let selects = |text: &str, app: &str| build(text).selects(catalog().app(app).unwrap());
    let text =
        block("apps.include = ['office365']\napps.exclude = ['m365-teams']\nusers.include = ['user:nobody']");
    assert!(selects(&text, "m365-graph") && !selects(&text, "m365-teams") && !selects(&text, "slack"));
    let report =
        policy("P", "state = 'report-only'\napps.include = ['slack']\nsession.control = 'monitor-only'");
    assert!(selects(&report, "slack"));
    let twice = text + &policy("Q", "apps.include = ['m365-teams']\nsession.control = 'monitor-only'");
    assert!(selects(&twice, "m365-teams"), "another policy's exclusion does not count");
}

#[test]
fn the_strictest_action_wins_whatever_the_order() {
    let monitor = policy("M", "apps.include = ['slack']\nsession.control = 'monitor-only'");
    let stop = policy("B", "apps.include = ['all']\nsession.control = 'block-downloads'");
    let allow = policy(
        "A",
        "apps.include = ['slack']\nsession.control = 'custom'\n[[policy.session.rule]]\naction = 'allow'",
    );
    for order in [[&monitor, &stop, &allow], [&stop, &allow, &monitor], [&allow, &monitor, &stop]] {
        let text = order.map(String::as_str).concat();
        check(case(text.clone()), (Action::Block, Some("B")));
        check(case(text).with(|c| c.activity = ActivityType::View), (Action::Monitor, Some("M")));
    }
    let view = |text: String| case(text).with(|c| c.activity = ActivityType::View);
    check(view(format!("{stop}{allow}")), (Action::Allow, Some("A")));
    check(view(format!("{allow}{stop}")), (Action::Allow, Some("A")));
    let twin = policy("B2", "apps.include = ['slack']\nsession.control = 'block-downloads'");
    check(case(format!("{stop}{twin}")), (Action::Block, Some("B")));
    check(case(format!("{twin}{stop}")), (Action::Block, Some("B2")));
}

#[test]
fn report_only_is_reported_and_never_enforced() {
    let report = |name: &str, control: &str| {
        policy(name, &format!("state = 'report-only'\napps.include = ['all']\nsession.control = '{control}'"))
    };
    let listed = |case: Case| {
        let (decision, _) = case.decide();
        let names: Vec<String> = decision.report_only().iter().map(ToString::to_string).collect();
        (decision.action(), names.join(" "))
    };
    let both = || report("R1", "block-downloads") + &report("R2", "monitor-only");
    assert_eq!(listed(case(both())), (Action::Allow, "R1 R2".into()));
    assert_eq!(listed(case(both()).with(|c| c.activity = ActivityType::View)), (Action::Allow, "R2".into()));
    assert_eq!(listed(case(both() + &block(""))), (Action::Block, "R1 R2".into()));
    let excluded = report("R", "block-downloads") + "users.exclude = ['user:alice']\n";
    assert_eq!(listed(case(excluded.clone())), (Action::Allow, String::new()));
    assert_eq!(case(excluded).decide().0.reason(), &Reason::NoPolicyApplied);
    assert_eq!(case(both()).decide().0.reason(), &Reason::NoPolicyApplied);
}

#[test]
fn custom_rules_over_activities() {
    let over = |activity: &str, happened| {
        case(custom(&rule(&format!("activity = [{activity}]\naction = 'block'"))))
            .with(|c| c.activity = happened)
    };
    check(over("'download'", ActivityType::Download), BLOCKED);
    check(over("'download'", ActivityType::Upload), LEFT_ALONE);
    check(over("'upload', 'message'", ActivityType::Message), BLOCKED);
    check(over("'upload', 'message'", ActivityType::Upload), BLOCKED);
    check(over("'print'", ActivityType::Print), BLOCKED);
    check(over("'view'", ActivityType::View), BLOCKED);
    check(over("'view'", ActivityType::None), LEFT_ALONE);
    check(over("'sign-in'", ActivityType::SignIn), BLOCKED);
    check(over("'sign-in'", ActivityType::SignInFailed), BLOCKED);
    check(over("'access'", ActivityType::None), BLOCKED);
    check(over("'access'", ActivityType::Share), BLOCKED);
    check(case(custom(&rule("action = 'monitor'"))), MONITORED);
}

#[test]
fn custom_rules_over_files() {
    let over = |files: &str| case(custom(&rule(&format!("files = {{ {files} }}\naction = 'block'"))));
    check(over("extensions = ['docx']"), BLOCKED);
    check(over("extensions = ['.DOCX', 'pdf']"), BLOCKED);
    check(over("extensions = ['pdf']"), LEFT_ALONE);
    check(over("extensions = ['doc']"), LEFT_ALONE);
    check(over("extensions = ['docx']").with(|c| c.names = vec!["REPORT.DOCX. ."]), BLOCKED);
    check(over("extensions = ['docx']").with(|c| c.names = vec!["a.txt", "a.DocX"]), BLOCKED);
    check(over("extensions = ['docx']").with(|c| c.names = vec![]), LEFT_ALONE);
    check(over("names = ['*port*']"), BLOCKED);
    check(over("names = ['*SECRET*', 'REPORT.*']"), BLOCKED);
    check(over("names = ['port']"), LEFT_ALONE);
    check(over("names = ['*geheim*']").with(|c| c.names = vec!["x", "y", "Streng GEHEIM.txt"]), BLOCKED);
    check(over("mime = ['application/pdf']").with(|c| c.mime = "application/pdf"), BLOCKED);
    check(over("mime = ['image/*']").with(|c| c.mime = "image/png"), BLOCKED);
    check(over("mime = ['image/*']"), LEFT_ALONE);
    let content = |name| FileType::from_name(name);
    check(over("types = ['pdf']"), LEFT_ALONE);
    check(over("types = ['docx']"), BLOCKED);
    check(over("types = ['document']").with(|c| c.names = vec![]), BLOCKED);
    check(over("types = ['pdf']").with(|c| c.names = vec!["a.txt", "a.PDF."]), BLOCKED);
    check(over("types = ['exe', 'archive']").with(|c| c.content = content("rar")), BLOCKED);
    check(over("types = ['docx']").with(|c| c.content = content("txt")), LEFT_ALONE);
    check(
        over("types = ['docx']").with(|c| (c.content, c.names) = (content("docx"), vec!["a.txt"])),
        BLOCKED,
    );
    check(over("larger_than = '1kB'"), LEFT_ALONE);
    check(over("larger_than = 999"), BLOCKED);
    check(over("larger_than = '10MiB'").with(|c| c.size = Some((10 << 20) + 1)), BLOCKED);
    check(over("larger_than = '10MiB'").with(|c| c.size = None), BLOCKED);
    check(over("extensions = ['docx'], larger_than = 2000"), LEFT_ALONE);
    check(over("extensions = ['docx'], names = ['re*'], larger_than = 10"), BLOCKED);
    let allow = case(custom(&rule("files.larger_than = 1\naction = 'allow'"))).with(|c| c.size = None);
    assert_eq!(allow.decide().0.reason(), &Reason::NotControlled, "an unknown size earns no permission");
}

#[test]
fn the_strictest_rule_wins_and_is_named() {
    let rules = rule("name = 'watch'\naction = 'monitor'")
        + &rule(
            "activity = ['download']\nfiles.extensions = ['docx']\naction = 'block'\nmessage = 'No documents.'",
        )
        + &rule("action = 'allow'");
    let (decision, explanation) = case(custom(&rules)).decide();
    assert_eq!(decision.action(), Action::Block);
    assert_eq!(decision.rule().map(|r| &**r), Some("rule 2"));
    assert_eq!(decision.message().map(|m| &**m), Some("No documents."));
    let rules_matched: Vec<bool> = explanation.policies[0].rules.iter().map(|rule| rule.matched).collect();
    assert_eq!(rules_matched, [true, true, true]);
    let (decision, _) = case(custom(&rules)).with(|c| c.names = vec!["a.txt"]).decide();
    assert_eq!((decision.action(), decision.rule().map(|r| &**r)), (Action::Monitor, Some("watch")));
    let (decision, _) = case(block("session.message = 'Ask IT.'")).decide();
    assert_eq!(decision.message().map(|m| &**m), Some("Ask IT."));
}

#[test]
fn explain_names_every_policy_and_condition() {
    let text = block("users.exclude = ['group:breakglass']\nconditions.client_apps = ['browser']")
        + &policy("Off", "state = 'disabled'\napps.include = ['slack']\nsession.control = 'monitor-only'")
        + &policy("No control", "apps.include = ['slack']")
        + &policy(
            "Elsewhere",
            "apps.include = ['box']\nusers.include=['user:x']\nsession.control = 'monitor-only'",
        )
        + &policy(
            "Out",
            "apps.include = ['slack']\nusers.exclude=['user:alice']\nsession.control = 'monitor-only'",
        )
        + &policy(
            "R",
            "state = 'report-only'\napps.include = ['slack']\nsession.control = 'block-downloads'",
        );
    let (_, explanation) = case(text).decide();
    let lines: Vec<String> = explanation
        .policies
        .iter()
        .map(|p| format!("{} {} {:?}: {}", p.name, p.matched, p.action.map(Action::name), p.why))
        .collect();
    assert_eq!(
        lines,
        [
            "P true Some(\"block\"): applies: block-downloads asks for block",
            "Off true None: the policy is disabled",
            "No control true None: the policy has no session control",
            "Elsewhere false None: not matched: users, apps",
            "Out false None: excluded: users exclude \"user:alice\"",
            "R true Some(\"block\"): applies: block-downloads asks for block, reported only",
        ]
    );
    let conditions: Vec<String> = explanation.policies[0]
        .conditions
        .iter()
        .map(|c| format!("{} {} [{}] {}", c.condition.name(), c.matched, c.found, c.why))
        .collect();
    assert_eq!(
        conditions,
        [
            "users true [alice (uid 1000), groups staff] included by \"all\"",
            "apps true [slack] included by \"all\"",
            "client_apps true [browser] included by \"browser\"",
            "devices true [not compliant: checked] the policy does not restrict this",
            "locations true [198.51.100.7] the policy does not restrict this",
        ]
    );
    assert_eq!(explanation.policies[3].conditions.len(), Condition::ALL.len(), "all are asked");
}

#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let found = PolicySet::build(&[SourceFile::new("p.toml", text)], &catalog(), &networks()).err();
    let found: Vec<String> =
        found.unwrap_or_default().iter().map(|d| d.to_string().replace("p.toml:", "")).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn unknown_words_are_refused_with_the_nearest_known_one() {
    let apps = |word: &str| format!("[[policy]]\nname = 'P'\napps.include = ['{word}']");
    bad(
        &apps("office356"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"office356\" (did you mean `office365`?)",
        ],
    );
    bad(
        &apps("corp-fiels"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"corp-fiels\" (did you mean `corp-files`?)",
        ],
    );
    bad(
        &apps("something-else-entirely"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"something-else-entirely\" (files in apps.d add \
         apps to the built-in ones)",
        ],
    );
    let with = |line: &str| format!("[[policy]]\nname = 'P'\napps.include = ['all']\n{line}");
    bad(
        &with("users.include = ['alice', 'gruop:x', 'uid:x', 'user:', 'role:x']"),
        &[
            "4:18: `policy[0].users.include[0]`: unknown user selector \"alice\" (did you mean `user:alice` or \
         `group:alice`?)",
            "4:27: `policy[0].users.include[1]`: unknown user selector \"gruop:x\" (did you mean `group:x`?)",
            "4:38: `policy[0].users.include[2]`: a uid is a whole number (did you mean `user:x`?)",
            "4:47: `policy[0].users.include[3]`: unknown user selector \"user:\" (write `all`, `user:NAME`, `uid:N` or \
         `group:NAME`)",
            "4:56: `policy[0].users.include[4]`: unknown user selector \"role:x\" (write `all`, `user:NAME`, `uid:N` or \
             `group:NAME`)",
        ],
    );
    bad(
        &with("conditions.devices.include = ['complaint', 'unmanaged']"),
        &[
            "4:31: `policy[0].conditions.devices.include[0]`: unknown device selector \"complaint\" (did you mean \
         `compliant`?)",
            "4:44: `policy[0].conditions.devices.include[1]`: unknown device selector \"unmanaged\" (devices that are not \
         compliant: `include = [\"all\"], exclude = [\"compliant\"]`)",
        ],
    );
    bad(
        &with("conditions.locations.exclude = ['crop']"),
        &[
            "4:33: `policy[0].conditions.locations.exclude[0]`: unknown network \"crop\" (did you mean `corp`?)",
        ],
    );
    bad(
        &with("conditions.client_apps = ['browsr']"),
        &["4:27: `policy[0].conditions.client_apps[0]`: unknown value \"browsr\" (did you mean `browser`?)"],
    );
    bad(
        &with("state = 'reportonly'\nsession.control = 'block-download'"),
        &[
            "4:9: `policy[0].state`: unknown value \"reportonly\" (did you mean `report-only`?)",
            "5:19: `policy[0].session.control`: unknown value \"block-download\" (did you mean `block-downloads`?)",
        ],
    );
    bad(
        &with("[policy.user]\ninclude = []"),
        &["4:9: `policy[0].user`: unknown key (did you mean `users`?)"],
    );
}

#[test]
fn what_is_missing_or_means_nothing_is_refused() {
    bad(
        "[[policy]]",
        &[
            "1:1: `policy[0]`: `name` is missing (give the policy a name: records and commands refer to it)",
            "1:1: `policy[0].apps`: `include` is missing (name the apps, or write `include = [\"all\"]`)",
        ],
    );
    let with = |line: &str| format!("[[policy]]\nname = 'P'\napps.include = ['all']\n{line}");
    bad(
        &with("users.include = []\nconditions.client_apps = []"),
        &[
            "4:17: `policy[0].users.include`: nothing is included, so the policy would never apply (leave the key out to \
         cover everything)",
            "5:26: `policy[0].conditions.client_apps`: no client app is named, so the policy would never apply (leave the \
         key out to cover everything)",
        ],
    );
    bad(
        &with("session.control = 'custom'"),
        &["4:1: `policy[0].session`: a custom control needs rules (add `[[policy.session.rule]]`)"],
    );
    bad(
        &with("[[policy.session.rule]]\naction = 'block'"),
        &["4:1: `policy[0].session.rule`: rules need a control (add `control = \"custom\"`)"],
    );
    bad(
        &with("session.control = 'monitor-only'\n[[policy.session.rule]]\nactivity = ['download']"),
        &[
            "5:1: `policy[0].session.rule[0]`: `action` is missing (say `action = \"allow\"`, `\"monitor\"` or `\"block\"`)",
            "5:1: `policy[0].session.rule`: only the control \"custom\" reads rules (write `control = \"custom\"`, or drop \
         the rules)",
        ],
    );
}

#[test]
fn rules_are_checked_word_by_word() {
    let text = custom(&rule(
        "activity = ['downlaod', 'paste']\nfiles = { extensions = ['*.docx'], mime = ['pdf'], larger_than = '1 Mib' }\n\
         content = { detect = ['credit_card', 'iban'], at_least = 0, unscanned = 'block' }\naction = 'deny'\nmessage = ' '",
    ));
    bad(
        &text,
        &[
            "6:13: `policy[0].session.rule[0].activity[0]`: unknown activity \"downlaod\" (did you mean `download`?)",
            "6:25: `policy[0].session.rule[0].activity[1]`: restricting \"paste\" in pages is not available in this version \
         (remove it from the list)",
            "7:25: `policy[0].session.rule[0].files.extensions[0]`: an extension is written without wildcards, as in \
         `docx` (patterns over whole names go into `names`)",
            "7:44: `policy[0].session.rule[0].files.mime[0]`: not a media type (write type and subtype without parameters, \
         as in `application/pdf` or `image/*`)",
            "7:66: `policy[0].session.rule[0].files.larger_than`: unknown unit of size \"Mib\" (write a whole number and a \
         unit, for example `512KiB`, `10MiB`, `2GB`)",
            "8:23: `policy[0].session.rule[0].content.detect[0]`: unknown detector \"credit_card\" (did you mean \
         `credit-card`?)",
            "8:58: `policy[0].session.rule[0].content.at_least`: must lie between 1 and 4294967295",
            "8:73: `policy[0].session.rule[0].content.unscanned`: unknown value \"block\" (one of `ignore`, `match`)",
            "9:10: `policy[0].session.rule[0].action`: unknown value \"deny\" (one of `allow`, `monitor`, `block`)",
            "10:11: `policy[0].session.rule[0].message`: must not be empty",
        ],
    );
}

#[test]
fn types_are_words_of_a_list() {
    bad(
        &custom(&rule("files.types = ['archiv', 'docx']\naction = 'block'")),
        &[
            "6:16: `policy[0].session.rule[0].files.types[0]`: unknown file type \"archiv\" (did you mean `archive`?)",
        ],
    );
    let text = custom(&rule("files.types = ['exe']\naction = 'block'"));
    let app = catalog().app("m365-sharepoint").cloned().unwrap();
    assert!(build(&text).asks_true_types(&app) && !build(&block("")).asks_true_types(&app));
}

#[test]
fn texts_of_every_kind_come_back_as_they_are_written() {
    let odd = "users.include = ['user:o\"b\\r\u{200e}i', 'group:ä b']\nsession.message = \"a\\nb\\\"c\"\n";
    let (_, explanation) = case(block(odd)).decide();
    assert!(explanation.policies[0].conditions[0].why.contains("nothing that is included"));
    let rules = rule(
        "files = { extensions = ['tar.gz', '.DOCX'], names = ['*.x', 'a?'], mime = ['image/*'], types = ['exe', 'archive'], larger_than = '1KiB' }\n\
         activity = ['upload']\naction = 'monitor'\nmessage = 'm'",
    );
    case(custom(&(rules + &rule("name = 'n'\naction = 'allow'")))).decide();
    case("[[policy]]\nname = 'P'\napps.include = ['slack', 'corp']\nusers.exclude = ['uid:0']").decide();
}

#[test]
fn a_set_is_named_by_what_it_says() {
    let id = |text: &str| build(text).id();
    assert_eq!(id(&block("")), id(&block("")));
    assert_ne!(id(&block("")), id(&block("state = 'disabled'")));
    let suite = block("apps.include = ['corp']");
    let known = |apps: &str| Catalog::build(&[SourceFile::new("a.toml", apps)]).unwrap();
    let of = |catalog: &Catalog| {
        PolicySet::build(&[SourceFile::new("p.toml", &*suite)], catalog, &networks()).unwrap()
    };
    let grown = APPS.to_owned() + "[[app]]\nid = 'corp-new'\nsuite = 'corp'\ndomains = ['new.corp.test']\n";
    assert_ne!(of(&known(APPS)).id(), of(&known(&grown)).id(), "a suite that has grown is another set");
    for (text, wrong) in [
        ("", "not a policy set"),
        ("{\"format\":9,\"files\":[],\"apps\":{},\"networks\":{}}", "of form 9"),
        (
            "{\"format\":1,\"files\":[{\"path\":\"p\",\"text\":\"x = 1\"}],\"apps\":{},\"networks\":{}}",
            "p:1:1: `x`",
        ),
        ("{\"format\":1,\"files\":[],\"apps\":{},\"networks\":{\"n\":[\"10/8\"]}}", "not a policy set"),
    ] {
        let error = PolicySet::from_document(text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn a_name_is_taken_once_across_files() {
    let sources =
        [SourceFile::new("10.toml", block("")), SourceFile::new("20.toml", format!("\n{}", block("")))];
    let found = PolicySet::build(&sources, &catalog(), &networks()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].path(), found[0].line(), &*found[0].field), ("20.toml", 3, "policy[0].name"));
    let related = found[0].related.as_ref().unwrap();
    assert_eq!(&*related.source.path, "10.toml");
}

#[test]
fn policies_keep_the_order_of_files_and_know_their_place() {
    let sources = [
        SourceFile::new("10.toml", block("")),
        SourceFile::new(
            "20.toml",
            policy("Q", "apps.include = ['all']") + &policy("A", "apps.include = ['all']"),
        ),
    ];
    let set = PolicySet::build(&sources, &catalog(), &networks()).unwrap();
    let places: Vec<String> =
        set.policies().iter().map(|p| format!("{} {}:{}", p.name, p.path, p.line)).collect();
    assert_eq!(places, ["P 10.toml:2", "Q 20.toml:2", "A 20.toml:5"]);
    assert_eq!(set.get("Q").map(|p| p.state), Some(State::Enabled));
    assert_eq!(set.get("none").map(|p| p.line), None);
}

#[test]
fn a_member_that_joins_a_suite_is_covered_without_touching_the_policy() {
    let text = block("apps.include = ['office365']");
    let added =
        SourceFile::new("b.toml", "[[app]]\nid = 'm365-forms'\nsuite = 'office365'\ndomains = ['f.test']");
    let larger = Catalog::build(&[added]).unwrap();
    let set = PolicySet::build(&[SourceFile::new("p.toml", text.clone())], &larger, &networks()).unwrap();
    let covered: BTreeSet<&str> =
        larger.apps().iter().filter(|app| set.selects(app)).map(|app| &*app.id).collect();
    assert!(
        covered.contains("m365-forms") && covered.contains("m365-graph") && covered.len() == 6,
        "{covered:?}"
    );
    assert!(!build(&text).selects(larger.app("m365-forms").unwrap()));
}

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
            .chain([bodies.asks_upload_names(), bodies.at_request()])
            .map(|asked| if asked { 'x' } else { '-' })
            .collect::<String>()
    };
    let content = "content = { detect = ['iban'] }";
    assert_eq!(asked(&rule(&format!("{content}\naction = 'block'"))), "xxxxx-x");
    assert_eq!(asked(&rule(&format!("activity = ['upload']\n{content}\naction = 'block'"))), "x-----x");
    assert_eq!(asked(&rule(&format!("activity = ['message']\n{content}\naction = 'monitor'"))), "-x----x");
    assert_eq!(asked(&rule(&format!("activity = ['download']\n{content}\naction = 'block'"))), "---x---");
    assert_eq!(asked(&rule("activity = ['upload']\nfiles.names = ['*.exe']\naction = 'block'")), "-----xx");
    assert_eq!(asked(&rule("activity = ['upload']\naction = 'block'")), "------x");
    assert_eq!(asked(&rule("activity = ['download']\naction = 'block'")), "-------");
    let set = build(&block(""));
    assert!(!set.reads_bodies_of(catalog().app("slack").unwrap()));
}
