//! What the session controls and their rules do, and which of several policies wins.

use super::*;

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
    check(over("'copy'", ActivityType::Copy), BLOCKED);
    check(over("'copy', 'paste'", ActivityType::Cut), LEFT_ALONE);
    check(over("'cut', 'paste'", ActivityType::Paste), BLOCKED);
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
