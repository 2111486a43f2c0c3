//! What an address asks for: the filters of the log in the form's words, and the addresses that links lead to.

use form_urlencoded::Serializer;
use jiff::Timestamp;
use uuid::Uuid;

use crate::classify::ActivityType;
use crate::policy::decision::Action;
use crate::record::query::{Filter, Position, moment, network};

/// Most characters of one value; longer ones are cut.
const VALUE_MAX: usize = 512;
/// Records of one page.
pub(super) const PAGE: usize = 50;

/// The fields of the form, by name, in its order.
pub(super) const FIELDS: [&str; 10] =
    ["user", "app", "type", "action", "ip", "device", "policy", "file", "since", "until"];
/// The actions, as the form offers them.
pub(super) const ACTIONS: [Action; 3] = [Action::Block, Action::Monitor, Action::Allow];
const BEFORE: &str = "before";
const ID: &str = "id";

/// The values of an address, as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// One of each field.
    values: [String; FIELDS.len()],
    pub(super) before: Option<Position>,
    /// The record whose details are shown.
    pub(super) id: Option<Uuid>,
}

/// A value that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: &'static str,
    pub(super) why: String,
}

impl Asked {
    /// Reads the part behind `?`. What is not known is left out.
    pub(super) fn read(query: &str) -> Self {
        let mut asked = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            let value = value.get(..value.floor_char_boundary(VALUE_MAX)).unwrap_or_default();
            if let Some(at) = FIELDS.iter().position(|field| *field == key) {
                if let Some(slot) = asked.values.get_mut(at) {
                    value.clone_into(slot);
                }
            } else if key == BEFORE {
                asked.before = position(value);
            } else if key == ID {
                asked.id = value.parse().ok();
            }
        }
        asked
    }

    /// A query that asks for one value of one field.
    pub(super) fn only(field: &str, value: &str) -> Self {
        let mut asked = Self::default();
        if let Some(at) = FIELDS.iter().position(|known| *known == field)
            && let Some(slot) = asked.values.get_mut(at)
        {
            value.clone_into(slot);
        }
        asked
    }

    pub(super) fn value(&self, field: &str) -> &str {
        let at = FIELDS.iter().position(|known| *known == field);
        at.and_then(|at| self.values.get(at)).map_or("", String::as_str)
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.values.iter().any(|value| !value.is_empty())
    }

    /// The filter, as far as the values are right, and what is wrong with the others.
    pub(super) fn filter(&self) -> (Filter, Vec<Wrong>) {
        let mut wrong = Vec::new();
        let text = |field| Some(self.value(field).to_owned()).filter(|value| !value.is_empty());
        let mut complain = |field, why: String| wrong.push(Wrong { field, why });
        let kind = text("type").and_then(|name| {
            let kind = ActivityType::from_name(&name);
            if kind.is_none() {
                complain("type", format!("no type of activity is called \"{name}\""));
            }
            kind
        });
        let action = text("action").and_then(|name| {
            let action = ACTIONS.into_iter().find(|action| action.name() == name);
            if action.is_none() {
                complain("action", format!("\"{name}\" is none of allow, monitor, block"));
            }
            action
        });
        let network =
            text("ip").and_then(|address| network(&address).map_err(|why| complain("ip", why)).ok());
        let mut time = |field| -> Option<Timestamp> {
            text(field).and_then(|given| moment::parse(&given).map_err(|why| complain(field, why)).ok())
        };
        let (since, until) = (time("since"), time("until"));
        let filter = Filter {
            user: text("user"),
            app: text("app"),
            kind,
            action,
            network,
            device: text("device"),
            since,
            until,
            policy: text("policy"),
            file: text("file"),
            limit: Some(PAGE),
        };
        (filter, wrong)
    }

    /// The same listing from its beginning, without details.
    pub(super) fn first_page(&self) -> String {
        Self { before: None, id: None, ..self.clone() }.address()
    }

    /// The same page without details.
    pub(super) fn without_details(&self) -> String {
        Self { id: None, ..self.clone() }.address()
    }

    pub(super) fn with_details(&self, id: Uuid) -> String {
        Self { id: Some(id), ..self.clone() }.address()
    }

    pub(super) fn page(&self, before: Position) -> String {
        Self { before: Some(before), id: None, ..self.clone() }.address()
    }

    /// The address within the console.
    pub(super) fn address(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (field, value) in FIELDS.iter().zip(&self.values).filter(|(_, value)| !value.is_empty()) {
            query.append_pair(field, value);
        }
        if let Some(Position { time, seq }) = self.before {
            query.append_pair(BEFORE, &format!("{time}.{seq}"));
        }
        if let Some(id) = self.id {
            query.append_pair(ID, &id.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/activity".to_owned(),
            query => format!("/activity?{query}"),
        }
    }
}

fn position(text: &str) -> Option<Position> {
    let (time, seq) = text.split_once('.')?;
    Some(Position { time: time.parse().ok()?, seq: seq.parse().ok()? })
}

/// The value of one key, decoded.
pub(super) fn value_of(query: &str, wanted: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == wanted)
        .map(|(_, value)| value.into_owned())
}

/// An address with one value.
pub(super) fn with_value(path: &str, key: &str, value: &str) -> String {
    format!("{path}?{}", Serializer::new(String::new()).append_pair(key, value).finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_filter() {
        let asked = Asked::read(
            "user=ada&app=office365&type=download&action=block&ip=10.0.0.0/8&since=2026-03-04T05:06:07Z",
        );
        let (filter, wrong) = asked.filter();
        assert_eq!(wrong, []);
        assert_eq!((filter.user.as_deref(), filter.app.as_deref()), (Some("ada"), Some("office365")));
        assert_eq!((filter.kind, filter.action), (Some(ActivityType::Download), Some(Action::Block)));
        assert_eq!(filter.network.map(|network| network.to_string()).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(filter.since.map(|time| time.to_string()).as_deref(), Some("2026-03-04T05:06:07Z"));
        assert_eq!((filter.until, filter.policy, filter.limit), (None, None, Some(PAGE)));
        assert!(asked.is_filtered() && !Asked::read("user=&nonsense=1&before=x&id=y").is_filtered());
    }

    #[test]
    fn what_cannot_be_used_is_said_and_filters_nothing() {
        let (filter, wrong) =
            Asked::read("type=steal&action=destroy&ip=300.1&since=soon&until=never&user=a").filter();
        assert_eq!(
            wrong.iter().map(|wrong| wrong.field).collect::<Vec<_>>(),
            ["type", "action", "ip", "since", "until"]
        );
        assert_eq!(filter, Filter { user: Some("a".into()), limit: Some(PAGE), ..Filter::default() });
    }

    proptest! {
        #[test]
        fn an_address_reads_back_as_what_it_was_made_of(
            values in prop::collection::vec("[^ ]{0,20}", FIELDS.len()),
            before in prop::option::of((any::<i64>(), any::<i64>())),
            id in prop::option::of(any::<u128>()),
        ) {
            let mut asked = Asked {
                before: before.map(|(time, seq)| Position { time, seq }),
                id: id.map(Uuid::from_u128),
                ..Asked::default()
            };
            for (slot, value) in asked.values.iter_mut().zip(values) {
                *slot = value.trim().to_owned();
            }
            let address = asked.address();
            prop_assert!(address.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\".contains(&b)), "{}", address);
            prop_assert_eq!(Asked::read(address.split_once('?').map_or("", |(_, query)| query)), asked);
        }
    }
}
