//! Finds the policies that matter for a session without asking each: sets of policies by what they include and exclude.
//!
//! The place of a policy is its number among those in force, so the order of places is the order of the files. Nothing is
//! allocated while a decision is made, and its time grows by a bit for each policy.

mod bits;
mod build;
mod locations;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::decision::Action;
use crate::session::{ClientKind, Device, Session, User};
use bits::{Places, WORDS, Work, places};
use locations::Locations;

/// Names are those that the host's administrators gave, so nobody chooses keys to collide.
type Map<K, V> = HashMap<K, V, FixedState>;

/// The policies in force, by what they look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Where each stands in the whole set, by its place.
    in_force: Vec<usize>,
    words: usize,
    apps: Map<Arc<str>, AppPolicies>,
    /// For an app that no policy names.
    other_apps: AppPolicies,
    users: Users,
    browser: Sides,
    native: Sides,
    devices: Devices,
    any_location: Sides,
    locations: Locations,
    kinds: Kinds,
    /// The strictest that each can ask for.
    ceilings: Vec<Action>,
}

#[derive(Debug, Clone, Default)]
struct AppPolicies {
    include: Box<[u64]>,
    exclude: Places,
    /// Whether one includes the app and does not exclude it.
    selected: bool,
}

#[derive(Debug, Clone, Default)]
struct Users {
    any: Sides,
    names: Map<Arc<str>, Sides>,
    uids: Map<u32, Sides>,
    groups: Map<Arc<str>, Sides>,
}

#[derive(Debug, Clone, Default)]
struct Devices {
    any: Sides,
    compliant: Sides,
    tags: Map<Arc<str>, Sides>,
}

/// Policies by state and control.
#[derive(Debug, Clone, Default)]
struct Kinds {
    enabled: Box<[u64]>,
    block_downloads: Box<[u64]>,
    monitor_only: Box<[u64]>,
    custom: Box<[u64]>,
}

/// Policies that include something, and policies that exclude it.
#[derive(Debug, Clone, Default)]
struct Sides {
    include: Places,
    exclude: Places,
}

impl Users {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Sides> {
        let name = user.name.as_ref().and_then(|name| self.names.get(name));
        let uid = user.uid.and_then(|uid| self.uids.get(&uid));
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        std::iter::once(&self.any).chain(name).chain(uid).chain(groups)
    }
}

impl Devices {
    fn of<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = &'a Sides> {
        let compliant = device.compliant.then_some(&self.compliant);
        let tags = device.tags.iter().filter_map(|tag| self.tags.get(tag));
        std::iter::once(&self.any).chain(compliant).chain(tags)
    }
}

/// What the index has for one session.
pub(super) struct Found<'i> {
    index: &'i Index,
    /// Policies of which every condition includes the session.
    included: Work,
    /// Policies of which some condition excludes it.
    excluded: Work,
}

impl Index {
    fn policies_of(&self, app: &str) -> &AppPolicies {
        self.apps.get(app).unwrap_or(&self.other_apps)
    }

    /// Whether a policy in force includes the app and does not exclude it.
    pub(super) fn selects(&self, app: &str) -> bool {
        self.policies_of(app).selected
    }

    pub(super) fn find(&self, session: &Session, device: &Device) -> Found<'_> {
        let app = self.policies_of(&session.app.id);
        let mut found = Found { index: self, included: [0; WORDS], excluded: [0; WORDS] };
        found.included.iter_mut().zip(&app.include).for_each(|(word, include)| *word = *include);
        app.exclude.add_to(&mut found.excluded);
        let client = match session.kind {
            ClientKind::Browser => &self.browser,
            ClientKind::Native => &self.native,
        };
        found.narrow(std::iter::once(client));
        found.narrow(self.devices.of(device));
        found.narrow(self.users.of(&session.user));
        let here = self.locations.at(session.location.0.to_canonical());
        found.narrow(std::iter::once(&self.any_location).chain(here));
        found
    }
}

/// Which policies of those found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    BlockDownloads,
    MonitorOnly,
    Custom,
    NotBlockDownloads,
    Any,
}

impl Found<'_> {
    fn narrow<'s>(&mut self, sides: impl Iterator<Item = &'s Sides>) {
        let mut included: Work = [0; WORDS];
        for Sides { include, exclude } in sides {
            include.add_to(&mut included);
            exclude.add_to(&mut self.excluded);
        }
        let words = self.included.iter_mut().zip(&included).take(self.index.words);
        words.for_each(|(word, included)| *word &= included);
    }

    /// Places of the enabled, or else the report-only, policies of a kind that apply, in the order of the files.
    pub(super) fn applying(&self, enabled: bool, kind: Kind) -> impl Iterator<Item = usize> {
        self.of(enabled, kind, false)
    }

    /// Of the enabled policies that would apply but for an exclusion, the first.
    pub(super) fn first_excluded(&self) -> Option<usize> {
        self.of(true, Kind::Any, true).next()
    }

    fn of(&self, enabled: bool, kind: Kind, excluded: bool) -> impl Iterator<Item = usize> {
        let kinds = &self.index.kinds;
        let of_kind = match kind {
            Kind::BlockDownloads => Some(&kinds.block_downloads),
            Kind::MonitorOnly => Some(&kinds.monitor_only),
            Kind::Custom => Some(&kinds.custom),
            Kind::NotBlockDownloads | Kind::Any => None,
        };
        places(self.index.words, move |number| {
            let word = |set: &[u64]| set.get(number).copied().unwrap_or_default();
            let state = if enabled { word(&kinds.enabled) } else { !word(&kinds.enabled) };
            let out = if excluded { word(&self.excluded) } else { !word(&self.excluded) };
            let of_kind = match kind {
                Kind::NotBlockDownloads => !word(&kinds.block_downloads),
                _ => of_kind.map_or(u64::MAX, |set| word(set)),
            };
            word(&self.included) & out & state & of_kind
        })
    }

    /// Where the policy of a place stands in the whole set.
    pub(super) fn position(&self, place: usize) -> Option<usize> {
        self.index.in_force.get(place).copied()
    }

    /// The strictest that the policy of a place can ask for.
    pub(super) fn ceiling(&self, place: usize) -> Action {
        self.index.ceilings.get(place).copied().unwrap_or(Action::Allow)
    }
}

#[cfg(test)]
mod tests;
