//! `conditions`: apps, clients, devices, locations, platforms, and those that only a sign-in has.

use super::fields::{Fields, is_said};
use super::{Covers, Draft, Effect, Host, Words, Written, device_filter, known, said, users};

/// Fills in what the policy covers.
pub(super) fn read(
    conditions: &Fields<'_>,
    host: &Host<'_>,
    policy: &mut Written,
    draft: &mut Draft,
) -> Covers {
    let part = |name: &str| conditions.object(name).unwrap_or_default();
    let (people, apps, where_, on, platforms) =
        (part("users"), part("applications"), part("locations"), part("devices"), part("platforms"));
    let states = part("deviceStates");
    let users = users::read(&Fields::new(&people, "conditions.users"), host, draft);
    let apps = applications(&Fields::new(&apps, "conditions.applications"), host, draft);
    let clients = client_apps(conditions, draft);
    let locations = locations(&Fields::new(&where_, "conditions.locations"), host, draft);
    let filter = Fields::new(&on, "conditions.devices");
    let states = Fields::new(&states, "conditions.deviceStates");
    let devices = device_filter::read(&filter, &states, host, draft);
    let here = on_linux(&Fields::new(&platforms, "conditions.platforms"), draft);
    for name in [
        "signInRiskLevels",
        "userRiskLevels",
        "servicePrincipalRiskLevels",
        "insiderRiskLevels",
        "authenticationFlows",
        "times",
    ] {
        if let Some(value) = conditions.get(name).filter(|value| is_said(value)) {
            let text = format!("is known at the sign-in alone, not to this host: {}", said(value));
            draft.note(&conditions.path_of(name), Effect::CoversMore, text);
        }
    }
    for name in ["clientApplications", "agents"] {
        if let Some(value) = conditions.get(name).filter(|value| is_said(value)) {
            let text =
                format!("workload identities and agents do not sign in through this host: {}", said(value));
            draft.note(&conditions.path_of(name), Effect::CoversLess, text);
        }
    }
    conditions.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    let some = |words: &Option<Words>| words.as_ref().is_none_or(|words| !words.include.is_empty());
    // A part that covers nothing is written so that it covers nothing, not left out, which would cover everything.
    let part = |read: Result<Option<Words>, CoversNothing>| read.unwrap_or_else(|_| Some(Words::default()));
    let (devices, locations) = (part(devices), part(locations));
    let all = [
        !users.include.is_empty() && !users.cover_nothing(),
        !apps.include.is_empty() && !apps.cover_nothing(),
        clients.is_some(),
        some(&locations) && !locations.as_ref().is_some_and(Words::cover_nothing),
        some(&devices) && !devices.as_ref().is_some_and(Words::cover_nothing),
        here,
    ];
    policy.users = Some(users);
    policy.apps = apps;
    // What speaks other protocols is no browser.
    policy.conditions.client_apps = clients.unwrap_or_else(|| vec!["native".to_owned()]);
    policy.conditions.devices = devices;
    policy.conditions.locations = locations;
    if all.into_iter().all(|covers| covers) { Covers::Something } else { Covers::Nothing }
}

/// A part of the original that covers nothing which can be named here.
pub(super) struct CoversNothing;

/// Without inclusions when no app can be named.
fn applications(fields: &Fields<'_>, host: &Host<'_>, draft: &mut Draft) -> Words {
    let mut side = |name: &str, without: Effect| {
        let field = fields.path_of(name);
        let mut words: Vec<String> = Vec::new();
        for id in fields.texts(name).unwrap_or_default() {
            let word = match (host.names.get(&id), id.to_ascii_lowercase().as_str()) {
                (Some(word), _) => Some(word.as_str()),
                (None, "all") => Some("all"),
                (None, "none") => continue,
                (None, "office365") => Some("office365"),
                (None, "microsoftadminportals") => Some("m365-admin"),
                (None, id) => known::application(id),
            };
            match word {
                Some(word) if word == "all" || (host.is_app)(word) => {
                    if !words.iter().any(|known| known == word) {
                        words.push(word.to_owned());
                    }
                    if id.eq_ignore_ascii_case("MicrosoftAdminPortals") {
                        draft.note(
                            &field,
                            Effect::Unknown,
                            "MicrosoftAdminPortals is m365-admin here, which is a part of it",
                        );
                    }
                }
                Some(word) => {
                    draft.note(
                        &field,
                        without,
                        format!("{id:?} is to be {word:?}, which is no app or suite here"),
                    );
                }
                None => {
                    draft.note(&field, without, format!("no app of this host is known to have the id {id:?}"))
                }
            }
        }
        words
    };
    let include = side("includeApplications", Effect::CoversLess);
    let exclude = side("excludeApplications", Effect::CoversMore);
    for name in ["includeUserActions", "includeAuthenticationContextClassReferences", "globalSecureAccess"] {
        if let Some(value) = fields.get(name).filter(|value| is_said(value)) {
            let text = format!("is no app but an act at the sign-in: {}", said(value));
            draft.note(&fields.path_of(name), Effect::CoversLess, text);
        }
    }
    if let Some(value) = fields.get("applicationFilter").filter(|value| is_said(value)) {
        let text = format!("attributes of apps are unknown to this host: {}", said(value));
        draft.note(&fields.path_of("applicationFilter"), Effect::Unknown, text);
    }
    fields.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    if include.is_empty() {
        draft.note(
            "conditions.applications",
            Effect::None,
            "no app is included that can be named here: it is disabled",
        );
    }
    Words::new(include, exclude)
}

