//! Makes the index of a policy set.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use ipnet::IpNet;

use super::bits::{Bits, Places, WORDS, words};
use super::locations::{Locations, Named};
use super::{AppPolicies, Controls, Devices, Index, Map, Sides, Users};
use crate::policy::condition::{AppRule, DeviceRule, LocationRule, Scope, UserRule};
use crate::policy::decision::Action;
use crate::policy::{Control, Policy, Rule, RuleActivity, State};
use crate::session::ClientKind;

/// Which list of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Include,
    Exclude,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SidesBuilder {
    include: Vec<u32>,
    exclude: Vec<u32>,
}

impl SidesBuilder {
    fn push(&mut self, side: Side, place: u32) {
        match side {
            Side::Include => self.include.push(place),
            Side::Exclude => self.exclude.push(place),
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.include.extend(&other.include);
        self.exclude.extend(&other.exclude);
    }

    /// Of so many policies.
    pub(super) fn build(self, policies: usize) -> Sides {
        Sides { include: Places::new(self.include, policies), exclude: Places::new(self.exclude, policies) }
    }
}

/// Tells of every entry of a condition; `None` stands for "everything", said or not.
fn each<'p, R>(
    scopes: impl Iterator<Item = &'p Scope<R>>,
    is_all: impl Fn(&R) -> bool,
    mut tell: impl FnMut(Option<&'p R>, Side, u32),
) where
    R: 'p,
{
    for (scope, place) in scopes.zip(0..) {
        if !scope.is_given() {
            tell(None, Side::Include, place);
        }
        for (side, list) in [(Side::Include, scope.include()), (Side::Exclude, scope.exclude())] {
            for selector in list {
                tell((!is_all(&selector.rule)).then_some(&selector.rule), side, place);
            }
        }
    }
}

fn built<K: Eq + Hash>(by_word: Map<K, SidesBuilder>, policies: usize) -> Map<K, Sides> {
    by_word.into_iter().map(|(word, sides)| (word, sides.build(policies))).collect()
}

impl Index {
    pub(in crate::policy) fn new(policies: &[Policy]) -> Self {
        let in_force = policies.iter().enumerate().filter(|(_, policy)| policy.in_force());
        let (in_force, policies): (Vec<usize>, Vec<&Policy>) = in_force.unzip();
        let count = policies.len();
        let (apps, other_apps) = apps(&policies);
        let (any_location, locations) = locations(&policies);
        let (mut browser, mut native) = (SidesBuilder::default(), SidesBuilder::default());
        each(
            policies.iter().map(|policy| &policy.client_apps),
            |_| false,
            |rule, side, place| {
                if rule.is_none_or(|rule| rule.0 == ClientKind::Browser) {
                    browser.push(side, place);
                }
                if rule.is_none_or(|rule| rule.0 == ClientKind::Native) {
                    native.push(side, place);
                }
            },
        );
        let activities = RuleActivity::CHOICES.map(|(_, activity)| {
            let about = |rule: &Rule| rule.activities.is_empty() || rule.activities.contains(&activity);
            set(
                &policies,
                |policy| matches!(&policy.control, Some(Control::Custom(rules)) if rules.iter().any(about)),
            )
        });
        Self {
            apps,
            other_apps,
            users: users(&policies),
            browser: browser.build(count),
            native: native.build(count),
            devices: devices(&policies),
            any_location,
            locations,
            enabled: controls(&policies, State::Enabled),
            report_only: controls(&policies, State::ReportOnly),
            activities,
            in_force,
        }
    }
}

/// By app, and those that an app has which no policy names.
fn apps(policies: &[&Policy]) -> (Map<Arc<str>, AppPolicies>, AppPolicies) {
    let mut any = SidesBuilder::default();
    let mut by_id: Map<Arc<str>, SidesBuilder> = Map::default();
    let scopes = policies.iter().map(|policy| &policy.apps);
    each(
        scopes,
        |rule| matches!(rule, AppRule::All),
        |rule, side, place| match rule {
            Some(AppRule::Ids(ids)) => {
                for id in ids {
                    by_id.entry(id.clone()).or_default().push(side, place);
                }
            }
            Some(AppRule::All) | None => any.push(side, place),
        },
    );
    let build = |mut sides: SidesBuilder| {
        sides.extend(&any);
        let include = Bits::new(sides.include, words(policies.len()));
        let exclude = Places::new(sides.exclude, policies.len());
        let mut out = [0; WORDS];
        exclude.add_to(&mut out, include.live());
        let selected = out.iter().enumerate().any(|(number, out)| include.word(number) & !out != 0);
        AppPolicies { include, exclude, selected }
    };
    let apps = by_id.into_iter().map(|(id, sides)| (id, build(sides))).collect();
    (apps, build(SidesBuilder::default()))
}

fn users(policies: &[&Policy]) -> Users {
    let mut any = SidesBuilder::default();
    let (mut names, mut groups) =
        (Map::<Arc<str>, SidesBuilder>::default(), Map::<Arc<str>, SidesBuilder>::default());
    let mut uids = Map::<u32, SidesBuilder>::default();
    let scopes = policies.iter().map(|policy| &policy.users);
    each(
        scopes,
        |rule| matches!(rule, UserRule::All),
        |rule, side, place| {
            let sides = match rule {
                None | Some(UserRule::All) => &mut any,
                Some(UserRule::Name(name)) => names.entry(name.clone()).or_default(),
                Some(UserRule::Uid(uid)) => uids.entry(*uid).or_default(),
                Some(UserRule::Group(group)) => groups.entry(group.clone()).or_default(),
            };
            sides.push(side, place);
        },
    );
    let count = policies.len();
    Users {
        any: any.build(count),
        names: built(names, count),
        uids: built(uids, count),
        groups: built(groups, count),
    }
}

fn devices(policies: &[&Policy]) -> Devices {
    let (mut any, mut compliant) = (SidesBuilder::default(), SidesBuilder::default());
    let mut tags = Map::<Arc<str>, SidesBuilder>::default();
    let scopes = policies.iter().map(|policy| &policy.devices);
    each(
        scopes,
        |rule| matches!(rule, DeviceRule::All),
        |rule, side, place| {
            let sides = match rule {
                None | Some(DeviceRule::All) => &mut any,
                Some(DeviceRule::Compliant) => &mut compliant,
                Some(DeviceRule::Tag(tag)) => tags.entry(tag.clone()).or_default(),
            };
            sides.push(side, place);
        },
    );
    let count = policies.len();
    Devices { any: any.build(count), compliant: compliant.build(count), tags: built(tags, count) }
}

fn locations(policies: &[&Policy]) -> (Sides, Locations) {
    let mut any = SidesBuilder::default();
    let mut named: BTreeMap<&[IpNet], SidesBuilder> = BTreeMap::new();
    let scopes = policies.iter().map(|policy| &policy.locations);
    each(
        scopes,
        |rule| matches!(rule, LocationRule::All),
        |rule, side, place| match rule {
            Some(LocationRule::Network(nets)) => {
                named.entry(&**nets).or_default().push(side, place);
            }
            Some(LocationRule::All) | None => any.push(side, place),
        },
    );
    let named: Vec<Named<'_>> = named.into_iter().collect();
    (any.build(policies.len()), Locations::new(named, policies.len()))
}

fn controls(policies: &[&Policy], state: State) -> Controls {
    let those = |wanted: &dyn Fn(&Control) -> bool| {
        set(policies, |policy| policy.state == state && policy.control.as_ref().is_some_and(wanted))
    };
    let custom = |control: &Control| matches!(control, Control::Custom(_));
    let ceilings = [Action::Allow, Action::Monitor, Action::Block];
    Controls {
        all: those(&|_| true),
        block_downloads: those(&|control| matches!(control, Control::BlockDownloads)),
        monitor_only: those(&|control| matches!(control, Control::MonitorOnly)),
        custom: those(&custom),
        ceilings: ceilings.map(|ceiling| those(&|control| custom(control) && control.ceiling() == ceiling)),
    }
}

fn set(policies: &[&Policy], wanted: impl Fn(&Policy) -> bool) -> Bits {
    let found = policies.iter().zip(0..).filter(|(policy, _)| wanted(policy));
    Bits::new(found.map(|(_, place)| place), words(policies.len()))
}
