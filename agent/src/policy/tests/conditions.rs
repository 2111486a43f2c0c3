//! Whom, what, where and with which device a policy covers.

use super::*;

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
