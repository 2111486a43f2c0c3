//! An explanation as JSON: the shape that `explain`, `policy what-if` and tests rely on.

use serde_json::{Value, json};

use super::{ConditionExplained, Explanation, PolicyExplained, RuleExplained};
use crate::policy::decision::{Action, Decision};

impl Explanation {
    /// `{"decision":{…},"policies":[{"name","state","control","path","line","matched","action","why","conditions":[{"condition",
    /// "matched","found","why"}],"rules":[{"name","action","matched","why"}]}]}`
    pub fn to_json(&self) -> Value {
        json!({
            "decision": decision(&self.decision),
            "policies": self.policies.iter().map(policy).collect::<Vec<_>>(),
        })
    }
}

fn decision(decision: &Decision) -> Value {
    json!({
        "action": decision.action().name(),
        "policy": decision.policy(),
        "rule": decision.rule(),
        "reason": decision.reason().to_string(),
        "message": decision.message(),
        "report_only": decision.report_only(),
    })
}

fn policy(policy: &PolicyExplained) -> Value {
    json!({
        "name": policy.name,
        "state": policy.state.name(),
        "control": policy.control,
        "path": policy.path,
        "line": policy.line,
        "matched": policy.matched,
        "action": policy.action.map(Action::name),
        "why": policy.why,
        "conditions": policy.conditions.iter().map(condition).collect::<Vec<_>>(),
        "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn condition(condition: &ConditionExplained) -> Value {
    json!({
        "condition": condition.condition.name(),
        "matched": condition.matched,
        "found": condition.found,
        "why": condition.why,
    })
}

fn rule(rule: &RuleExplained) -> Value {
    json!({ "name": rule.name, "action": rule.action.name(), "matched": rule.matched, "why": rule.why })
}
