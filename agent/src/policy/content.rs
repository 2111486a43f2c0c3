//! What a rule asks of the content of a body, and which bodies a policy set has to see for it.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::condition::AppRule;
use super::rule::{Control, Rule, RuleActivity};
use super::{Policy, decision::Action};
use crate::catalog::Catalog;
use crate::classify::Classification;
use crate::detect::DetectorSet;
use crate::detect::scan::Scan;

/// `content` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFilter {
    /// Never empty.
    pub detect: DetectorSet,
    /// Matches of these detectors together; at least 1.
    pub at_least: u64,
    pub unscanned: WhenUnscanned,
}

/// What content means that could not be looked at, or not to its end, when what was seen of it does not suffice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WhenUnscanned {
    /// It counts as if nothing were in the rest.
    #[default]
    Ignore,
    /// The rule matches.
    Match,
}

impl WhenUnscanned {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Match => "match",
        }
    }
}

impl ContentFilter {
    /// `None`: no body was looked at, and nothing is assumed of it.
    pub(super) fn matches(&self, scan: Option<&Scan>) -> bool {
        scan.is_some_and(|scan| {
            scan.counts.of_set(self.detect) >= self.at_least
                || self.unscanned == WhenUnscanned::Match && scan.unscanned.is_some()
        })
    }
}

/// Which bodies the policies that include an app decide by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bodies {
    /// Activities whose requests a rule asks the content of.
    request: Activities,
    /// Activities whose responses a rule asks the content of.
    response: Activities,
    /// A rule asks for the file names of uploads, or blocks them: forms say both in their bodies.
    forms: bool,
    /// A rule may block a request before the origin gets it.
    at_request: bool,
    /// A rule asks what files really are, which the first octets of responses tell.
    true_types: bool,
    /// A rule blocks something in pages, which has to be put into them.
    pages: bool,
}

impl Bodies {
    pub(super) fn of(policy: &Policy) -> Self {
        let Some(Control::Custom(rules)) = &policy.control else { return Self::default() };
        rules.iter().fold(Self::default(), |bodies, rule| bodies.or(Self::of_rule(rule)))
    }

    fn of_rule(rule: &Rule) -> Self {
        use RuleActivity::{Access, Copy, Cut, Download, Message, Paste, Print, SignIn, Upload, View};
        let named = Activities::of(&rule.activities);
        let sent = named.among(&[Upload, Message, SignIn, Access]);
        let names = !rule.files.names.is_empty() || !rule.files.extensions.is_empty();
        let received = named.among(&[Download, View, Print, Access]);
        let content = |activities| if rule.content.is_some() { activities } else { Activities::default() };
        Self {
            request: content(sent),
            response: content(received),
            forms: names && !named.among(&[Upload, Access]).is_empty()
                || rule.action == Action::Block && !named.among(&[Upload]).is_empty(),
            at_request: rule.action == Action::Block && !sent.is_empty(),
            true_types: !rule.files.types.is_empty(),
            pages: rule.action == Action::Block && !named.among(&[Copy, Cut, Paste, Print]).is_empty(),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            request: self.request.or(other.request),
            response: self.response.or(other.response),
            forms: self.forms || other.forms,
            at_request: self.at_request || other.at_request,
            true_types: self.true_types || other.true_types,
            pages: self.pages || other.pages,
        }
    }

    /// Whether the content of any body is looked at.
    pub fn any(self) -> bool {
        !self.request.is_empty() || !self.response.is_empty()
    }

    /// Whether requests are judged before they are sent on.
    pub fn at_request(self) -> bool {
        self.at_request || self.forms || !self.request.is_empty()
    }

    /// Whether the content of a request of this class is asked for.
    pub fn asks_request(self, class: &Classification) -> bool {
        self.request.cover(class)
    }

    /// Whether the content of a response of this class is asked for.
    pub fn asks_response(self, class: &Classification) -> bool {
        self.response.cover(class)
    }

    /// Whether more hangs on what a form carries than its record.
    pub const fn asks_forms(self) -> bool {
        self.forms
    }

    pub const fn asks_true_types(self) -> bool {
        self.true_types
    }

    /// Whether something may be blocked in pages.
    pub const fn restricts_pages(self) -> bool {
        self.pages
    }
}

/// What policies decide by, by the id of the app, and for an app that no policy names.
pub(super) fn bodies_by_app(
    policies: &[Policy],
    catalog: &Catalog,
) -> (HashMap<Arc<str>, Bodies, FixedState>, Bodies) {
    let asking = policies.iter().filter(|policy| policy.in_force());
    let asking = asking.map(|policy| (policy, Bodies::of(policy)));
    let asking: Vec<_> = asking.filter(|(_, bodies)| *bodies != Bodies::default()).collect();
    let covers = |policy: &Policy, id: &str| policy.apps.judge(|rule| rule.matches(id)).matched();
    let (general, naming): (Vec<_>, Vec<_>) = asking.into_iter().partition(|(policy, _)| {
        !policy.apps.is_given() || policy.apps.include().iter().any(|selector| selector.rule == AppRule::All)
    });
    let of_general = |id: &str| {
        let covering = general.iter().filter(|(policy, _)| covers(policy, id));
        covering.fold(Bodies::default(), |all, (_, bodies)| all.or(*bodies))
    };
    // No app has an empty id, so this is what `all` alone selects.
    let others = of_general("");
    let ids = catalog.apps().iter().map(|app| (app.id.clone(), of_general(&app.id)));
    let mut by_app: HashMap<_, _, FixedState> = ids.collect();
    for (policy, bodies) in naming {
        let rules = policy.apps.include().iter().map(|selector| &selector.rule);
        let ids = rules.filter_map(|rule| match rule {
            AppRule::Ids(ids) => Some(ids.iter()),
            AppRule::All => None,
        });
        for id in ids.flatten().filter(|id| covers(policy, id)) {
            let known = by_app.entry(id.clone()).or_insert_with(|| of_general(id));
            *known = known.or(bodies);
        }
    }
    (by_app, others)
}

/// Some of the activities that rules name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Activities(u16);

impl Activities {
    /// An empty list names all of them.
    fn of(named: &[RuleActivity]) -> Self {
        let named = if named.is_empty() { &[RuleActivity::Access] } else { named };
        Self(named.iter().fold(0, |set, activity| set | 1 << *activity as u8))
    }

    fn among(self, activities: &[RuleActivity]) -> Self {
        Self(self.0 & Self::of(activities).0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn cover(self, class: &Classification) -> bool {
        let named = |activity: RuleActivity| self.0 & 1 << activity as u8 != 0;
        RuleActivity::CHOICES.iter().any(|(_, activity)| named(*activity) && activity.covers(class))
    }
}
