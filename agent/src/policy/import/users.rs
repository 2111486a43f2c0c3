//! `conditions.users`: object ids are unknown to a host, so each is written as a group or user of that name, which the
//! admin's list of names, or `[identity] groups`, gives a meaning.

use super::fields::Fields;
use super::{Draft, Effect, Host, Words, said};

/// The users of a policy; `None` when nobody who is covered can be named.
pub(super) fn read(fields: &Fields<'_>, host: &Host<'_>, draft: &mut Draft) -> Option<Words> {
    let include = list(fields, host, draft, Side::Include);
    let exclude = list(fields, host, draft, Side::Exclude);
    fields.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    let include = if include.iter().any(|word| word == "all") { vec!["all".to_owned()] } else { include };
    if include.is_empty() {
        draft.note("conditions.users", Effect::Unknown, "nobody who is included can be named here");
        return None;
    }
    Some(Words::new(include, exclude))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Include,
    Exclude,
}

impl Side {
    /// What it does to a policy that an entry of this side is missing.
    fn without(self) -> Effect {
        match self {
            Self::Include => Effect::CoversLess,
            Self::Exclude => Effect::CoversMore,
        }
    }

    fn field(self, what: &str) -> String {
        match self {
            Self::Include => format!("include{what}"),
            Self::Exclude => format!("exclude{what}"),
        }
    }
}

fn list(fields: &Fields<'_>, host: &Host<'_>, draft: &mut Draft, side: Side) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |word: String| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    for (what, prefix) in [("Users", "user"), ("Groups", "group"), ("Roles", "")] {
        let name = side.field(what);
        let field = fields.path_of(&name);
        let mut roles: Vec<String> = Vec::new();
        for id in fields.texts(&name).unwrap_or_default() {
            match (host.names.get(&id), id.to_ascii_lowercase().as_str()) {
                (Some(word), _) if is_selector(word) => add(word.clone()),
                (Some(word), _) => {
                    let text = format!(
                        "{id:?} is to be {word:?}, which names no user or group: write user:NAME or group:NAME"
                    );
                    draft.note(&field, side.without(), text);
                }
                (None, "all") => add("all".to_owned()),
                (None, "none") => {}
                (None, "") => draft.note(&field, side.without(), "an empty id names nobody"),
                (None, "guestsorexternalusers") => {
                    draft.note(&field, side.without(), "this host does not know who is a guest");
                }
                (None, _) if prefix.is_empty() => roles.push(id),
                (None, _) => {
                    // Written all the same: an entry that is seen can be given a meaning.
                    add(format!("{prefix}:{id}"));
                    let text = format!(
                        "{id:?} is an id of Entra: {prefix}:{id} covers nobody until the import is told the name on this host"
                    );
                    draft.note(&field, side.without(), text);
                }
            }
        }
        if !roles.is_empty() {
            let text = format!("directory roles are unknown to this host: {}", roles.join(", "));
            draft.note(&field, side.without(), text);
        }
    }
    let guests = side.field("GuestsOrExternalUsers");
    if let Some(value) = fields.get(&guests).filter(|value| super::is_said(value)) {
        let text = format!("this host does not know who is a guest: {}", said(value));
        draft.note(&fields.path_of(&guests), side.without(), text);
    }
    words
}

fn is_selector(word: &str) -> bool {
    match word.split_once(':') {
        None => word == "all",
        Some(("user" | "group", name)) => !name.is_empty(),
        Some(("uid", number)) => number.parse::<u32>().is_ok(),
        Some(_) => false,
    }
}
