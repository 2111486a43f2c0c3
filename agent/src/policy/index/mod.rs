//! Finds the policies that matter for a session without asking each: sets of policies by what they include and exclude.
//!
//! The place of a policy is its number among those in force, so the order of places is the order of the files. Nothing is
//! allocated while a decision is made. Each condition leaves fewer words of the sets to look at in the next; at worst its
//! time grows by a few bits for each policy.

mod bits;
mod build;
mod locations;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::decision::Action;
use super::rule::RuleActivity;
use crate::classify::Classification;
use crate::session::{ClientKind, Device, Session, User};
use bits::{Bits, Live, Places, WORDS, Work, places};
use locations::Locations;

/// Names are those that the host's administrators gave, so nobody chooses keys to collide.
type Map<K, V> = HashMap<K, V, FixedState>;

/// The policies in force, by what they look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Where each stands in the whole set, by its place.
    in_force: Vec<usize>,
    apps: Map<Arc<str>, AppPolicies>,
    /// For an app that no policy names.
    other_apps: AppPolicies,
    users: Users,
    browser: Sides,
    native: Sides,
    devices: Devices,
    any_location: Sides,
    locations: Locations,
    enabled: Controls,
    report_only: Controls,
    /// Policies whose control is custom and has a rule about it, by activity.
    activities: [Bits; RuleActivity::CHOICES.len()],
}

#[derive(Debug, Clone, Default)]
struct AppPolicies {
    include: Bits,
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

/// Policies of one state by their control.
#[derive(Debug, Clone, Default)]
struct Controls {
    all: Bits,
    block_downloads: Bits,
    monitor_only: Bits,
    custom: Bits,
    /// Of the custom ones, those that can ask for no more than to allow, to monitor, to block.
    ceilings: [Bits; 3],
}

/// Policies that include something, and policies that exclude it.
#[derive(Debug, Clone, Default)]
struct Sides {
    include: Places,
    exclude: Places,
}

impl Users {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Sides> {
        let name = user.name.as_ref().filter(|_| !self.names.is_empty());
        let name = name.and_then(|name| self.names.get(name));
        let uid = user.uid.filter(|_| !self.uids.is_empty()).and_then(|uid| self.uids.get(&uid));
        let groups: &[Arc<str>] = if self.groups.is_empty() { &[] } else { &user.groups };
        let groups = groups.iter().filter_map(|group| self.groups.get(group));
        std::iter::once(&self.any).chain(name).chain(uid).chain(groups)
    }
}

impl Devices {
    fn of<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = &'a Sides> {
        let compliant = device.compliant.then_some(&self.compliant);
        let tags: &[Arc<str>] = if self.tags.is_empty() { &[] } else { &device.tags };
        let tags = tags.iter().filter_map(|tag| self.tags.get(tag));
        std::iter::once(&self.any).chain(compliant).chain(tags)
    }
}

/// What the index has for one session.
pub(super) struct Found<'i> {
    index: &'i Index,
    /// The words of the sets below that mean anything.
    live: Live,
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
        let live = app.include.live();
        let mut found = Found { index: self, live, included: [0; WORDS], excluded: [0; WORDS] };
        app.include.add_to(&mut found.included, live);
        app.exclude.add_to(&mut found.excluded, live);
        let mut work = [0; WORDS];
        let client = match session.kind {
            ClientKind::Browser => &self.browser,
            ClientKind::Native => &self.native,
        };
        found.narrow(&mut work, std::iter::once(client));
        found.narrow(&mut work, self.devices.of(device));
        found.narrow(&mut work, self.users.of(&session.user));
        if !found.live.is_empty() {
            let here = self.locations.at(session.location.0.to_canonical());
            found.narrow(&mut work, std::iter::once(&self.any_location).chain(here));
        }
        found
    }
}

impl<'i> Found<'i> {
    fn narrow<'s>(&mut self, work: &mut Work, sides: impl Iterator<Item = &'s Sides>) {
        self.live.clear(work);
        let mut all = false;
        for Sides { include, exclude } in sides {
            exclude.add_to(&mut self.excluded, self.live);
            match include {
                Places::All => all = true,
                some if !all => some.add_to(work, self.live),
                _ => {}
            }
        }
        if !all {
            self.live.intersect(&mut self.included, work);
        }
    }

    /// Places of the policies of a set that apply, in the order of the files.
    fn applying(&self, set: &'i Bits) -> impl Iterator<Item = usize> {
        places(set, self.live, |number| word(&self.included, number) & !word(&self.excluded, number))
    }

    /// The first enabled policy that applies.
    pub(super) fn first(&self) -> Option<usize> {
        self.applying(&self.index.enabled.all).next()
    }

    /// The first that blocks downloads.
    pub(super) fn block_downloads(&self) -> Option<usize> {
        self.applying(&self.index.enabled.block_downloads).next()
    }

    pub(super) fn monitor_only(&self) -> Option<usize> {
        self.applying(&self.index.enabled.monitor_only).next()
    }

    /// Custom ones of which the strictest rule, of whatever activity, asks for `ceiling`, and some rule is about what
    /// this is.
    pub(super) fn custom(&self, ceiling: Action, class: &Classification) -> impl Iterator<Item = usize> {
        let set = self.index.enabled.ceilings.get(ceiling as usize).unwrap_or(&self.index.enabled.custom);
        let about = self.about(class);
        places(set, self.live, move |number| {
            word(&self.included, number) & !word(&self.excluded, number) & about(number)
        })
    }

    /// Words of the set of custom policies with a rule about what this is.
    fn about(&self, class: &Classification) -> impl Fn(usize) -> u64 + use<'i> {
        let covering = RuleActivity::CHOICES.map(|(_, activity)| activity.covers(class));
        let activities = &self.index.activities;
        move |number| {
            let covering = activities.iter().zip(covering).filter(|(_, covers)| *covers);
            covering.fold(0, |word, (set, _)| word | set.word(number))
        }
    }

    /// Of the enabled policies that would apply but for an exclusion, the first.
    pub(super) fn first_excluded(&self) -> Option<usize> {
        let both = |number| word(&self.included, number) & word(&self.excluded, number);
        places(&self.index.enabled.all, self.live, both).next()
    }

    /// Report-only policies that apply and may have something to say of what this is.
    pub(super) fn reporting(&self, class: &Classification) -> impl Iterator<Item = usize> {
        let Controls { all, block_downloads, custom, .. } = &self.index.report_only;
        let (about, download) = (self.about(class), class.download);
        places(all, self.live, move |number| {
            let silent = if download { 0 } else { block_downloads.word(number) };
            let silent = silent | custom.word(number) & !about(number);
            word(&self.included, number) & !word(&self.excluded, number) & !silent
        })
    }

    /// Where the policy of a place stands in the whole set.
    pub(super) fn position(&self, place: usize) -> Option<usize> {
        self.index.in_force.get(place).copied()
    }
}

fn word(set: &Work, number: usize) -> u64 {
    set.get(number).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
