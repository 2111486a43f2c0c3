//! What many records have in common: who, with which app, on which device, by which process, where to, and what was decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text;
use super::{
    AppFacts, DecisionFacts, DeviceFacts, MAX_HOST, MAX_NAME, MAX_PATH, MAX_REASON, Observed, ProcessFacts,
    ServerFacts, UserFacts,
};
use crate::policy::decision::Decision;
use crate::session::Device;

/// Equal for most records of one user and app. Holds nothing that a client can choose anew for each request: a context of its own
/// would make each of its records several times as large.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    pub app: AppFacts,
    pub user: UserFacts,
    pub device: DeviceFacts,
    pub process: ProcessFacts,
    pub server: ServerFacts,
    /// But for the time it took, which is zero here.
    pub decision: DecisionFacts,
    pub report_only: Vec<Arc<str>>,
}

impl Context {
    pub fn of(observed: &Observed<'_>) -> Self {
        let Observed { session, device, decision, outcome, .. } = *observed;
        let (app, user, process) = (&session.app, &session.user, &session.process);
        let name = |name: &Option<Arc<str>>| name.as_ref().map(|s| text::shared(s, MAX_NAME));
        let path = |path: &Option<Arc<str>>| path.as_ref().map(|s| text::shared(s, MAX_PATH));
        Self {
            app: AppFacts {
                id: text::shared(&app.id, MAX_NAME),
                name: text::shared(&app.name, MAX_NAME),
                suite: name(&app.suite),
                category: name(&app.category),
            },
            user: UserFacts { name: name(&user.name), uid: user.uid, groups: text::list(&user.groups) },
            device: DeviceFacts {
                id: text::shared(&device.id, MAX_NAME),
                compliant: device.compliant,
                tags: text::list(&device.tags),
                os: text::shared(&device.os, MAX_NAME),
                reason: Some(text::shared(&device.reason, MAX_REASON)),
            },
            process: ProcessFacts {
                pid: process.pid,
                exe: path(&process.exe),
                name: name(&process.name),
                cgroup: path(&process.cgroup),
                unit: path(&process.unit),
                container: path(&process.container),
            },
            server: ServerFacts {
                address: session.original_dst.0.ip().to_canonical(),
                port: session.original_dst.0.port(),
                name: text::shared(&session.server_name, MAX_HOST),
            },
            decision: DecisionFacts {
                action: decision.action(),
                enforced: outcome.enforced,
                policy: decision.policy().map(|s| text::shared(s, MAX_NAME)),
                rule: decision.rule().map(|s| text::shared(s, MAX_NAME)),
                reason: text::words(decision.reason().words()),
                policy_set: decision.set(),
                micros: 0,
            },
            report_only: text::list(decision.report_only()),
        }
    }

    /// Whether this is what [`of`](Self::of) makes of a further exchange of the session that it was made for. `false` may also
    /// mean that nobody looked closely.
    pub fn holds(&self, device: &Device, decision: &Decision, enforced: bool) -> bool {
        let known = &self.device;
        let decided = &self.decision;
        Arc::ptr_eq(&known.id, &device.id)
            && known.compliant == device.compliant
            && known.reason.as_ref().is_some_and(|reason| Arc::ptr_eq(reason, &device.reason))
            && Arc::ptr_eq(&known.os, &device.os)
            && same(&known.tags, &device.tags)
            && (decided.action, decided.enforced) == (decision.action(), enforced)
            && decided.policy_set == decision.set()
            && same(decided.policy.as_slice(), decision.policy().map_or(&[], std::slice::from_ref))
            && same(decided.rule.as_slice(), decision.rule().map_or(&[], std::slice::from_ref))
            && same(&self.report_only, decision.report_only())
            && decided.reason == decision.reason().words()
    }
}

/// Whether they are the same texts, and not only equal ones.
fn same(some: &[Arc<str>], others: &[Arc<str>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::Facts;

    #[test]
    fn it_holds_for_what_would_make_it_again() {
        let facts = Facts::new();
        let (device, decision) = (&facts.device, &facts.decision);
        let context = Context::of(&facts.observed());
        assert!(context.holds(device, decision, true));
        assert!(context.holds(&device.clone(), &decision.clone(), true));
        assert!(!context.holds(device, decision, false));
        let other = |change: fn(&mut Device)| {
            let mut other = device.clone();
            change(&mut other);
            other
        };
        for device in [
            other(|device| device.id = "d-2".into()),
            other(|device| device.compliant = true),
            other(|device| device.reason = "another".into()),
            other(|device| device.tags.clear()),
            other(|device| device.os = "Debian 13".into()),
        ] {
            assert!(!context.holds(&device, decision, true), "{device:?}");
        }
        for decision in decision.others_for_test() {
            assert!(!context.holds(device, &decision, true), "{decision:?}");
        }
    }
}
