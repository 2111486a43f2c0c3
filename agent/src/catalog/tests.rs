//! The built-in catalog is whole and clean; additions extend it; every host has one owner.
use std::collections::HashSet;

use super::*;
use crate::classify::ActivityType;

#[track_caller]
fn build(texts: &[&str]) -> Result<Catalog, Vec<String>> {
    let sources: Vec<SourceFile> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| SourceFile::new(format!("apps.d/{n}.toml"), *text))
        .collect();
    Catalog::build(&sources).map_err(|found| found.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn refused(texts: &[&str], expected: &[&str]) {
    assert_eq!(build(texts).map(|_| ()), Err(expected.iter().map(|s| (*s).to_owned()).collect()));
}

#[test]
fn the_builtin_catalog_has_every_app() {
    let catalog = Catalog::builtin();
    for id in [
        "m365-exchange",
        "m365-sharepoint",
        "onedrive-personal",
        "m365-teams",
        "m365-office-web",
        "entra-signin",
        "m365-admin",
        "m365-graph",
        "google-drive",
        "google-gmail",
        "google-docs",
        "box",
        "dropbox",
        "slack",
        "salesforce",
        "github",
        "gitlab",
        "jira",
        "confluence",
        "zoom",
        "servicenow",
        "workday",
        "aws-s3",
        "notion",
        "figma",
        "chatgpt",
        "signed-storage",
    ] {
        let app = catalog.app(id).unwrap_or_else(|| panic!("{id}"));
        assert!(!app.domains.is_empty() && app.category.is_some() && app.name.len() > 2, "{id}");
        assert_eq!(app.ports, DEFAULT_PORTS);
    }
    let members = |suite: &str| catalog.suite(suite).map(|app| app.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        members("office365"),
        ["m365-exchange", "m365-sharepoint", "m365-teams", "m365-office-web", "m365-graph"]
    );
    assert_eq!(members("google-workspace"), ["google-drive", "google-gmail", "google-docs"]);
    assert_eq!(members("atlassian"), ["jira"]);
    assert_eq!(members("github"), ["github"]);
    assert_eq!(members("nothing"), [""; 0]);
}

#[test]
fn hosts_lead_to_their_apps() {
    let catalog = Catalog::builtin();
    for (host, expected) in [
        ("outlook.office.com", Some("m365-exchange")),
        ("OUTLOOK.office.com.", Some("m365-exchange")),
        ("attachments.office.net", Some("m365-exchange")),
        ("r4.res.office365.com", Some("m365-exchange")),
        ("contoso.sharepoint.com", Some("m365-sharepoint")),
        ("contoso-my.sharepoint.com", Some("m365-sharepoint")),
        ("northeurope1-mediap.svc.ms", Some("m365-sharepoint")),
        ("eu-prod.asyncgw.teams.microsoft.com", Some("m365-teams")),
        ("www.office.com", Some("m365-office-web")),
        ("reportsncu.office.com", Some("m365-office-web")),
        ("portal.office.com", Some("m365-admin")),
        ("word.cloud.microsoft", Some("m365-office-web")),
        ("teams.cloud.microsoft", Some("m365-teams")),
        ("outlook.cloud.microsoft", Some("m365-exchange")),
        ("login.microsoftonline.com", Some("entra-signin")),
        ("device.login.microsoftonline.com", None),
        ("graph.microsoft.com", Some("m365-graph")),
        ("doc-0s-docs.googleusercontent.com", Some("google-drive")),
        ("mail-attachment.googleusercontent.com", Some("google-gmail")),
        ("www.googleapis.com", Some("google-drive")),
        ("fonts.googleapis.com", None),
        ("dl13.boxcloud.com", Some("box")),
        ("uc0123456789abcdef.dl.dropboxusercontent.com", Some("dropbox")),
        ("files.slack.com", Some("slack")),
        ("codeload.github.com", Some("github")),
        ("objects.githubusercontent.com", Some("github")),
        ("contoso.atlassian.net", Some("jira")),
        ("api.media.atlassian.com", Some("jira")),
        ("bucket.s3.eu-west-1.amazonaws.com", Some("aws-s3")),
        ("bucket.s3.amazonaws.com", Some("aws-s3")),
        ("s3-us-west-2.amazonaws.com", Some("aws-s3")),
        ("figma-alpha-api.s3.us-west-2.amazonaws.com", Some("figma")),
        ("other.s3.us-west-2.amazonaws.com", Some("aws-s3")),
        ("shop.eu-west-1.elb.amazonaws.com", None),
        ("files.oaiusercontent.com", Some("chatgpt")),
        ("microsoft.com", None),
        ("notslack.com", None),
        ("slack.com.evil.test", None),
        ("example.org", None),
        ("", None),
    ] {
        assert_eq!(catalog.lookup(host).map(|app| &*app.id), expected, "{host}");
        assert_eq!(catalog.lookup_index(host).map(|i| &*catalog.apps()[usize::from(i)].id), expected);
    }
}

/// What the rules of the host's app call a request.
fn called(catalog: &Catalog, method: &str, url: &str, status: Option<u16>) -> Option<ActivityType> {
    let (host, rest) = url.split_once('/').unwrap();
    let target = format!("/{rest}");
    let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
    let app = catalog.lookup(host).unwrap_or_else(|| panic!("{host}"));
    app.activity(&Asked { method, host, path, query, status }).map(|rule| rule.activity)
}

#[test]
fn activity_rules_say_what_requests_are() {
    let catalog = Catalog::builtin();
    let table = include_str!("../../../tests/fixtures/app_activities.tsv");
    let mut apps = HashSet::new();
    let mut rules = HashSet::new();
    for row in table.lines().skip(1) {
        let [id, activity, method, status, url] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row:?}")
        };
        let (host, _) = url.split_once('/').unwrap();
        let app = catalog.lookup(host).unwrap_or_else(|| panic!("{host}"));
        assert_eq!(catalog.app(id).map(|app| &app.id), Some(&app.id), "{row}");
        let status: u16 = status.parse().unwrap();
        let found = called(&catalog, method, url, Some(status)).unwrap_or(ActivityType::None);
        assert_eq!(found.name(), activity, "{row}");
        if found != ActivityType::None {
            apps.insert(id);
            rules.insert((id, activity, url));
        }
    }
    // The admin center's one activity is a report that another app's host serves.
    assert_eq!(apps.len(), 26, "{apps:?}");
    assert!(rules.len() > 125, "{}", rules.len());
}

