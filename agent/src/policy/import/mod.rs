//! Microsoft Graph `conditionalAccessPolicy` exports as policies of this host. What has no counterpart is named, and a
//! policy that would cover more or less than the original is not enforced.

mod conditions;
mod control;
mod device_filter;
mod fields;
mod json;
mod known;
mod text;
mod users;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::write::{Words, Written};
use super::{MAX_POLICIES, State};
use fields::{Fields, is_said};

pub use text::decode;

/// What the words of an export stand for on this host, as the admin says: object ids, app ids, names of locations, terms
/// of device filters; to a selector of a policy.
pub type Names = BTreeMap<String, String>;

/// What an import may refer to: the words that this host's apps and networks have.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    pub names: &'a Names,
    pub is_app: &'a dyn Fn(&str) -> bool,
    pub is_network: &'a dyn Fn(&str) -> bool,
}

/// What leaving a field out does to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: said so that nobody looks for it.
    None,
    /// The policy covers more than the original: stricter.
    CoversMore,
    /// It covers less: laxer.
    CoversLess,
    /// It cannot be said which, or the policy does not make sense without it.
    Unknown,
}

impl Effect {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CoversMore => "covers-more",
            Self::CoversLess => "covers-less",
            Self::Unknown => "unknown",
        }
    }
}

/// One field of the export that is not carried over as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Dotted, as in the export.
    pub field: String,
    pub effect: Effect,
    pub text: String,
}

/// One policy of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    pub policy: Written,
    /// As the export says it.
    pub original_state: String,
    pub id: Option<String>,
    pub notes: Vec<Note>,
}

/// What is read of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub policies: Vec<Imported>,
    /// The answer of the Graph API says that there are more policies than it has.
    pub goes_on: bool,
}

/// Why an export cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("cannot be read as JSON: {0}")]
    NoJson(String),
    #[error("{0}: no conditionalAccessPolicy: it has no `conditions`")]
    NoPolicy(String),
    #[error(
        "there is no conditionalAccessPolicy in it: neither one, nor an array, nor an object with `value`"
    )]
    Nothing,
    #[error("more than {MAX_POLICIES} policies")]
    TooMany,
}

/// Reads one policy, an array of them, or an answer of the Graph API with `value`.
///
/// # Errors
/// The text is something else.
pub fn import(text: &str, host: &Host<'_>) -> Result<Export, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let value = json::read(text).map_err(ImportError::NoJson)?;
    let next = value.as_object().and_then(|object| fields::member(object, "@odata.nextLink"));
    let goes_on = next.is_some_and(is_said);
    let items: Vec<(String, &Value)> = match &value {
        Value::Array(items) => numbered("", items),
        Value::Object(object) => match fields::member(object, "value") {
            Some(Value::Array(items)) => numbered("value", items),
            _ => vec![("the file".to_owned(), &value)],
        },
        _ => return Err(ImportError::Nothing),
    };
    if items.len() > MAX_POLICIES {
        return Err(ImportError::TooMany);
    }
    let mut taken = HashMap::new();
    let mut imported = Vec::with_capacity(items.len());
    for (place, item) in items {
        match item {
            Value::Object(object) if fields::member(object, "conditions").is_some() => {
                imported.push(policy(object, host, &mut taken));
            }
            _ => return Err(ImportError::NoPolicy(place)),
        }
    }
    Ok(Export { policies: imported, goes_on })
}

fn numbered<'v>(before: &str, items: &'v [Value]) -> Vec<(String, &'v Value)> {
    items.iter().enumerate().map(|(index, item)| (format!("{before}[{index}]"), item)).collect()
}

/// Collects what is said of one policy.
#[derive(Default)]
struct Draft {
    notes: Vec<Note>,
}

impl Draft {
    fn note(&mut self, field: &str, effect: Effect, text: impl Into<String>) {
        self.notes.push(Note { field: field.to_owned(), effect, text: text.into() });
    }
}

fn policy(object: &Map<String, Value>, host: &Host<'_>, taken: &mut HashMap<String, usize>) -> Imported {
    let mut draft = Draft::default();
    let top = Fields::new(object, "");
    // What says when and from what template the policy was made has no part in what it does.
    for inert in ["id", "createdDateTime", "modifiedDateTime", "deletedDateTime", "templateId", "description"]
    {
        top.get(inert);
    }
    let id = top.text("id");
    let name = name(top.text("displayName"), &mut draft, taken);
    let original_state = top.text("state").unwrap_or_default();
    let state = match original_state.to_ascii_lowercase().as_str() {
        "enabled" => State::Enabled,
        "enabledforreportingbutnotenforced" => State::ReportOnly,
        "disabled" => State::Disabled,
        _ => {
            draft.note("state", Effect::Unknown, format!("unknown state {original_state:?}"));
            State::Disabled
        }
    };
    let mut policy = Written::new(&name, state);
    let session = top.object("sessionControls").unwrap_or_default();
    let session = Fields::new(&session, "sessionControls");
    let control = control::read(&session, &mut draft);
    policy.session = control.unwrap_or_default();
    session.rest(|field, value| {
        draft.note(
            field,
            Effect::None,
            format!("stays with Entra, this host does nothing of it: {}", said(value)),
        );
    });
    if let Some(grant) = top.get("grantControls").filter(|value| is_said(value)) {
        let text = format!("stays with Entra, which grants or blocks the sign-in: {}", said(grant));
        draft.note("grantControls", Effect::None, text);
    }
    let conditions = top.object("conditions").unwrap_or_default();
    let covers = conditions::read(&Fields::new(&conditions, "conditions"), host, &mut policy, &mut draft);
    top.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    let mut imported = Imported { policy, original_state, id, notes: draft.notes };
    imported.settle(covers);
    imported
}

