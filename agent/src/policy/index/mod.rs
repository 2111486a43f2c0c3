//! Finds the policies that matter for a session without asking each: sets of policies by what they include and exclude.
//!
//! The place of a policy is its number among those in force, so the order of places is the order of the files. Nothing is
//! allocated while a decision is made. Each condition leaves fewer words of the sets to look at in the next, so the users
//! come first, who have few policies each; at worst its time grows by a few bits for each policy.

mod bits;
mod build;
mod controls;
mod locations;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::decision::Action;
use crate::classify::Classification;
use crate::session::{ClientKind, Device, Session, User};
use bits::{Bits, Live, Places, WORDS, Work, places};
pub(super) use controls::About;
use controls::{Controls, Set};
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
    controls: Controls,
    /// Words in which a policy stands.
    every: Live,
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

    /// Where the policy of a place stands in the whole set.
    pub(super) fn position(&self, place: usize) -> Option<usize> {
        self.in_force.get(place).copied()
    }

    /// The policies that include a session on a device.
    pub(super) fn find(&self, session: &Session, device: &Device) -> Found<'_> {
        let mut found = self.begin(session);
        if !found.live.is_empty() {
            found.narrow(&mut [0; WORDS], self.devices.of(device));
        }
        found
    }

    /// Places of the policies that include a session on some device, in the order of the files.
    pub(super) fn standing(&self, session: &Session) -> impl Iterator<Item = usize> {
        let found = self.begin(session);
        places(found.live, move |number| word(&found.included, number))
    }

    /// What all conditions leave but the devices'.
    fn begin(&self, session: &Session) -> Found<'_> {
        let mut found =
            Found { index: self, live: Live::default(), included: [0; WORDS], excluded: [0; WORDS] };
        found.start(self.users.of(&session.user));
        let app = self.policies_of(&session.app.id);
        found.live.intersect(&mut found.included, app.include.words());
        app.exclude.add_to(&mut found.excluded, found.live);
        let mut work = [0; WORDS];
        let client = match session.kind {
            ClientKind::Browser => &self.browser,
            ClientKind::Native => &self.native,
        };
        found.narrow(&mut work, std::iter::once(client));
        if !found.live.is_empty() {
            let here = self.locations.at(session.location.0.to_canonical());
            found.narrow(&mut work, std::iter::once(&self.any_location).chain(here));
        }
        found
    }
}

impl<'i> Found<'i> {
    /// What a first condition leaves.
    fn start<'s>(&mut self, sides: impl Iterator<Item = &'s Sides>) {
        let every = self.index.every;
        for Sides { include, exclude } in sides {
            let live = include.live(every);
            include.add_to(&mut self.included, live);
            self.live.or(live);
            exclude.add_to(&mut self.excluded, every);
        }
    }

    fn narrow<'s>(&mut self, work: &mut Work, sides: impl Iterator<Item = &'s Sides>) {
        let (mut all, mut cleared) = (false, false);
        for Sides { include, exclude } in sides {
            exclude.add_to(&mut self.excluded, self.live);
            all |= matches!(include, Places::All);
            if !all {
                if !std::mem::replace(&mut cleared, true) {
                    self.live.fill(work, 0);
                }
                include.add_to(work, self.live);
            }
        }
        if !all {
            self.live.intersect(&mut self.included, work);
        }
    }

    /// Places of the policies of a set that apply, in the order of the files.
    fn applying(&self, set: Set) -> impl Iterator<Item = usize> {
        let controls = &self.index.controls;
        places(self.live.and(controls.live(set)), move |number| {
            self.applies(number) & controls.word(number, set)
        })
    }

    fn applies(&self, number: usize) -> u64 {
        word(&self.included, number) & !word(&self.excluded, number)
    }

    /// The first enabled policy that applies.
    pub(super) fn first(&self) -> Option<usize> {
        self.applying(Set::Enabled).next()
    }

    /// The first that blocks downloads.
    pub(super) fn block_downloads(&self) -> Option<usize> {
        self.applying(Set::BlockDownloads).next()
    }

    pub(super) fn monitor_only(&self) -> Option<usize> {
        self.applying(Set::MonitorOnly).next()
    }

    /// Custom ones of which the strictest rule, of whatever activity, asks for `ceiling`, and some rule is about what
    /// this is.
    pub(super) fn custom(&self, ceiling: Action, about: About) -> impl Iterator<Item = usize> {
        let controls = &self.index.controls;
        let set = Set::ceiling(ceiling);
        places(self.live.and(controls.live(set)), move |number| {
            self.applies(number) & controls.word(number, set) & controls.about(number, about)
        })
    }

    /// Of the enabled policies that would apply but for an exclusion, the first.
    pub(super) fn first_excluded(&self) -> Option<usize> {
        let both = |number| word(&self.included, number) & word(&self.excluded, number);
        let controls = &self.index.controls;
        places(self.live, |number| both(number) & controls.word(number, Set::Enabled)).next()
    }

    /// Report-only policies that apply and may have something to say of what this is.
    pub(super) fn reporting(&self, class: &Classification, about: About) -> impl Iterator<Item = usize> {
        let (controls, download) = (&self.index.controls, class.download);
        let live = self.live.and(controls.live(Set::ReportOnly));
        places(live, move |number| {
            let word = |set| controls.word(number, set);
            let silent = if download { 0 } else { word(Set::ReportBlockDownloads) };
            let silent = silent | word(Set::ReportCustom) & !controls.about(number, about);
            self.applies(number) & word(Set::ReportOnly) & !silent
        })
    }

    /// Where the policy of a place stands in the whole set.
    pub(super) fn position(&self, place: usize) -> Option<usize> {
        self.index.position(place)
    }
}

fn word(set: &Work, number: usize) -> u64 {
    set.get(number).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