#[test]
fn rules_ask_for_statuses() {
    let rule = |status: &str| {
        build(&[&format!(
            "[[app]]\nid='x'\ndomains=['x.test']\n[[app.activity]]\ntype='print'\npath='/p'\nstatus={status}"
        )])
    };
    let prints = |text: &str, status| {
        called(&rule(text).unwrap(), "GET", "x.test/p", status) == Some(ActivityType::Print)
    };
    assert!(prints("200", Some(200)) && !prints("200", Some(201)) && prints("200", None));
    assert!(prints("'2xx'", Some(299)) && !prints("'2xx'", Some(302)));
    assert!(prints("[200, '302-303', '404']", Some(303)) && prints("['404']", Some(404)));
    for wrong in ["99", "'xx'", "'20x'", "'300-200'", "''", "'ok'", "[1000]", "true"] {
        assert!(rule(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_builtin_rule_with_a_host_can_be_reached() {
    let catalog = Catalog::builtin();
    for app in catalog.apps() {
        for rule in app.activities.iter() {
            for host in &rule.hosts {
                let sample = host.as_str().trim_start_matches("*.").replace('*', "x");
                let owner = catalog.lookup(&sample).or_else(|| catalog.lookup(&format!("x.{sample}")));
                let exception = app.id.as_ref() == "aws-s3" || sample == "googleapis.com";
                assert!(exception || owner.is_some_and(|owner| owner.id == app.id), "{} {host}", app.id);
            }
        }
    }
}

#[test]
fn additions_make_new_apps() {
    let catalog = build(&[r#"
        [[app]]
        id = "corp-files"
        name = "Corp Files"
        suite = "corp"
        category = "file-hosting"
        domains = ["files.corp.test", "*.corp.test"]
        ports = [8443]
        [[app.activity]]
        type = "download"
        method = ["GET"]
        host = "*.corp.test"
        path = "/content/*"
    "#])
    .unwrap();
    let app = catalog.lookup("files.corp.test").unwrap();
    assert_eq!((&*app.id, &*app.name, app.suite.as_deref()), ("corp-files", "Corp Files", Some("corp")));
    assert_eq!(app.ports, [8443]);
    assert_eq!(catalog.index_of("corp-files"), Some(26), "built-in apps keep their places");
    assert_eq!(catalog.suite("corp").count(), 1);
    assert!(called(&catalog, "GET", "a.corp.test/content/a/b", None).is_some());
    assert!(called(&catalog, "GET", "a.corp.test/other", None).is_none());
    let small = build(&["[[app]]\nid = 'x'\ndomains = ['x.test']"]).unwrap();
    let app = small.app("x").unwrap();
    assert_eq!((&*app.name, &app.ports[..], &app.suite), ("x", &DEFAULT_PORTS[..], &None));
}

#[test]
fn additions_extend_builtin_apps() {
    let catalog = build(&[
        "[[app]]\nid = 'm365-sharepoint'\ndomains = ['sp.corp.test', '*.sharepoint.com']\nports = [8443, 443]",
        "[[app]]\nid = 'confluence'\ndomains = ['wiki.corp.test']\n[[app.activity]]\ntype='print'\npath='/p/*'",
    ])
    .unwrap();
    let app = catalog.lookup("sp.corp.test").unwrap();
    assert_eq!((&*app.id, app.suite.as_deref()), ("m365-sharepoint", Some("office365")));
    assert_eq!(app.ports, [443, 80, 8443]);
    assert_eq!(app.domains.iter().filter(|d| d.to_string() == "*.sharepoint.com").count(), 1);
    assert_eq!(catalog.lookup("wiki.corp.test").map(|app| &*app.id), Some("jira"), "an alias is the app");
    assert_eq!(catalog.apps().len(), Catalog::builtin().apps().len());
    assert_eq!(build(&[]).unwrap().suites().count(), catalog.suites().count());
}

#[test]
fn one_owner_for_each_pattern() {
    refused(
        &["[[app]]\nid = 'mine'\ndomains = ['*.sharepoint.com']"],
        &[
            "apps.d/0.toml:3:12: \"*.sharepoint.com\" belongs to the app \"m365-sharepoint\" already (extend the app \
           `m365-sharepoint`, or claim a more specific name: the most specific pattern wins)",
        ],
    );
    refused(
        &["[[app]]\nid = 'a'\ndomains = ['x.test']", "[[app]]\nid = 'b'\ndomains = ['X.test']"],
        &[
            "apps.d/1.toml:3:12: \"x.test\" belongs to the app \"a\" already (extend the app `a`, or claim a more \
           specific name: the most specific pattern wins)",
        ],
    );
    let more_specific = build(&["[[app]]\nid = 'mine'\ndomains = ['mine.sharepoint.com']"]).unwrap();
    assert_eq!(more_specific.lookup("mine.sharepoint.com").map(|app| &*app.id), Some("mine"));
    assert_eq!(more_specific.lookup("else.sharepoint.com").map(|app| &*app.id), Some("m365-sharepoint"));
}

#[test]
fn all_errors_come_at_once() {
    refused(
        &[r#"
[[app]]
name = "no id"
domains = ["ok.test", "https://x.test", "*"]
[[app]]
id = "All Caps"
domains = []
prots = [443]
[[app]]
id = "nothing"
ports = [0, 70000]
[[app.activity]]
type = "downlaod"
method = ["get"]
path = "/uc?export=download"
[[app.activity]]
type = "view"
"#],
        &[
            "apps.d/0.toml:2:1: `app[0]`: `id` is missing (give the app an id, for example `id = \"corp-files\"`)",
            "apps.d/0.toml:4:23: `app[0].domains[1]`: a URL is no host pattern: write the host name alone",
            "apps.d/0.toml:4:41: `app[0].domains[2]`: a host pattern that matches every name would monitor the \
             whole internet",
            "apps.d/0.toml:6:6: `app[1].id`: an id has 1 to 64 lower-case letters, digits, `-`, `_` and dots",
            "apps.d/0.toml:8:1: `app[1].prots`: unknown key (did you mean `ports`?)",
            "apps.d/0.toml:11:10: `app[2].ports[0]`: must lie between 1 and 65535",
            "apps.d/0.toml:11:13: `app[2].ports[1]`: must lie between 1 and 65535",
            "apps.d/0.toml:13:8: `app[2].activity[0].type`: unknown value \"downlaod\" (did you mean `download`?)",
            "apps.d/0.toml:14:11: `app[2].activity[0].method[0]`: a method is written in capitals, as in `GET`",
            "apps.d/0.toml:15:8: `app[2].activity[0].path`: a path has no query (give the parameters as `query = { \
             name = \"value\" }`)",
            "apps.d/0.toml:16:1: `app[2].activity[1]`: the rule would match every request of the app (add `path`, \
             `query` or `host`)",
            "apps.d/0.toml:10:6: the app \"nothing\" has no `domains`, and no built-in app has this id",
        ],
    );
    refused(
        &["[[app]]\nid = 'a'\ndomains = ['a.test']\n[[app]]\nid = 'a'\ndomains = ['b.test']"],
        &["apps.d/0.toml:5:6: the app \"a\" is defined twice"],
    );
    refused(
        &["[[app]]\nid = 'm365-teams'\nsuite = 'mine'"],
        &[
            "apps.d/0.toml:2:6: the built-in app \"m365-teams\" is part of the suite \"office365\" and stays so",
        ],
    );
    refused(
        &["[[app]]\nid = 'a'\ndomains = ['a.test']\naliases = ['slack']"],
        &["apps.d/0.toml:2:6: the alias \"slack\" names another app already"],
    );
}

#[test]
fn domains_and_look_up_agree() {
    let catalog = Catalog::builtin();
    let mut seen = HashSet::new();
    for (pattern, index) in catalog.domains() {
        assert!(seen.insert(pattern.to_string()), "{pattern} stands twice");
        let host = match pattern {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Below(suffix) => format!("no-one-else.{suffix}"),
        };
        assert_eq!(catalog.lookup_index(&host), Some(index), "{pattern}");
    }
    assert!(seen.len() > 400);
}

#[test]
fn suffixes_are_few_and_permit_every_domain() {
    let catalog = Catalog::builtin();
    let suffixes = catalog.suffixes();
    let below = |name: &str, above: &str| name == above || name.ends_with(&format!(".{above}"));
    for (pattern, _) in catalog.domains() {
        assert!(suffixes.iter().any(|suffix| below(pattern.name(), suffix)), "{pattern}");
    }
    for suffix in &suffixes {
        assert!(!suffixes.iter().any(|other| other != suffix && below(suffix, other)), "{suffix}");
    }
    let names = ["b.test", "*.b.test", "a.b.test", "xb.test", "*.c-b.test", "c.test"];
    let patterns: Vec<_> = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
    let found: Vec<_> = super::suffixes(patterns.iter()).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["c-b.test", "b.test", "xb.test", "c.test"]);
}

#[test]
fn many_domains_are_found_by_hashing() {
    let many: Vec<String> = (0..20_000).map(|n| format!("'h{n}.many.test', '*.h{n}.many.test'")).collect();
    let text = format!("[[app]]\nid = 'many'\ndomains = [{}]", many.join(","));
    let catalog = build(&[&text]).unwrap();
    for host in ["h0.many.test", "x.y.h19999.many.test"] {
        assert_eq!(catalog.lookup(host).map(|app| &*app.id), Some("many"), "{host}");
    }
    assert!(catalog.lookup("h20000.many.test").is_none());
    assert_eq!(catalog.domains().count(), 40_000 + Catalog::builtin().domains().count());
}

#[test]
fn a_word_is_an_apps_or_a_suites() {
    let app = |id: &str, rest: &str| format!("[[app]]\nid = \"{id}\"\ndomains = [\"{id}.test\"]\n{rest}\n");
    for (texts, expected) in [
        (
            vec![app("office365", "")],
            "apps.d/0.toml:2:6: the id \"office365\" is the name of a suite already",
        ),
        (
            vec![app("one", "suite = \"slack\"")],
            "apps.d/0.toml:2:6: the suite \"slack\" has the name of an app",
        ),
        (
            vec![app("one", "suite = \"two\""), app("three", "aliases = [\"two\"]")],
            "apps.d/1.toml:2:6: the alias \"two\" is the name of a suite already",
        ),
        (
            vec!["[[app]]\nid = \"notion\"\nsuite = \"slack\"\n".to_owned()],
            "apps.d/0.toml:2:6: the suite \"slack\" has the name of an app",
        ),
    ] {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        refused(&texts, &[expected]);
    }
    assert!(build(&[&app("one", "suite = \"ours\""), &app("ours", "suite = \"ours\"")]).is_ok());
    assert!(build(&[&app("ours", "suite = \"ours\""), &app("two", "suite = \"ours\"")]).is_ok());
}
