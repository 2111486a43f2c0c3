//! `conditions.users`: object ids are unknown to a host, so each is written as a group or user of that name, which the
//! admin's list of names, or `[identity] groups`, gives a meaning.

use super::fields::Fields;
use super::{Draft, Effect, Host, Words, said};

/// What guests stand under: as other words of an export, with a meaning once the admin gives them one.
const GUESTS: &str = "GuestsOrExternalUsers";

/// The users of a policy. Without inclusions, which only `"None"` or what names nobody leave, the exclusions stay.
pub(super) fn read(fields: &Fields<'_>, host: &Host<'_>, draft: &mut Draft) -> Words {
    let before = draft.notes.len();
    let include = list(fields, host, draft, Side::Include);
    let left_out = draft.notes.len() > before;
    let exclude = list(fields, host, draft, Side::Exclude);
    fields.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    let include = if include.iter().any(|word| word == "all") { vec!["all".to_owned()] } else { include };
    if include.is_empty() {
        let nobody = fields
            .texts("includeUsers")
            .is_some_and(|ids| ids.iter().any(|id| id.eq_ignore_ascii_case("none")));
        match nobody && !left_out {
            true => draft.note("conditions.users", Effect::None, "includes nobody: it is disabled"),
            false => {
                draft.note("conditions.users", Effect::Unknown, "nobody who is included can be named here");
            }
        }
    }
    Words::new(include, exclude)
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
    for (what, prefix) in [("Users", "user"), ("Groups", "group"), ("Roles", "group")] {
        let name = side.field(what);
        let field = fields.path_of(&name);
        for id in fields.texts(&name).unwrap_or_default() {
            let id = id.trim();
            match (host.names.get(id), id.to_ascii_lowercase().as_str()) {
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
                    add(format!("group:{GUESTS}"));
                    draft.note(&field, side.without(), unknown_guests(""));
                }
                (None, _) => {
                    // Written all the same: an entry that is seen can be given a meaning.
                    add(format!("{prefix}:{id}"));
                    let kind = if what == "Roles" { "a directory role" } else { "an id" };
                    let text = format!(
                        "{id:?} is {kind} of Entra: {prefix}:{id} covers nobody until the import is told the name on this host"
                    );
                    draft.note(&field, side.without(), text);
                }
            }
        }
    }
    let guests = side.field(GUESTS);
    if let Some(value) = fields.get(&guests).filter(|value| super::is_said(value)) {
        let field = fields.path_of(&guests);
        let said = said(value);
        match host.names.get(GUESTS).filter(|word| is_selector(word)) {
            Some(word) => {
                draft.note(&field, Effect::None, format!("is {word} here: {said}"));
                add(word.clone());
            }
            None => {
                draft.note(&field, side.without(), unknown_guests(&format!(": {said}")));
                add(format!("group:{GUESTS}"));
            }
        }
    }
    words
}

fn unknown_guests(said: &str) -> String {
    format!(
        "this host does not know who is a guest: group:{GUESTS} covers nobody until the import is told the name on this \
         host{said}"
    )
}

fn is_selector(word: &str) -> bool {
    match word.split_once(':') {
        None => word == "all",
        Some(("user" | "group", name)) => !name.is_empty() && name.trim() == name,
        Some(("uid", number)) => {
            number.bytes().all(|octet| octet.is_ascii_digit()) && number.parse::<u32>().is_ok()
        }
        Some(_) => false,
    }
}
