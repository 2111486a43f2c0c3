//! The text form of policies: `[[policy]]` in the files of `policies.d`.

mod selectors;
mod session;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::condition::{Condition, Networks, Scope};
use super::{ClientRule, MAX_POLICIES, Policy, State};
use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::document::{Fault, Table, Value, read};
use crate::session::ClientKind;

/// What policies may refer to.
pub(crate) struct References<'a> {
    pub(crate) catalog: &'a Catalog,
    /// Whether an app that is not in the catalog does not exist, rather than stands in a file that could not be read.
    pub(crate) apps_complete: bool,
    /// `None` when the file that names them could not be read.
    pub(crate) networks: Option<&'a Networks>,
}

const FILE_KEYS: &[&str] = &["policy"];
const POLICY_KEYS: &[&str] = &["name", "state", "users", "apps", "conditions", "session"];
const SCOPE_KEYS: &[&str] = &["include", "exclude"];
const CONDITION_KEYS: &[&str] = &["client_apps", "devices", "locations"];
const STATES: [(&str, State); 3] = [
    (State::Enabled.name(), State::Enabled),
    (State::ReportOnly.name(), State::ReportOnly),
    (State::Disabled.name(), State::Disabled),
];
const CLIENTS: [(&str, ClientKind); 2] = [("browser", ClientKind::Browser), ("native", ClientKind::Native)];
/// Longest policy name in characters: it is a metric label and stands in every record.
const MAX_NAME: usize = 200;

/// The names that are taken, each with its place.
type Names = HashMap<Arc<str>, (SourceFile, Range<usize>)>;

pub(super) fn read_policies(
    sources: &[SourceFile],
    known: &References<'_>,
) -> (Vec<Policy>, Vec<Diagnostic>) {
    let mut names = Names::new();
    let mut policies = Vec::new();
    let mut diagnostics = Vec::new();
    for source in sources {
        let file = read(source, FILE_KEYS, |root| {
            for table in root.tables("policy", POLICY_KEYS) {
                policies.extend(policy(&table, known, &mut names));
                if policies.len() > MAX_POLICIES {
                    table.complain(Fault::new(format!("there are more than {MAX_POLICIES} policies")));
                    break;
                }
            }
        });
        diagnostics.extend(file.diagnostics);
    }
    (policies, diagnostics)
}

/// Reads the whole policy before it gives up on it, so that every error in it is reported.
fn policy(table: &Table<'_>, known: &References<'_>, names: &mut Names) -> Option<Policy> {
    let name_value = table.require("name", "give the policy a name: records and commands refer to it");
    let name = name_value.as_ref().and_then(policy_name);
    let mut state = State::Enabled;
    table.set("state", &mut state, |value| value.choice(&STATES));

    let users = scope(&table.table("users", SCOPE_KEYS), Condition::Users, Include::AllIfLeftOut, |v| {
        v.parse(selectors::user)
    });
    let apps_table = table.table("apps", SCOPE_KEYS);
    let apps = scope(&apps_table, Condition::Apps, Include::Required, |v| {
        v.parse(|text| selectors::app(text, known))
    });
    let conditions = table.table("conditions", CONDITION_KEYS);
    let client_apps = conditions.get("client_apps").map(client_apps).unwrap_or_default();
    let devices =
        scope(&conditions.table("devices", SCOPE_KEYS), Condition::Devices, Include::AllIfLeftOut, |v| {
            v.parse(selectors::device)
        });
    let locations =
        scope(&conditions.table("locations", SCOPE_KEYS), Condition::Locations, Include::AllIfLeftOut, |v| {
            v.parse(|text| selectors::location(text, known))
        });
    let (control, message) = session::read_session(table);

    let name_value = name_value?;
    let name = unique(name?, &name_value, names)?;
    let line = table.report().line(name_value.span().start);
    let path = table.report().source().path.clone();
    Some(Policy { name, state, users, apps, client_apps, devices, locations, control, message, path, line })
}

fn policy_name(value: &Value<'_>) -> Option<Arc<str>> {
    let name = value.name()?;
    if name.chars().count() > MAX_NAME {
        value.complain(Fault::new(format!("a policy's name has at most {MAX_NAME} characters")));
        return None;
    }
    Some(name.into())
}

fn unique(name: Arc<str>, value: &Value<'_>, names: &mut Names) -> Option<Arc<str>> {
    match names.entry(name) {
        Entry::Vacant(free) => {
            let name = free.key().clone();
            free.insert((value.report().source().clone(), value.span()));
            Some(name)
        }
        Entry::Occupied(taken) => {
            let (source, span) = taken.get();
            let fault = Fault::new(format!("two policies are named \"{}\"", taken.key()))
                .help("records and commands refer to a policy by its name: give each its own");
            let diagnostic = value.diagnostic(fault).related(source, span.clone(), "the name is taken here");
            value.report().push(diagnostic);
            None
        }
    }
}

/// What it means that a scope has no `include`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Include {
    AllIfLeftOut,
    Required,
}

trait MatchesAll {
    const ALL: Self;
}

fn scope<R: MatchesAll>(
    table: &Table<'_>,
    condition: Condition,
    include: Include,
    parse: impl Fn(&Value<'_>) -> Option<R>,
) -> Scope<R> {
    if !table.is_present() && include == Include::AllIfLeftOut {
        return Scope::default();
    }
    let list = |value: Value<'_>| -> Vec<(Arc<str>, R)> {
        value.each_once(|item| parse(item).and_then(|rule| Some((Arc::from(item.text()?), rule))))
    };
    let included = match (table.get("include"), include) {
        (Some(value), _) => {
            let help = match include {
                Include::AllIfLeftOut => LEAVE_OUT,
                Include::Required => "write `include = [\"all\"]` to cover every app",
            };
            refuse_empty(&value, "nothing is included, so the policy would never apply", help);
            list(value)
        }
        (None, Include::AllIfLeftOut) => vec![(Arc::from("all"), R::ALL)],
        (None, Include::Required) => {
            table.require("include", "name the apps, or write `include = [\"all\"]`");
            Vec::new()
        }
    };
    Scope::new(condition, included, table.get("exclude").map(list).unwrap_or_default())
}

fn client_apps(value: Value<'_>) -> Scope<ClientRule> {
    refuse_empty(&value, "no client app is named, so the policy would never apply", LEAVE_OUT);
    let kinds = value.each_once(|item| Some((Arc::from(item.text()?), ClientRule(item.choice(&CLIENTS)?))));
    Scope::new(Condition::ClientApps, kinds, Vec::new())
}

/// What to do about an empty list of a key that may be left out.
const LEAVE_OUT: &str = "leave the key out to cover everything";

/// An empty list where one is given is a slip: what it would mean is never what was meant.
fn refuse_empty(value: &Value<'_>, message: &str, help: &str) {
    if value.is_empty_list() {
        value.complain(Fault::new(message).help(help));
    }
}