/// Empty: every client. `None` when it is for clients that do not exist here.
fn client_apps(conditions: &Fields<'_>, draft: &mut Draft) -> Option<Vec<String>> {
    const NAME: &str = "clientAppTypes";
    let field = conditions.path_of(NAME);
    let types = conditions.texts(NAME).unwrap_or_default();
    let has = |name: &str| types.iter().any(|kind| kind.eq_ignore_ascii_case(name));
    let (browser, native) = (has("browser"), has("mobileAppsAndDesktopClients"));
    if types.is_empty() || has("all") || (browser && native && has("exchangeActiveSync") && has("other")) {
        let text = "Entra carries out the control in browsers alone; here it holds for native clients too";
        draft.note(&field, Effect::None, text);
        return Some(Vec::new());
    }
    for kind in &types {
        match kind.to_ascii_lowercase().as_str() {
            "browser" | "mobileappsanddesktopclients" => {}
            "exchangeactivesync" | "eassupported" | "other" => {
                let text = format!(
                    "{kind}: protocols of their own are not told apart here, they are native clients"
                );
                draft.note(&field, if native { Effect::None } else { Effect::CoversLess }, text);
            }
            _ => draft.note(&field, Effect::CoversLess, format!("unknown client app {kind:?}")),
        }
    }
    let mut words = Vec::new();
    if browser {
        words.push("browser".to_owned());
    }
    if native {
        words.push("native".to_owned());
    }
    (!words.is_empty()).then_some(words)
}

fn locations(
    fields: &Fields<'_>,
    host: &Host<'_>,
    draft: &mut Draft,
) -> Result<Option<Words>, CoversNothing> {
    let mut side = |name: &str, without: Effect| {
        let field = fields.path_of(name);
        let ids = fields.texts(name).unwrap_or_default();
        let given = !ids.is_empty();
        let mut words: Vec<String> = Vec::new();
        for id in ids {
            let word = host.names.get(&id).map_or(id.as_str(), String::as_str);
            if word.eq_ignore_ascii_case("all") {
                words.push("all".to_owned());
            } else if (host.is_network)(word) {
                words.push(word.to_owned());
            } else {
                let text =
                    format!("{id:?} is none of [networks]: name it there, or tell the import its name");
                draft.note(&field, without, text);
            }
        }
        words.dedup();
        (given, words)
    };
    let (given, include) = side("includeLocations", Effect::CoversLess);
    let (_, exclude) = side("excludeLocations", Effect::CoversMore);
    fields.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    if given && include.is_empty() {
        return Err(CoversNothing);
    }
    let everywhere = include.iter().any(|word| word == "all") || include.is_empty();
    if everywhere && exclude.is_empty() {
        return Ok(None);
    }
    let include = if everywhere { vec!["all".to_owned()] } else { include };
    Ok(Some(Words::new(include, exclude)))
}

/// Whether the policy covers devices like this one. Agents run on Linux alone.
fn on_linux(fields: &Fields<'_>, draft: &mut Draft) -> bool {
    let include = fields.texts("includePlatforms").unwrap_or_default();
    let exclude = fields.texts("excludePlatforms").unwrap_or_default();
    fields.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    let names = |list: &[String], name: &str| list.iter().any(|platform| platform.eq_ignore_ascii_case(name));
    let included = include.is_empty() || names(&include, "all") || names(&include, "linux");
    let here = included && !names(&exclude, "linux") && !names(&exclude, "all");
    if !here {
        let text = format!(
            "is for {} but {}: Linux is not among them, it is disabled",
            listed(&include),
            listed(&exclude)
        );
        draft.note("conditions.platforms", Effect::None, text);
    } else if !include.is_empty() || !exclude.is_empty() {
        let text =
            "holds for Linux and is left out; a gateway does not tell the platforms of its clients apart";
        draft.note("conditions.platforms", Effect::None, text);
    }
    here
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