/// A name that no other policy of the export has, and that a policy may have.
fn name(given: Option<String>, draft: &mut Draft, taken: &mut HashMap<String, usize>) -> String {
    /// As long as a policy's name may be, less room for a number.
    const LONGEST: usize = 190;
    let given = given.unwrap_or_default();
    let plain: String = given.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let short: String = plain.trim().chars().take(LONGEST).collect();
    let mut name = short.trim().to_owned();
    if name.is_empty() {
        name = "Imported policy".to_owned();
    }
    // How often a name came so far; a numbered one may itself be taken.
    let base = name.clone();
    while let Some(count) = taken.get(&name).copied() {
        taken.insert(base.clone(), taken.get(&base).copied().unwrap_or_default().max(count) + 1);
        name = format!("{base} ({})", taken.get(&base).copied().unwrap_or_default());
    }
    taken.insert(name.clone(), 1);
    if name != given {
        draft.note("displayName", Effect::None, format!("is {given:?}, which no policy here can be named"));
    }
    name
}

/// Whether there is anything that a policy covers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covers {
    Something,
    /// The original covers nothing of this host, or nothing of what it covers can be named here.
    Nothing,
}

impl Imported {
    /// The state that the differences leave: nothing is enforced that the original would not have enforced just so.
    fn settle(&mut self, covers: Covers) {
        let exact = self.is_exact();
        if covers == Covers::Nothing {
            self.policy.state = State::Disabled.name().to_owned();
        } else if !exact && self.policy.state == State::Enabled.name() {
            self.policy.state = State::ReportOnly.name().to_owned();
        }
        let Written { users, apps, conditions, .. } = &mut self.policy;
        let (devices, locations) = (conditions.devices.as_mut(), conditions.locations.as_mut());
        for words in [users.as_mut(), Some(apps), devices, locations].into_iter().flatten() {
            fill(words);
        }
    }

    /// Whether it covers exactly what the original covers.
    pub fn is_exact(&self) -> bool {
        self.notes.iter().all(|note| note.effect == Effect::None)
    }

    /// The policy with what is to be known about it as comments before it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            // A line break in what the export says must not end the comment.
            let _ = writeln!(text, "# {}", line.replace(char::is_control, " "));
        };
        let id = self.id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
        line(&format!("Imported from conditionalAccessPolicy{id}, which is {:?}.", self.original_state));
        for (heading, exact) in [("Covered otherwise than by the original:", false), ("To be known:", true)] {
            let notes = || self.notes.iter().filter(|note| (note.effect == Effect::None) == exact);
            if notes().next().is_some() {
                line(heading);
                notes().for_each(|note| {
                    line(&format!("- {}: {}{}", note.field, note.text, note.effect.words()))
                });
            }
        }
        if !self.is_exact() {
            line("It is not enforced while that is so; settle it, and write `state = \"enabled\"`.");
        }
        for line in self.policy.to_toml().lines() {
            if let Some(remark) = self.remark(line.split(" = ").next().unwrap_or_default()) {
                let _ = writeln!(text, "# {remark}");
            }
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// What is said at a key, so that nobody who writes `state = "enabled"` overlooks it.
    fn remark(&self, key: &str) -> Option<&'static str> {
        let conditions = &self.policy.conditions;
        let (words, fields): (Option<&Words>, &[&str]) = match key {
            "users" => (self.policy.users.as_ref(), &["conditions.users"]),
            "apps" => (Some(&self.policy.apps), &["conditions.applications"]),
            "client_apps" => (None, &["conditions.clientAppTypes"]),
            "devices" => (conditions.devices.as_ref(), &["conditions.devices", "conditions.deviceStates"]),
            "locations" => (conditions.locations.as_ref(), &["conditions.locations"]),
            "control" => (None, &["sessionControls.cloudAppSecurity"]),
            _ => return None,
        };
        let of_key = |field: &str| fields.iter().any(|start| field.starts_with(start));
        if words.is_some_and(Words::cover_nothing) {
            return Some("covers nothing: it excludes all. Write what is meant in its place:");
        }
        let otherwise = self.notes.iter().any(|note| note.effect != Effect::None && of_key(&note.field));
        otherwise.then_some("not as in the original, see above:")
    }
}

impl Words {
    /// What covers nothing, in lists that may not be empty: an exclusion beats any inclusion, so this is safe whatever
    /// the state becomes.
    fn nothing(mut exclude: Vec<String>) -> Self {
        exclude.insert(0, "all".to_owned());
        Self::new(vec!["all".to_owned()], exclude)
    }

    fn cover_nothing(&self) -> bool {
        self.exclude.iter().any(|word| word == "all")
    }
}

impl Effect {
    fn words(self) -> &'static str {
        match self {
            Self::None | Self::Unknown => "",
            Self::CoversMore => " [without it the policy covers more]",
            Self::CoversLess => " [without it the policy covers less]",
        }
    }
}

/// An empty include list is refused, and so is a word that stands twice.
fn fill(words: &mut Words) {
    if words.include.is_empty() {
        *words = Words::nothing(std::mem::take(&mut words.exclude));
    }
    for list in [&mut words.include, &mut words.exclude] {
        let mut seen = HashSet::new();
        list.retain(|word| seen.insert(word.clone()));
    }
}

/// A value of the export in few words.
fn said(value: &Value) -> String {
    const LONGEST: usize = 300;
    let text = fields::without_annotations(value).to_string();
    let mut short: String = text.chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
