//! The decision on one activity, with its reason. Only `policy` can make one, so nothing is enforced without a verdict.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// What happens to the activity. Ordered by strictness: the greatest of all matching policies wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Allow,
    Monitor,
    Block,
}

impl Action {
    pub const fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Monitor => "monitor",
            Action::Block => "block",
        }
    }
}

/// Why a decision came out as it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The named policy applied and its control asks for this action.
    Policy,
    /// No enabled policy applied to this session; the activity passes.
    NoPolicyApplied,
    /// Policies would have applied but for an exclusion (policy name, what excluded it).
    Excluded { policy: Arc<str>, by: Arc<str> },
    /// A policy applied, but its control leaves this activity alone (block-downloads and the exchange is no download).
    NotControlled,
    /// Something failed and the failure table decided (stage and failure in words).
    Failure(&'static str),
}

impl Reason {
    /// In words, most of which are always the same.
    pub fn words(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Reason::Policy => "the policy applies and its session control covers this activity",
            Reason::NoPolicyApplied => "no enabled policy applies to this session",
            Reason::Excluded { policy, by } => {
                return Cow::Owned(format!("excluded from policy \"{policy}\" by {by}"));
            }
            Reason::NotControlled => "a policy applies, but its session control leaves this activity alone",
            Reason::Failure(what) => what,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

/// The verdict. Fields are read-only outside `policy`: holding one proves that policies were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub(super) action: Action,
    pub(super) policy: Option<Arc<str>>,
    pub(super) rule: Option<Arc<str>>,
    pub(super) reason: Reason,
    pub(super) message: Option<Arc<str>>,
    pub(super) report_only: Vec<Arc<str>>,
    pub(super) revision: u64,
    pub(super) set: Option<Uuid>,
}

impl Decision {
    pub fn action(&self) -> Action {
        self.action
    }
    /// The deciding policy, absent when none applied.
    pub fn policy(&self) -> Option<&Arc<str>> {
        self.policy.as_ref()
    }
    /// The deciding rule of a custom control.
    pub fn rule(&self) -> Option<&Arc<str>> {
        self.rule.as_ref()
    }
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
    /// Text the policy wants the user to read instead of the standard one.
    pub fn message(&self) -> Option<&Arc<str>> {
        self.message.as_ref()
    }
    /// Report-only policies that would have decided something stricter than allow.
    pub fn report_only(&self) -> &[Arc<str>] {
        &self.report_only
    }
    /// Revision of the policy set in force.
    pub fn revision(&self) -> u64 {
        self.revision
    }
    /// [Id](super::PolicySet::id) of the policy set that was asked; `None` when none was.
    pub fn set(&self) -> Option<Uuid> {
        self.set
    }
}

#[cfg(test)]
impl Decision {
    /// Stand-in for tests of what comes after the decision; the product has no way to make one up.
    pub(crate) fn for_test(
        action: Action,
        policy: Option<&str>,
        reason: Reason,
        report_only: &[&str],
    ) -> Self {
        Self {
            action,
            policy: policy.map(Arc::from),
            rule: None,
            reason,
            message: None,
            report_only: report_only.iter().map(|p| Arc::from(*p)).collect(),
            revision: 1,
            set: Some(Uuid::from_u128(5)),
        }
    }

    /// The same, but each time for one of the members that a record has.
    pub(crate) fn others_for_test(&self) -> [Self; 6] {
        let other = |change: fn(&mut Self)| {
            let mut other = self.clone();
            change(&mut other);
            assert_ne!(other, *self);
            other
        };
        [
            other(|decision| decision.action = Action::Monitor),
            other(|decision| decision.policy = Some("another".into())),
            other(|decision| decision.rule = Some("another".into())),
            other(|decision| decision.reason = Reason::NotControlled),
            other(|decision| decision.report_only.clear()),
            other(|decision| decision.set = Some(Uuid::from_u128(6))),
        ]
    }
}
