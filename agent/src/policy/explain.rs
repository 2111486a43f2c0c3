//! Why a decision came out as it did: every policy, every condition, every rule, in words.

mod json;

use std::sync::Arc;

use super::condition::{Condition, Match};
use super::decision::{Action, Decision};
use super::evaluate::{Facts, Observer, Verdict};
use super::rule::{Rule, Subject};
use super::{Policy, PolicySet, State};
use crate::classify::Classification;
use crate::session::{ClientKind, Device, Session};

/// A decision with the whole way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub decision: Decision,
    /// Every policy of the set, disabled ones too, in its order.
    pub policies: Vec<PolicyExplained>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyExplained {
    pub name: Arc<str>,
    pub state: State,
    /// `None`: it has no session control.
    pub control: Option<&'static str>,
    /// File it stands in, and the line of its name, from 1.
    pub path: Arc<str>,
    pub line: usize,
    /// In the order of [`Condition::ALL`].
    pub conditions: Vec<ConditionExplained>,
    /// Rules of a custom control; only asked when all conditions match.
    pub rules: Vec<RuleExplained>,
    /// Whether all conditions match. A disabled policy may match, it does nothing all the same.
    pub matched: bool,
    /// What it asks for; `None` when it does not apply or leaves the activity alone.
    pub action: Option<Action>,
    /// The sum of it in one sentence.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionExplained {
    pub condition: Condition,
    pub matched: bool,
    /// What the session has, for example `browser`.
    pub found: String,
    /// What the policy says to that.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleExplained {
    pub name: Arc<str>,
    pub action: Action,
    pub matched: bool,
    /// What of it does not match; that all of it does.
    pub why: String,
}

impl PolicySet {
    /// The same decision as [`evaluate`](Self::evaluate), by the same code, with the way to it.
    pub fn explain(
        &self,
        session: &Session,
        device: &Device,
        class: &Classification,
        size: Option<u64>,
    ) -> Explanation {
        self.explain_subject(session, device, Subject::new(class, size))
    }

    /// The same decision as [`decide`](Self::decide), with the way to it.
    pub fn explain_subject(&self, session: &Session, device: &Device, subject: Subject<'_>) -> Explanation {
        let facts = Facts { session, device, subject };
        let mut writer = Writer { facts, policies: Vec::with_capacity(self.policies().len()) };
        let decision = self.observe(&facts, &mut writer);
        Explanation { decision, policies: writer.policies }
    }
}

struct Writer<'a> {
    facts: Facts<'a>,
    policies: Vec<PolicyExplained>,
}

impl Observer for Writer<'_> {
    const EXHAUSTIVE: bool = true;

    fn policy(&mut self, policy: &Policy) {
        self.policies.push(PolicyExplained {
            name: policy.name.clone(),
            state: policy.state,
            control: policy.control.as_ref().map(super::Control::name),
            path: policy.path.clone(),
            line: policy.line,
            conditions: Vec::with_capacity(Condition::ALL.len()),
            rules: Vec::new(),
            matched: false,
            action: None,
            why: String::new(),
        });
    }

    fn condition(&mut self, condition: Condition, outcome: Match<'_>) {
        let found = found(condition, &self.facts);
        let why = match outcome {
            Match::NotGiven => "the policy does not restrict this".to_owned(),
            Match::Included(text) => format!("included by \"{text}\""),
            Match::Excluded { text, otherwise_included: true, .. } => {
                format!("excluded by \"{text}\", which beats any inclusion")
            }
            Match::Excluded { text, otherwise_included: false, .. } => {
                format!("excluded by \"{text}\", and not included either")
            }
            Match::NotIncluded => "nothing that is included matches".to_owned(),
        };
        if let Some(policy) = self.policies.last_mut() {
            policy.conditions.push(ConditionExplained { condition, matched: outcome.matched(), found, why });
        }
    }

    fn rule(&mut self, rule: &Rule, matched: bool) {
        let missed: Vec<_> =
            rule.parts(&self.facts.subject).filter(|(_, matched)| !matched).map(|(part, _)| part).collect();
        let why = match missed.is_empty() {
            true => "all of it matches".to_owned(),
            false => format!("not matched: {}", missed.join(", ")),
        };
        if let Some(policy) = self.policies.last_mut() {
            policy.rules.push(RuleExplained { name: rule.name.clone(), action: rule.action, matched, why });
        }
    }

    fn verdict(&mut self, verdict: &Verdict<'_>) {
        let Some(policy) = self.policies.last_mut() else { return };
        policy.matched = matches!(verdict, Verdict::Applies(_));
        policy.why = match (policy.state, policy.control, verdict) {
            (State::Disabled, _, _) => "the policy is disabled".to_owned(),
            (State::Enabled | State::ReportOnly, None, _) => "the policy has no session control".to_owned(),
            (State::Enabled | State::ReportOnly, Some(_), Verdict::NotMatched) => {
                let missed = policy.conditions.iter().filter(|c| !c.matched).map(|c| c.condition.name());
                format!("not matched: {}", missed.collect::<Vec<_>>().join(", "))
            }
            (State::Enabled | State::ReportOnly, Some(_), Verdict::Excluded(by)) => format!("excluded: {by}"),
            (State::Enabled | State::ReportOnly, Some(control), Verdict::Applies(None)) => {
                format!("applies, but {control} leaves this activity alone")
            }
            (state, Some(control), Verdict::Applies(Some(judgement))) => {
                policy.action = Some(judgement.action);
                let rule = judgement.rule.map(|rule| format!(" (\"{}\")", rule.name)).unwrap_or_default();
                let only = if state == State::ReportOnly { ", reported only" } else { "" };
                format!("applies: {control}{rule} asks for {}{only}", judgement.action.name())
            }
        };
    }
}

/// The session's side of a condition.
fn found(condition: Condition, facts: &Facts<'_>) -> String {
    let Facts { session, device, .. } = facts;
    match condition {
        Condition::Users => {
            let user = &session.user;
            let name = user.name.as_deref().unwrap_or("unknown user");
            let uid = user.uid.map(|uid| format!(" (uid {uid})")).unwrap_or_default();
            let groups =
                if user.groups.is_empty() { String::new() } else { listed(", groups ", &user.groups) };
            format!("{name}{uid}{groups}")
        }
        Condition::Apps => session.app.id.to_string(),
        Condition::ClientApps => match session.kind {
            ClientKind::Browser => "browser".to_owned(),
            ClientKind::Native => "native".to_owned(),
        },
        Condition::Devices => {
            let state = if device.compliant { "compliant" } else { "not compliant" };
            let tags = if device.tags.is_empty() { String::new() } else { listed(", tags ", &device.tags) };
            format!("{state}: {}{tags}", device.reason)
        }
        Condition::Locations if session.location.0.is_unspecified() => "unknown address".to_owned(),
        Condition::Locations => session.location.0.to_canonical().to_string(),
    }
}

fn listed(before: &str, words: &[Arc<str>]) -> String {
    format!("{before}{}", words.join(" "))
}
