//! What a rule asks of the content of a body, and which bodies a policy set has to see for it.

use super::rule::{Control, Rule, RuleActivity};
use super::{Policy, decision::Action};
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
    /// Requests whose content a rule asks for.
    pub request: bool,
    /// Uploads whose file names, which stand in their bodies, a rule asks for.
    pub upload_names: bool,
    /// Responses whose content a rule asks for.
    pub response: bool,
}

impl Bodies {
    pub(super) fn of(policy: &Policy) -> Self {
        let Some(Control::Custom(rules)) = &policy.control else { return Self::default() };
        rules.iter().fold(Self::default(), |bodies, rule| bodies.or(Self::of_rule(rule)))
    }

    fn of_rule(rule: &Rule) -> Self {
        use RuleActivity::{Access, Download, Message, Print, SignIn, Upload, View};
        let about = |activities: &[RuleActivity]| {
            rule.activities.is_empty() || rule.activities.iter().any(|activity| activities.contains(activity))
        };
        let content = rule.content.is_some();
        let names = !rule.files.names.is_empty() || !rule.files.extensions.is_empty();
        Self {
            request: content && about(&[Upload, Message, SignIn, Access]),
            upload_names: names && rule.action > Action::Allow && about(&[Upload, Access]),
            response: content && about(&[Download, View, Print, Access]),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            request: self.request || other.request,
            upload_names: self.upload_names || other.upload_names,
            response: self.response || other.response,
        }
    }

    pub const fn any(self) -> bool {
        self.request || self.upload_names || self.response
    }
}
