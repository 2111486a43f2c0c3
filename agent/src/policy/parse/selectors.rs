//! The words of include and exclude lists: users, apps, devices, locations.

use std::sync::Arc;

use super::{MatchesAll, References};
use crate::diagnostic::nearest;
use crate::document::{Fault, blank_ends};
use crate::policy::condition::{AppRule, DeviceRule, LocationRule, UserRule};

impl MatchesAll for UserRule {
    const ALL: Self = Self::All;
}

impl MatchesAll for AppRule {
    const ALL: Self = Self::All;
}

impl MatchesAll for DeviceRule {
    const ALL: Self = Self::All;
}

impl MatchesAll for LocationRule {
    const ALL: Self = Self::All;
}

/// `all`, `user:NAME`, `uid:N` or `group:NAME`.
pub(super) fn user(text: &str) -> Result<UserRule, Fault> {
    const FORMS: &str = "write `all`, `user:NAME`, `uid:N` or `group:NAME`";
    let unknown = || Fault::new(format!("unknown user selector \"{}\"", text.escape_debug()));
    match text.split_once(':') {
        Some(("user" | "group", name)) if !name.trim().is_empty() && name.trim() != name => {
            Err(blanks(text, name))
        }
        None if text == "all" => Ok(UserRule::All),
        None => Err(unknown().help(match nearest(text, ["all"]) {
            Some(all) => format!("did you mean `{all}`?"),
            None if text.is_empty() => FORMS.to_owned(),
            None => format!("did you mean `user:{text}` or `group:{text}`?"),
        })),
        Some((_, name)) if name.trim().is_empty() => Err(unknown().help(FORMS)),
        Some(("user", name)) => Ok(UserRule::Name(name.into())),
        Some(("group", name)) => Ok(UserRule::Group(name.into())),
        Some(("uid", number)) if number.bytes().all(|octet| octet.is_ascii_digit()) => {
            let too_large = |_| Fault::new(format!("a uid is at most {}", u32::MAX));
            number.parse().map(UserRule::Uid).map_err(too_large)
        }
        Some(("uid", number)) => {
            Err(Fault::new("a uid is a whole number").help(format!("did you mean `user:{}`?", number.trim())))
        }
        Some((prefix, rest)) => Err(unknown().help(match nearest(prefix, ["user", "uid", "group"]) {
            Some(near) => format!("did you mean `{near}:{rest}`?"),
            None => FORMS.to_owned(),
        })),
    }
}

/// A selector whose name begins or ends with a blank.
fn blanks(text: &str, name: &str) -> Fault {
    let (prefix, name) = (text.strip_suffix(name).unwrap_or_default(), name.trim());
    let fault = Fault::new("the name must not begin or end with a blank");
    fault.help(format!("did you mean `{prefix}{}`?", name.escape_debug()))
}

/// `all`, the id of an app, one of its aliases, or the id of a suite. A suite means its members as they are now.
pub(super) fn app(text: &str, known: &References<'_>) -> Result<AppRule, Fault> {
    if text == "all" {
        return Ok(AppRule::All);
    }
    let mut ids: Vec<Arc<str>> = known.catalog.app(text).map(|app| app.id.clone()).into_iter().collect();
    for member in known.catalog.suite(text) {
        if !ids.contains(&member.id) {
            ids.push(member.id.clone());
        }
    }
    if ids.is_empty() && known.apps_complete {
        let words = known.catalog.selectable().chain(["all"]).collect::<std::collections::BTreeSet<_>>();
        return Err(match nearest(text, words.iter().copied()) {
            Some(_) => Fault::unknown("app or suite", text, words.iter().copied()),
            None => {
                Fault::unknown("app or suite", text, []).help("files in apps.d add apps to the built-in ones")
            }
        });
    }
    Ok(AppRule::Ids(ids.into()))
}

/// `all`, `compliant` or `tag:NAME`.
pub(super) fn device(text: &str) -> Result<DeviceRule, Fault> {
    match text.split_once(':') {
        None if text == "all" => Ok(DeviceRule::All),
        None if text == "compliant" => Ok(DeviceRule::Compliant),
        Some(("tag", tag)) if !tag.is_empty() && blank_ends(tag).is_ok() => Ok(DeviceRule::Tag(tag.into())),
        Some(("tag", tag)) if !tag.trim().is_empty() => Err(blanks(text, tag)),
        _ => {
            let unknown = Fault::unknown("device selector", text, ["all", "compliant", "tag:NAME"]);
            Err(match text {
                "unmanaged" | "managed" | "noncompliant" | "non-compliant" | "not-compliant" => unknown
                    .help("devices that are not compliant: `include = [\"all\"], exclude = [\"compliant\"]`"),
                _ => unknown,
            })
        }
    }
}

/// `all` or the name of a network in portcullis.toml.
pub(super) fn location(text: &str, known: &References<'_>) -> Result<LocationRule, Fault> {
    if text == "all" {
        return Ok(LocationRule::All);
    }
    let Some(networks) = known.networks else { return Ok(LocationRule::Network([].into())) };
    match networks.get(text) {
        Some(nets) => Ok(LocationRule::Network(nets.clone())),
        None => {
            let fault = Fault::unknown("network", text, networks.keys().map(|name| &**name).chain(["all"]));
            let known_any = !networks.is_empty();
            Err(if known_any {
                fault
            } else {
                fault.help("no network is named yet in `[networks]` of portcullis.toml")
            })
        }
    }
}
