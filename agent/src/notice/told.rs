//! Who has read the notice of which app, and who has asked not to be shown any for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::session::Whom;

/// How long the notice of an app counts as read.
pub const SITTING: SignedDuration = SignedDuration::from_hours(12);
/// How long "hide" holds, for all apps.
pub const HIDDEN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Users and apps whose notice was read, at a time. A further one pushes out what ends first, and is shown again.
pub const MAX_READ: usize = 16_384;
/// Users who see no notices, at a time.
pub const MAX_HIDDEN: usize = 4096;

/// Held in memory; what was hidden outlives the agent as text.
#[derive(Debug, Default)]
pub struct Told {
    read: HashMap<(Whom, Arc<str>), Timestamp>,
    hidden: HashMap<Whom, Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    whom: Whom,
    until: Timestamp,
}

impl Told {
    /// With what [`to_text`](Self::to_text) gave. `None`: it is damaged.
    pub fn from_text(text: &str) -> Option<Self> {
        let hidden: Vec<Hidden> = serde_json::from_str(text).ok()?;
        let hidden = hidden.into_iter().take(MAX_HIDDEN).map(|Hidden { whom, until }| (whom, until));
        Some(Self { hidden: hidden.collect(), ..Self::default() })
    }

    /// Who sees no notices, until when.
    pub fn to_text(&self) -> String {
        let mut hidden: Vec<Hidden> =
            self.hidden.iter().map(|(whom, until)| Hidden { whom: *whom, until: *until }).collect();
        hidden.sort_by_key(|hidden| hidden.until);
        serde_json::to_string(&hidden).unwrap_or_else(|_| "[]".to_owned())
    }

    /// Whether the notice of an app is to be shown.
    pub fn is_due(&self, whom: Whom, app: &Arc<str>, now: Timestamp) -> bool {
        let holds = |until: Option<&Timestamp>| until.is_some_and(|until| now < *until);
        !holds(self.hidden.get(&whom)) && !holds(self.read.get(&(whom, app.clone())))
    }

    /// Somebody has read the notice of an app.
    pub fn read(&mut self, whom: Whom, app: &Arc<str>, now: Timestamp) {
        insert(&mut self.read, MAX_READ, (whom, app.clone()), now, SITTING);
    }

    /// Somebody does not want to see notices.
    pub fn hide(&mut self, whom: Whom, now: Timestamp) {
        insert(&mut self.hidden, MAX_HIDDEN, whom, now, HIDDEN);
    }
}

fn insert<K: Eq + Hash + Clone>(
    held: &mut HashMap<K, Timestamp>,
    most: usize,
    key: K,
    now: Timestamp,
    lasts: SignedDuration,
) {
    if held.len() >= most && !held.contains_key(&key) {
        held.retain(|_, until| now < *until);
        let first = held.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone());
        if let Some(first) = first.filter(|_| held.len() >= most) {
            held.remove(&first);
        }
    }
    held.insert(key, now.checked_add(lasts).unwrap_or(Timestamp::MAX));
}
