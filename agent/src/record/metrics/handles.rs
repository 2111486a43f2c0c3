//! Handles of one app and one policy: label values fixed, series looked up at most once.

use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::classify::ActivityType;
use crate::http::head::Version;
use crate::policy::decision::Action;

pub(super) type Labels<const N: usize> = [(&'static str, Arc<str>); N];
pub(super) type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// Clones share their counters.
#[derive(Clone, Default)]
pub(super) struct Families {
    pub(super) connections: Counters<2>,
    pub(super) requests: Counters<2>,
    pub(super) activities: Counters<3>,
    pub(super) decisions: Counters<2>,
    pub(super) bytes: Counters<2>,
    pub(super) handshakes: Counters<2>,
    pub(super) upstream_failures: Counters<1>,
    pub(super) refusals: Counters<1>,
    pub(super) kernel_events: Counters<1>,
    pub(super) reloads: Counters<1>,
    pub(super) existing: Counters<2>,
    pub(super) kernel_tls: Counters<2>,
}

/// How a connection went through the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Inspected,
    Spliced,
    Bypassed,
    Refused,
}

impl Path {
    const ALL: [Self; 4] = [Self::Inspected, Self::Spliced, Self::Bypassed, Self::Refused];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Inspected => "inspected",
            Self::Spliced => "spliced",
            Self::Bypassed => "bypassed",
            Self::Refused => "refused",
        }
    }
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToOrigin,
    ToClient,
}

/// Which of the two TLS connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Origin,
}

impl Side {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Origin => "origin",
        }
    }
}

/// Counters that appear once they count something, or are told to: a cross product of labels would be mostly zeros.
struct Lazy<const N: usize> {
    family: Counters<N>,
    labels: Labels<N>,
    counter: OnceLock<Counter>,
}

impl<const N: usize> Lazy<N> {
    fn new(family: &Counters<N>, labels: Labels<N>) -> Self {
        Self { family: family.clone(), labels, counter: OnceLock::new() }
    }

    fn add(&self, n: u64) {
        self.counter.get_or_init(|| self.family.get_or_create_owned(&self.labels)).inc_by(n);
    }

    fn appear(&self) {
        self.add(0);
    }
}

/// The handles of one app.
pub struct AppMetrics {
    connections: [Lazy<2>; 4],
    requests: [Lazy<2>; 3],
    activities: [[Lazy<3>; 3]; ActivityType::ALL.len()],
    bytes: [Lazy<2>; 2],
}

impl AppMetrics {
    pub(super) fn new(families: &Families, app: &Arc<str>) -> Self {
        let app = || ("app", Arc::clone(app));
        let to = |name: &str| Arc::<str>::from(name);
        Self {
            connections: Path::ALL.map(|p| Lazy::new(&families.connections, [app(), ("path", to(p.name()))])),
            requests: ["http/1.0", "http/1.1", "h2"]
                .map(|p| Lazy::new(&families.requests, [app(), ("protocol", to(p))])),
            activities: ActivityType::ALL.map(|kind| {
                ACTIONS.map(|action| {
                    let labels = [app(), ("type", to(kind.name())), ("action", to(action.name()))];
                    Lazy::new(&families.activities, labels)
                })
            }),
            bytes: ["to_origin", "to_client"]
                .map(|d| Lazy::new(&families.bytes, [app(), ("direction", to(d))])),
        }
    }

    /// What every app in use comes to count is there from now on: the first increase of a series shows only behind a zero.
    /// The other activities appear with their first.
    pub(super) fn appear(&self) {
        self.connections.iter().chain(&self.requests).chain(&self.bytes).for_each(Lazy::appear);
        let kinds = ActivityType::ALL.iter().zip(&self.activities);
        kinds
            .filter(|(kind, _)| **kind == ActivityType::Download)
            .flat_map(|(_, actions)| actions)
            .for_each(Lazy::appear);
    }

    pub(in crate::record) fn connection(&self, path: Path) {
        let [inspected, spliced, bypassed, refused] = &self.connections;
        match path {
            Path::Inspected => inspected.add(1),
            Path::Spliced => spliced.add(1),
            Path::Bypassed => bypassed.add(1),
            Path::Refused => refused.add(1),
        }
    }

    pub(in crate::record) fn bytes(&self, direction: Direction, n: u64) {
        let [to_origin, to_client] = &self.bytes;
        match direction {
            Direction::ToOrigin => to_origin.add(n),
            Direction::ToClient => to_client.add(n),
        }
    }

    /// Counts one request by the protocol the client speaks.
    pub fn request(&self, version: Version) {
        let [http10, http11, http2] = &self.requests;
        match version {
            Version::Http10 => http10.add(1),
            Version::Http11 => http11.add(1),
            Version::Http2 => http2.add(1),
        }
    }

    pub(super) fn activity(&self, kind: ActivityType, action: Action) {
        let at = ActivityType::ALL.iter().position(|k| *k == kind);
        if let Some(actions) = at.and_then(|at| self.activities.get(at)) {
            by_action(actions, action).add(1);
        }
    }
}

const ACTIONS: [Action; 3] = [Action::Allow, Action::Monitor, Action::Block];

fn by_action<T>([allow, monitor, block]: &[T; 3], action: Action) -> &T {
    match action {
        Action::Allow => allow,
        Action::Monitor => monitor,
        Action::Block => block,
    }
}

/// The handles of one policy.
pub(super) struct PolicyMetrics([Lazy<2>; 3]);

impl PolicyMetrics {
    pub(super) fn new(families: &Families, policy: &Arc<str>) -> Self {
        Self(ACTIONS.map(|action| {
            Lazy::new(
                &families.decisions,
                [("policy", Arc::clone(policy)), ("action", Arc::from(action.name()))],
            )
        }))
    }

    pub(super) fn appear(&self) {
        self.0.iter().for_each(Lazy::appear);
    }

    pub(super) fn decision(&self, action: Action) {
        by_action(&self.0, action).add(1);
    }
}
