//! Conditions of a policy: whom, what, on which device and from where it covers. Exclusion beats inclusion.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::session::{ClientKind, Device, Session, User};

/// Named locations: name to networks, from `[networks]`.
pub type Networks = BTreeMap<Arc<str>, Arc<[IpNet]>>;

/// The conditions, in the order in which they are asked and explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    Users,
    Apps,
    ClientApps,
    Devices,
    Locations,
}

impl Condition {
    pub const ALL: [Condition; 5] =
        [Self::Users, Self::Apps, Self::ClientApps, Self::Devices, Self::Locations];

    /// The key in a policy's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Apps => "apps",
            Self::ClientApps => "client_apps",
            Self::Devices => "devices",
            Self::Locations => "locations",
        }
    }
}

/// How one condition came out. Text is what the policy says, for example `group:staff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match<'p> {
    /// The policy does not give this condition: everything matches.
    NotGiven,
    /// This inclusion matches, and no exclusion does.
    Included(&'p Arc<str>),
    /// This exclusion matches, so the policy does not apply. `by` names condition and exclusion for the record.
    Excluded { text: &'p Arc<str>, by: &'p Arc<str>, otherwise_included: bool },
    /// No inclusion matches.
    NotIncluded,
}

impl Match<'_> {
    pub fn matched(&self) -> bool {
        matches!(self, Self::NotGiven | Self::Included(_))
    }
}

/// One entry of an include or exclude list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector<R> {
    /// As written.
    pub text: Arc<str>,
    /// `users exclude "group:breakglass"`, made once so that a decision allocates nothing.
    by: Arc<str>,
    pub rule: R,
}

/// What a condition includes and excludes. Empty lists of a condition that is not given match everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope<R> {
    given: bool,
    include: Vec<Selector<R>>,
    exclude: Vec<Selector<R>>,
}

impl<R> Default for Scope<R> {
    fn default() -> Self {
        Self { given: false, include: Vec::new(), exclude: Vec::new() }
    }
}

impl<R> Scope<R> {
    pub(super) fn new(
        condition: Condition,
        include: Vec<(Arc<str>, R)>,
        exclude: Vec<(Arc<str>, R)>,
    ) -> Self {
        let selectors = |list: Vec<(Arc<str>, R)>, verb| {
            let selector = |(text, rule): (Arc<str>, R)| {
                let by = format!("{} {verb} \"{text}\"", condition.name()).into();
                Selector { text, by, rule }
            };
            list.into_iter().map(selector).collect()
        };
        Self { given: true, include: selectors(include, "include"), exclude: selectors(exclude, "exclude") }
    }

    /// Whether the policy gives this condition at all.
    pub fn is_given(&self) -> bool {
        self.given
    }

    pub fn include(&self) -> &[Selector<R>] {
        &self.include
    }

    pub fn exclude(&self) -> &[Selector<R>] {
        &self.exclude
    }

    /// Asks the exclusions first: they beat any inclusion.
    pub(super) fn judge(&self, matches: impl Fn(&R) -> bool) -> Match<'_> {
        if !self.given {
            return Match::NotGiven;
        }
        let included = self.include.iter().find(|selector| matches(&selector.rule));
        match (self.exclude.iter().find(|selector| matches(&selector.rule)), included) {
            (Some(out), included) => {
                Match::Excluded { text: &out.text, by: &out.by, otherwise_included: included.is_some() }
            }
            (None, Some(selector)) => Match::Included(&selector.text),
            (None, None) => Match::NotIncluded,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRule {
    All,
    Name(Arc<str>),
    Uid(u32),
    Group(Arc<str>),
}

impl UserRule {
    /// Names are compared exactly, as the host's user database does. An unknown user matches `all` alone.
    pub(super) fn matches(&self, user: &User) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => user.name.as_ref() == Some(name),
            Self::Uid(uid) => user.uid == Some(*uid),
            Self::Group(group) => user.groups.contains(group),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppRule {
    All,
    /// Ids of the app, or of the members of a suite as the catalog of this configuration has them.
    Ids(Box<[Arc<str>]>),
}

impl AppRule {
    pub(super) fn matches(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|known| **known == *id),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRule(pub ClientKind);

impl ClientRule {
    pub(super) fn matches(self, kind: ClientKind) -> bool {
        self.0 == kind
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceRule {
    All,
    Compliant,
    Tag(Arc<str>),
}

impl DeviceRule {
    pub(super) fn matches(&self, device: &Device) -> bool {
        match self {
            Self::All => true,
            Self::Compliant => device.compliant,
            Self::Tag(tag) => device.tags.contains(tag),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationRule {
    All,
    Network(Arc<[IpNet]>),
}

impl LocationRule {
    /// An IPv4-mapped IPv6 address is the IPv4 address it maps.
    pub(super) fn matches(&self, session: &Session) -> bool {
        let address = session.location.0.to_canonical();
        match self {
            Self::All => true,
            Self::Network(nets) => nets.iter().any(|net| net.contains(&address)),
        }
    }
}
