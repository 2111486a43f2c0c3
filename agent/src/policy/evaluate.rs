//! The decision: every policy in force that matches applies, the strictest action wins, the first of equals is named.

use std::sync::Arc;

use super::condition::{Condition, Match};
use super::decision::{Action, Decision, Reason};
use super::rule::{Judgement, Rule, Subject};
use super::{Policy, PolicySet, State};
use crate::classify::Classification;
use crate::session::{Device, Session};

/// Everything a decision may look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) session: &'a Session,
    pub(super) device: &'a Device,
    pub(super) subject: Subject<'a>,
}

/// Told of each step of an evaluation. There is one evaluation; `explain` is one that is watched.
pub(super) trait Observer {
    /// Whether every policy and condition is asked, also where the answer can no longer change the decision.
    const EXHAUSTIVE: bool;
    fn policy(&mut self, policy: &Policy);
    fn condition(&mut self, condition: Condition, outcome: Match<'_>);
    fn rule(&mut self, rule: &Rule, matched: bool);
    fn verdict(&mut self, verdict: &Verdict<'_>);
}

/// Sees nothing and costs nothing.
struct Unobserved;

impl Observer for Unobserved {
    const EXHAUSTIVE: bool = false;
    fn policy(&mut self, _: &Policy) {}
    fn condition(&mut self, _: Condition, _: Match<'_>) {}
    fn rule(&mut self, _: &Rule, _: bool) {}
    fn verdict(&mut self, _: &Verdict<'_>) {}
}

/// What one policy says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'p> {
    /// Some condition includes nothing of this.
    NotMatched,
    /// All conditions include it, but this exclusion takes it out.
    Excluded(&'p Arc<str>),
    /// It applies. `None`: its control leaves the activity alone.
    Applies(Option<Judgement<'p>>),
}

/// A policy that applies, and what it asks for.
#[derive(Clone, Copy)]
struct Applied<'p> {
    policy: &'p Policy,
    judgement: Option<Judgement<'p>>,
}

impl Applied<'_> {
    fn action(&self) -> Action {
        self.judgement.map_or(Action::Allow, |judgement| judgement.action)
    }

    /// Between two that let pass, the one that says so expressly.
    fn rank(&self) -> (Action, bool) {
        (self.action(), self.judgement.is_some())
    }
}

impl PolicySet {
    /// Decides one activity. `size` is the size of the file in bytes where the head announces it. Allocates only to
    /// list report-only policies.
    pub fn evaluate(
        &self,
        session: &Session,
        device: &Device,
        class: &Classification,
        size: Option<u64>,
    ) -> Decision {
        self.decide(session, device, Subject::new(class, size))
    }

    /// Decides about whatever is known of an exchange; allocates as [`evaluate`](Self::evaluate) does.
    pub fn decide(&self, session: &Session, device: &Device, subject: Subject<'_>) -> Decision {
        self.observe(&Facts { session, device, subject }, &mut Unobserved)
    }

    pub(super) fn observe<O: Observer>(&self, facts: &Facts<'_>, observer: &mut O) -> Decision {
        let mut tally = Tally::default();
        if O::EXHAUSTIVE {
            for policy in &self.policies {
                tally.add(policy, judge(policy, facts, observer));
            }
        } else {
            let candidates = &self.naming(&facts.session.app.id).candidates;
            for policy in candidates.iter().filter_map(|index| self.policies.get(*index)) {
                tally.add(policy, judge(policy, facts, observer));
            }
        }
        tally.decide(self.revision)
    }
}

/// One policy: all conditions, then the control.
fn judge<'p, O: Observer>(policy: &'p Policy, facts: &Facts<'_>, observer: &mut O) -> Verdict<'p> {
    observer.policy(policy);
    let mut included = true;
    let mut excluded = None;
    for condition in Condition::ALL {
        let outcome = ask(policy, condition, facts);
        observer.condition(condition, outcome);
        match outcome {
            Match::NotGiven | Match::Included(_) => {}
            Match::Excluded { by, otherwise_included, .. } => {
                included &= otherwise_included;
                excluded = excluded.or(Some(by));
            }
            Match::NotIncluded => included = false,
        }
        if !included && !O::EXHAUSTIVE {
            return Verdict::NotMatched;
        }
    }
    let verdict = match (included, excluded) {
        (false, _) => Verdict::NotMatched,
        (true, Some(by)) => Verdict::Excluded(by),
        (true, None) => {
            let control = policy.control.as_ref();
            let seen = |rule: &Rule, matched| observer.rule(rule, matched);
            Verdict::Applies(control.and_then(|control| control.judge(&facts.subject, seen)))
        }
    };
    observer.verdict(&verdict);
    verdict
}

fn ask<'p>(policy: &'p Policy, condition: Condition, facts: &Facts<'_>) -> Match<'p> {
    let Facts { session, device, .. } = facts;
    match condition {
        Condition::Users => policy.users.judge(|rule| rule.matches(&session.user)),
        Condition::Apps => policy.apps.judge(|rule| rule.matches(&session.app.id)),
        Condition::ClientApps => policy.client_apps.judge(|rule| rule.matches(session.kind)),
        Condition::Devices => policy.devices.judge(|rule| rule.matches(device)),
        Condition::Locations => policy.locations.judge(|rule| rule.matches(session)),
    }
}

/// Puts the verdicts of all policies together.
#[derive(Default)]
struct Tally<'p> {
    strictest: Option<Applied<'p>>,
    excluded: Option<(&'p Policy, &'p Arc<str>)>,
    report_only: Vec<Arc<str>>,
}

impl<'p> Tally<'p> {
    fn add(&mut self, policy: &'p Policy, verdict: Verdict<'p>) {
        if !policy.in_force() {
            return;
        }
        match (policy.state, verdict) {
            (State::Enabled, Verdict::Applies(judgement)) => {
                let applied = Applied { policy, judgement };
                if self.strictest.is_none_or(|known| applied.rank() > known.rank()) {
                    self.strictest = Some(applied);
                }
            }
            (State::Enabled, Verdict::Excluded(by)) => self.excluded = self.excluded.or(Some((policy, by))),
            (State::ReportOnly, Verdict::Applies(judgement)) => {
                if (Applied { policy, judgement }).action() > Action::Allow {
                    self.report_only.push(policy.name.clone());
                }
            }
            (State::ReportOnly, Verdict::Excluded(_)) | (_, Verdict::NotMatched) | (State::Disabled, _) => {}
        }
    }

    fn decide(self, revision: u64) -> Decision {
        let mut decision = Decision {
            action: Action::Allow,
            policy: None,
            rule: None,
            reason: Reason::NoPolicyApplied,
            message: None,
            report_only: self.report_only,
            revision,
        };
        match (self.strictest, self.excluded) {
            (Some(Applied { policy, judgement: Some(Judgement { action, rule }) }), _) => {
                decision.action = action;
                decision.policy = Some(policy.name.clone());
                decision.rule = rule.map(|rule| rule.name.clone());
                decision.reason = Reason::Policy;
                decision.message =
                    rule.and_then(|rule| rule.message.clone()).or_else(|| policy.message.clone());
            }
            (Some(Applied { policy, judgement: None }), _) => {
                decision.policy = Some(policy.name.clone());
                decision.reason = Reason::NotControlled;
            }
            (None, Some((policy, by))) => {
                decision.reason = Reason::Excluded { policy: policy.name.clone(), by: by.clone() };
            }
            (None, None) => {}
        }
        decision
    }
}
