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

/// Told of each step when policies are asked one after another. The index must not come to another decision.
pub(super) trait Observer {
    /// Whether every policy and condition is asked, also where the answer can no longer change the decision.
    const EXHAUSTIVE: bool;
    fn policy(&mut self, policy: &Policy);
    fn condition(&mut self, condition: Condition, outcome: Match<'_>);
    fn rule(&mut self, rule: &Rule, matched: bool);
    fn verdict(&mut self, verdict: &Verdict<'_>);
}

/// Sees nothing, and ends with the first condition that does not match.
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
        self.decide_facts(&Facts { session, device, subject })
    }

    /// The index knows which policies apply; of those only rules have to be asked, and of these none that could not make
    /// the decision stricter.
    fn decide_facts(&self, facts: &Facts<'_>) -> Decision {
        let found = self.index.find(facts.session, facts.device);
        let policy = |place: usize| found.position(place).and_then(|position| self.policies.get(position));
        let judge = |place: usize| policy(place)?.control.as_ref()?.judge(&facts.subject, |_, _| {});
        let class = facts.subject.class;

        let plain = if class.download { found.block_downloads() } else { None };
        let plain = plain.or_else(|| found.monitor_only());
        let mut strictest = plain.and_then(|place| Some((place, judge(place)?)));
        // Between equals the first of the files is named.
        let beats = |action, place, (known, judgement): (usize, Judgement<'_>)| {
            action > judgement.action || (action == judgement.action && place < known)
        };
        for ceiling in [Action::Block, Action::Monitor, Action::Allow] {
            for place in found.custom(ceiling, class) {
                if strictest.is_some_and(|known| !beats(ceiling, place, known)) {
                    break;
                }
                if let Some(judgement) = judge(place)
                    && strictest.is_none_or(|known| beats(judgement.action, place, known))
                {
                    strictest = Some((place, judgement));
                }
            }
        }
        let strictest = match strictest {
            Some((place, judgement)) => Some((place, Some(judgement))),
            None => found.first().map(|place| (place, None)),
        };
        let mut tally = Tally::default();
        if let Some((place, judgement)) = strictest {
            tally.strictest = policy(place).map(|policy| Applied { policy, judgement });
        } else if let Some(policy) = found.first_excluded().and_then(policy)
            && let Verdict::Excluded(by) = self::judge(policy, facts, &mut Unobserved)
        {
            tally.excluded = Some((policy, by));
        }
        for place in found
            .reporting(class)
            .filter(|place| judge(*place).is_some_and(|found| found.action > Action::Allow))
        {
            tally.report_only.extend(policy(place).map(|policy| policy.name.clone()));
        }
        tally.decide(self)
    }

    /// Asks every policy, one after another.
    pub(super) fn observe<O: Observer>(&self, facts: &Facts<'_>, observer: &mut O) -> Decision {
        let mut tally = Tally::default();
        for policy in &self.policies {
            tally.add(policy, judge(policy, facts, observer));
        }
        tally.decide(self)
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

    fn decide(self, set: &PolicySet) -> Decision {
        let mut decision = Decision {
            action: Action::Allow,
            policy: None,
            rule: None,
            reason: Reason::NoPolicyApplied,
            message: None,
            report_only: self.report_only,
            revision: set.revision,
            set: Some(set.id),
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
