//! Exports of the kinds that are seen, and what becomes of each field.

use serde_json::json;

use super::*;
use crate::catalog::Catalog;
use crate::diagnostic::SourceFile;
use crate::policy::{Networks, PolicySet};

/// A policy that covers exactly what one here can: browsers of all users, SharePoint, devices that are not compliant.
fn exact() -> Value {
    json!({
        "@odata.type": "#microsoft.graph.conditionalAccessPolicy",
        "id": "11111111-2222-4333-8444-555555555555",
        "displayName": "Downloads",
        "createdDateTime": "2026-01-02T03:04:05Z",
        "state": "enabled",
        "grantControls": null,
        "conditions": {
            "signInRiskLevels": [],
            "clientAppTypes": ["browser"],
            "platforms": null,
            "applications": { "includeApplications": ["00000003-0000-0ff1-ce00-000000000000"], "excludeApplications": [] },
            "users": { "includeUsers": ["All"], "excludeGroups": [] },
            "devices": { "deviceFilter": { "mode": "exclude", "rule": "device.isCompliant -eq True" } }
        },
        "sessionControls": { "cloudAppSecurity": { "cloudAppSecurityType": "blockDownloads", "isEnabled": true } }
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut policy = exact();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = policy.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().insert(key.to_owned(), value);
    policy
}

fn names() -> Names {
    let name = |id: &str, word: &str| (id.to_owned(), word.to_owned());
    Names::from([
        name("g-staff", "group:staff"),
        name("loc-1", "corp"),
        name("app-1", "slack"),
        name("app-2", "no-such-app"),
        name("u-odd", "nonsense"),
        name("device.trustType -eq \"AzureAD\"", "tag:joined"),
    ])
}

#[track_caller]
fn read_all(text: &str) -> Result<Vec<Imported>, ImportError> {
    let catalog = Catalog::builtin();
    let networks = Networks::from([("corp".into(), ["10.0.0.0/8".parse().unwrap()].into())]);
    let host = Host {
        names: &names(),
        is_app: &|word| catalog.app(word).is_some() || catalog.suite(word).next().is_some(),
        is_network: &|word| networks.contains_key(word),
    };
    let imported = import(text, &host)?.policies;
    let toml: String = imported.iter().map(Imported::to_toml).collect();
    let set = PolicySet::build(&[SourceFile::new("i.toml", toml.as_str())], &catalog, &networks)
        .unwrap_or_else(|faults| panic!("{toml}\n{faults:#?}"));
    for (policy, one) in set.policies().iter().zip(&imported) {
        assert_eq!(policy.state.name(), one.policy.state);
        for note in &one.notes {
            let text = note.text.replace(char::is_control, " ");
            assert!(toml.contains(&note.field) && toml.contains(&text), "{note:?} is not in\n{toml}");
        }
    }
    Ok(imported)
}

#[track_caller]
fn read(policy: &Value) -> Imported {
    read_all(&policy.to_string()).unwrap().pop().unwrap()
}

/// The notes as `field: effect`, without what is only to be known.
fn effects(imported: &Imported) -> Vec<String> {
    let notes = imported.notes.iter().filter(|note| note.effect != Effect::None);
    notes.map(|note| format!("{}: {}", note.field, note.effect.name())).collect()
}

#[track_caller]
fn check(policy: &Value, state: &str, expected: &[&str]) -> Written {
    let imported = read(policy);
    assert_eq!(effects(&imported), expected, "{imported:#?}");
    assert_eq!(imported.policy.state, state, "{imported:#?}");
    imported.policy
}

fn words(include: &[&str], exclude: &[&str]) -> Option<Words> {
    let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    Some(Words::new(owned(include), owned(exclude)))
}

#[test]
fn what_can_be_said_here_is_enforced_as_it_is() {
    let imported = read(&exact());
    assert_eq!(imported.notes, []);
    assert_eq!(
        imported.to_toml(),
        "# Imported from conditionalAccessPolicy 11111111-2222-4333-8444-555555555555, which is \"enabled\".\n\
         [[policy]]\n\
         name = \"Downloads\"\n\
         state = \"enabled\"\n\
         users = { include = [\"all\"] }\n\
         apps = { include = [\"m365-sharepoint\"] }\n\
         [policy.conditions]\n\
         client_apps = [\"browser\"]\n\
         devices = { include = [\"all\"], exclude = [\"compliant\"] }\n\
         [policy.session]\n\
         control = \"block-downloads\"\n"
    );
}

#[test]
fn states_and_controls() {
    check(&with("/state", json!("enabledForReportingButNotEnforced")), "report-only", &[]);
    check(&with("/state", json!("disabled")), "disabled", &[]);
    check(&with("/state", json!("paused")), "disabled", &["state: unknown"]);
    let control = |kind: &str| {
        with("/sessionControls/cloudAppSecurity", json!({ "isEnabled": true, "cloudAppSecurityType": kind }))
    };
    let session = |policy: Written| policy.session.control;
    assert_eq!(session(check(&control("monitorOnly"), "enabled", &[])).as_deref(), Some("monitor-only"));
    let less = ["sessionControls.cloudAppSecurity: covers-less"];
    let custom = check(&control("mcasConfigured"), "report-only", &less);
    assert_eq!((custom.session.control.as_deref(), custom.session.rules.len()), (Some("custom"), 1));
    assert_eq!(
        session(check(&control("protectDownloads"), "report-only", &less)).as_deref(),
        Some("monitor-only")
    );
    let unknown = ["sessionControls.cloudAppSecurity: unknown"];
    assert_eq!(session(check(&control("unknownFutureValue"), "report-only", &unknown)), None);
    let off = json!({ "isEnabled": false, "cloudAppSecurityType": "blockDownloads" });
    assert_eq!(session(check(&with("/sessionControls/cloudAppSecurity", off), "enabled", &[])), None);
    assert_eq!(session(check(&with("/sessionControls", Value::Null), "enabled", &[])), None);
    let unsaid = json!({ "isEnabled": null, "cloudAppSecurityType": "blockDownloads" });
    assert_eq!(
        session(check(&with("/sessionControls/cloudAppSecurity", unsaid), "report-only", &unknown)),
        None
    );
}

#[test]
fn what_entra_does_beside_it_is_named_and_changes_nothing() {
    let mut policy = with("/grantControls", json!({ "operator": "OR", "builtInControls": ["mfa"] }));
    policy["sessionControls"]["signInFrequency"] = json!({ "isEnabled": true, "value": 4, "type": "hours" });
    policy["sessionControls"]["disableResilienceDefaults"] = json!(true);
    let imported = read(&policy);
    let fields: Vec<&str> = imported.notes.iter().map(|note| note.field.as_str()).collect();
    assert_eq!(
        fields,
        ["sessionControls.disableResilienceDefaults", "sessionControls.signInFrequency", "grantControls"]
    );
    assert!(imported.is_exact() && imported.policy.state == "enabled");
    assert!(imported.to_toml().contains("\"mfa\""));
}

#[test]
fn users_and_groups() {
    let users = |users: Value, state: &str, expected: &[&str]| {
        check(&with("/conditions/users", users), state, expected).users
    };
    let found = users(json!({ "includeGroups": ["g-staff"], "excludeUsers": ["None"] }), "enabled", &[]);
    assert_eq!(found, words(&["group:staff"], &[]));
    let found = users(
        json!({ "includeUsers": ["All", "x"], "excludeGroups": ["<Break Glass>"], "excludeRoles": ["r1", "r2"] }),
        "report-only",
        &[
            "conditions.users.includeUsers: covers-less",
            "conditions.users.excludeGroups: covers-more",
            "conditions.users.excludeRoles: covers-more",
            "conditions.users.excludeRoles: covers-more",
        ],
    );
    assert_eq!(found, words(&["all"], &["group:<Break Glass>", "group:r1", "group:r2"]));
    let less = ["conditions.users.includeRoles: covers-less"];
    assert_eq!(users(json!({ "includeRoles": ["r1"] }), "report-only", &less), words(&["group:r1"], &[]));
    let guests = json!({
        "includeUsers": ["All"],
        "excludeGuestsOrExternalUsers": { "guestOrExternalUserTypes": "internalGuest", "externalTenants": null }
    });
    let found = users(guests, "report-only", &["conditions.users.excludeGuestsOrExternalUsers: covers-more"]);
    assert_eq!(found, words(&["all"], &["group:GuestsOrExternalUsers"]));
    let found = users(
        json!({ "includeUsers": ["GuestsOrExternalUsers"], "excludeGroups": ["g-staff"] }),
        "report-only",
        &["conditions.users.includeUsers: covers-less"],
    );
    assert_eq!(found, words(&["group:GuestsOrExternalUsers"], &["group:staff"]), "the exclusion is kept");
    let nobody = json!({ "includeUsers": ["None"], "excludeGroups": ["g-staff"] });
    assert_eq!(users(nobody, "disabled", &[]), words(&["all"], &["all", "group:staff"]), "exactly nobody");
    let odd = ["conditions.users.includeUsers: covers-less", "conditions.users: unknown"];
    let odd = users(
        json!({ "includeUsers": ["u-odd"], "excludeUsers": ["uid:7"] }),
        "disabled",
        &[odd[0], "conditions.users.excludeUsers: covers-more", odd[1]],
    );
    assert_eq!(odd, words(&["all"], &["all", "user:uid:7"]));
    let nulls = json!({ "includeUsers": ["All", null], "excludeGroups": [null, "g-staff"] });
    assert_eq!(users(nulls, "enabled", &[]), words(&["all"], &["group:staff"]));
    let odd = json!({ "includeUsers": ["All"], "excludeUsers": ["u-odd"] });
    users(odd, "report-only", &["conditions.users.excludeUsers: covers-more"]);
    let shapes = json!({ "includeUsers": ["All"], "excludeUsers": { "a": 1 }, "newThing": ["x"] });
    users(
        shapes,
        "report-only",
        &["conditions.users.excludeUsers: unknown", "conditions.users.newThing: unknown"],
    );
}

#[test]
fn applications() {
    let apps = |apps: Value, state: &str, expected: &[&str]| {
        check(&with("/conditions/applications", apps), state, expected).apps
    };
    let found = apps(json!({ "includeApplications": ["Office365", "app-1"] }), "enabled", &[]);
    assert_eq!(Some(found), words(&["office365", "slack"], &[]));
    let found = apps(
        json!({ "includeApplications": "All", "excludeApplications": ["0000-unknown", "app-2"] }),
        "report-only",
        &[
            "conditions.applications.excludeApplications: covers-more",
            "conditions.applications.excludeApplications: covers-more",
        ],
    );
    assert_eq!(Some(found), words(&["all"], &[]));
    let none = json!({ "includeApplications": ["None"], "excludeApplications": ["app-1"] });
    assert_eq!(
        Some(apps(none, "disabled", &[])),
        words(&["all"], &["all", "slack"]),
        "nothing, whatever the state"
    );
    let unknown = ["conditions.applications.includeApplications: covers-less"];
    let found = apps(json!({ "includeApplications": ["0000-unknown"] }), "disabled", &unknown);
    assert_eq!(Some(found), words(&["all"], &["all"]));
    let acts = json!({ "includeUserActions": ["urn:user:registerdevice"] });
    apps(acts, "disabled", &["conditions.applications.includeUserActions: covers-less"]);
    let filter =
        json!({ "includeApplications": ["All"], "applicationFilter": { "mode": "exclude", "rule": "x" } });
    apps(filter, "report-only", &["conditions.applications.applicationFilter: unknown"]);
    let portals = json!({ "includeApplications": ["MicrosoftAdminPortals"] });
    apps(portals, "report-only", &["conditions.applications.includeApplications: unknown"]);
}

#[test]
fn clients_platforms_and_locations() {
    let clients = |kinds: Value, state: &str, expected: &[&str]| {
        check(&with("/conditions/clientAppTypes", kinds), state, expected).conditions.client_apps
    };
    assert_eq!(clients(json!(["all"]), "enabled", &[]), [] as [&str; 0]);
    assert_eq!(
        clients(json!(["browser", "mobileAppsAndDesktopClients"]), "enabled", &[]),
        ["browser", "native"]
    );
    let less = ["conditions.clientAppTypes: covers-less"];
    assert_eq!(clients(json!(["browser", "other"]), "report-only", &less), ["browser"]);
    assert_eq!(clients(json!(["exchangeActiveSync"]), "disabled", &less), ["native"]);

    let platforms =
        |platforms: Value, state: &str| check(&with("/conditions/platforms", platforms), state, &[]);
    platforms(json!({ "includePlatforms": ["all"], "excludePlatforms": ["iOS", "windows"] }), "enabled");
    platforms(json!({ "includePlatforms": ["windows", "macOS"], "excludePlatforms": null }), "disabled");
    platforms(json!({ "includePlatforms": ["all"], "excludePlatforms": ["linux"] }), "disabled");

    let locations = |locations: Value, state: &str, expected: &[&str]| {
        check(&with("/conditions/locations", locations), state, expected).conditions.locations
    };
    let everywhere = json!({ "includeLocations": ["All"], "excludeLocations": [] });
    assert_eq!(locations(everywhere, "enabled", &[]), None);
    let outside = json!({ "includeLocations": ["All"], "excludeLocations": ["loc-1"] });
    assert_eq!(locations(outside, "enabled", &[]), words(&["all"], &["corp"]));
    let trusted = json!({ "includeLocations": ["All"], "excludeLocations": ["AllTrusted"] });
    locations(trusted, "report-only", &["conditions.locations.excludeLocations: covers-more"]);
    let inside = json!({ "includeLocations": ["AllTrusted"] });
    let found = locations(inside, "disabled", &["conditions.locations.includeLocations: covers-less"]);
    assert_eq!(found, words(&["all"], &["all"]), "not everywhere");
    let nowhere = json!({ "includeLocations": ["All"], "excludeLocations": ["All"] });
    assert_eq!(locations(nowhere, "disabled", &[]), words(&["all"], &["all"]));
}

#[test]
fn devices() {
    const FILTER: &str = "conditions.devices.deviceFilter";
    let filter = |mode: &str, rule: &str, state: &str, effects: &[&str]| {
        let effects: Vec<String> = effects.iter().map(|effect| format!("{FILTER}: {effect}")).collect();
        let effects: Vec<&str> = effects.iter().map(String::as_str).collect();
        let devices = json!({ "deviceFilter": { "mode": mode, "rule": rule }, "includeDevices": ["All"] });
        check(&with("/conditions/devices", devices), state, &effects).conditions.devices
    };
    let unmanaged = words(&["all"], &["compliant"]);
    assert_eq!(filter("include", "device.isCompliant -ne True", "enabled", &[]), unmanaged);
    assert_eq!(filter("include", "device.isCompliant -eq True", "enabled", &[]), words(&["compliant"], &[]));
    assert_eq!(filter("include", "device.isCompliant -eq False", "report-only", &["covers-more"]), unmanaged);
    let joined = "device.isCompliant -eq True -or device.trustType -eq \"AzureAD\"";
    assert_eq!(filter("exclude", joined, "enabled", &[]), words(&["all"], &["compliant", "tag:joined"]));
    assert_eq!(filter("include", joined, "enabled", &[]), words(&["compliant", "tag:joined"], &[]));
    let server = format!("{joined} -or device.trustType -eq \"ServerAD\"");
    let found = filter("exclude", &server, "report-only", &["covers-more"]);
    assert_eq!(found, words(&["all"], &["compliant", "tag:joined"]));
    filter(
        "include",
        "device.mdmAppId -ne \"x\" -and device.isCompliant -ne True",
        "report-only",
        &["covers-more"],
    );
    let found = filter("include", "device.model -eq \"x\"", "disabled", &["covers-less"]);
    assert_eq!(found, words(&["all"], &["all"]), "not every device");
    assert_eq!(filter("exclude", "device.displayName -contains \"x\"", "report-only", &["unknown"]), None);
    filter("sideways", joined, "report-only", &["unknown"]);
    let both = "device.isCompliant -eq True -and device.trustType -eq \"AzureAD\"";
    filter("include", both, "report-only", &["covers-more"]);

    let states = json!({ "includeStates": ["All"], "excludeStates": ["Compliant", "DomainJoined"] });
    let mut policy = with("/conditions/devices", Value::Null);
    policy["conditions"]["deviceStates"] = states;
    let found = check(&policy, "report-only", &["conditions.deviceStates.excludeStates: covers-more"]);
    assert_eq!(found.conditions.devices, unmanaged);
}

#[test]
fn what_only_a_sign_in_knows_is_named() {
    for (field, value, effect) in [
        ("signInRiskLevels", json!(["high"]), "covers-more"),
        ("userRiskLevels", json!(["high"]), "covers-more"),
        ("authenticationFlows", json!({ "transferMethods": "deviceCodeFlow" }), "covers-more"),
        ("insiderRiskLevels", json!("elevated"), "covers-more"),
        ("clientApplications", json!({ "includeServicePrincipals": ["x"] }), "covers-less"),
        ("somethingNew", json!({ "a": [{ "b": 1 }] }), "unknown"),
    ] {
        let expected = format!("conditions.{field}: {effect}");
        check(&with(&format!("/conditions/{field}"), value), "report-only", &[&expected]);
    }
    check(
        &with("/partialEnablementStrategy", json!("x")),
        "report-only",
        &["partialEnablementStrategy: unknown"],
    );
    check(&with("/state@odata.type", json!("x")), "enabled", &[]);
    check(&with("/#microsoft.graph.restore", json!({ "target": "x" })), "enabled", &[]);
}

#[test]
fn one_several_and_answers_of_the_api() {
    let one = exact().to_string();
    assert_eq!(read_all(&one).unwrap().len(), 1);
    let named = |imported: Vec<Imported>| imported.into_iter().map(|one| one.policy.name).collect::<Vec<_>>();
    let several = format!("\u{feff}[{one},{one},{one}]");
    assert_eq!(named(read_all(&several).unwrap()), ["Downloads", "Downloads (2)", "Downloads (3)"]);
    let answer = format!("{{\"@odata.context\":\"x\",\"value\":[{one}]}}");
    assert_eq!(named(read_all(&answer).unwrap()), ["Downloads"]);
    let odd = with("/displayName", json!("a\n[[policy]]\u{202e}"));
    assert_eq!(read(&odd).policy.name, "a [[policy]]\u{202e}");
    let long = with("/displayName", json!("ä".repeat(500)));
    assert_eq!(read(&long).policy.name.chars().count(), 190);

    let powershell = one.replace("displayName", "DisplayName").replace("conditions", "Conditions");
    assert_eq!(named(read_all(&powershell).unwrap()), ["Downloads"]);
    assert!(matches!(read_all("{"), Err(ImportError::NoJson(_))));
    let twice = one.replace("\"conditions\"", "\"Conditions\":{},\"conditions\"");
    assert!(matches!(read_all(&twice), Err(ImportError::NoJson(_))), "either may be meant");
    let pages = |link: &str| {
        let text = format!("{{\"value\":[{one}],\"@odata.nextLink\":{link}}}");
        let host = Host { names: &names(), is_app: &|_| true, is_network: &|_| true };
        import(&text, &host).unwrap().goes_on
    };
    assert!(pages("\"https://graph.microsoft.com/x?$skiptoken=1\"") && !pages("null"));
    assert_eq!(read_all("3"), Err(ImportError::Nothing));
    assert_eq!(read_all("{\"a\":1}"), Err(ImportError::NoPolicy("the file".into())));
    assert_eq!(read_all(&format!("[{one},3]")), Err(ImportError::NoPolicy("[1]".into())));
    assert_eq!(read_all("[]"), Ok(Vec::new()));
}

#[test]
fn what_is_not_as_in_the_original_is_said_at_its_key() {
    let mut policy = with("/conditions/applications/includeApplications", json!(["0000-unknown"]));
    policy["conditions"]["users"] = json!({ "includeUsers": ["All"], "excludeRoles": ["r1"] });
    let toml = read(&policy).to_toml();
    for expected in [
        "\n# not as in the original, see above:\nusers = { include = [\"all\"], exclude = [\"group:r1\"] }\n",
        "\n# covers nothing: it excludes all. Write what is meant in its place:\n\
         apps = { include = [\"all\"], exclude = [\"all\"] }\n[policy.conditions]\nclient_apps",
    ] {
        assert!(toml.contains(expected), "{toml}");
    }
}

mod any {
    use proptest::prelude::*;

    use super::*;

    /// Values in the shapes of an export, and in others.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-zA-Z:\"'\\\\\n# -]{0,12}".prop_map(Value::from),
            Just(json!("All")),
            Just(json!("device.isCompliant -eq True")),
            Just(json!(7)),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z@#]{1,6}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    #[test]
    fn an_empty_id_names_nobody_and_is_told() {
        for field in ["/conditions/users/includeUsers", "/conditions/users/excludeGroups"] {
            let imported = read_all(&with(field, json!([""])).to_string()).unwrap();
            assert!(imported.iter().any(|one| !one.is_exact()), "{field}");
        }
    }

    proptest! {
        /// Whatever stands in a field: the output loads, and an enabled policy covers exactly what the original covers.
        #[test]
        fn value_of_any_field(
            field in prop::sample::select(vec![
                "/displayName", "/state", "/grantControls", "/sessionControls", "/sessionControls/cloudAppSecurity",
                "/conditions", "/conditions/users", "/conditions/users/includeUsers", "/conditions/users/excludeGroups",
                "/conditions/applications", "/conditions/applications/includeApplications", "/conditions/locations",
                "/conditions/platforms", "/conditions/devices", "/conditions/devices/deviceFilter", "/conditions/new",
            ]),
            value in value(),
        ) {
            if let Ok(imported) = read_all(&with(field, value).to_string()) {
                for one in imported {
                    prop_assert!(one.policy.state != "enabled" || one.is_exact());
                }
            }
        }
    }
}
