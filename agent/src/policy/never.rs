//! Policies that cannot apply to anybody, because a condition excludes all that it includes. Their text is right, and
//! nobody means it so.

use super::condition::{AppRule, Condition, DeviceRule, LocationRule, Scope, UserRule};
use super::{Policy, State};

impl Policy {
    /// The condition that nothing can meet; of a policy that is disabled nobody expects more.
    pub fn unmeetable(&self) -> Option<Condition> {
        if self.state == State::Disabled {
            return None;
        }
        let all = |one: bool, condition| one.then_some(condition);
        all(users(&self.users), Condition::Users)
            .or_else(|| all(apps(&self.apps), Condition::Apps))
            .or_else(|| all(devices(&self.devices), Condition::Devices))
            .or_else(|| all(locations(&self.locations), Condition::Locations))
    }
}

/// Whether each inclusion stands within an exclusion.
fn nothing_left<R>(scope: &Scope<R>, within: impl Fn(&R, &R) -> bool) -> bool {
    let excluded = |rule: &R| scope.exclude().iter().any(|out| within(rule, &out.rule));
    !scope.exclude().is_empty() && scope.include().iter().all(|selector| excluded(&selector.rule))
}

fn users(scope: &Scope<UserRule>) -> bool {
    nothing_left(scope, |rule, out| *out == UserRule::All || rule == out)
}

fn devices(scope: &Scope<DeviceRule>) -> bool {
    nothing_left(scope, |rule, out| *out == DeviceRule::All || rule == out)
}

/// Each app by itself: several exclusions together may make up a suite.
fn apps(scope: &Scope<AppRule>) -> bool {
    let excluded = |id: &str| scope.exclude().iter().any(|out| out.rule.matches(id));
    let every = |rule: &AppRule| match rule {
        AppRule::All => scope.exclude().iter().any(|out| out.rule == AppRule::All),
        AppRule::Ids(ids) => ids.iter().all(|id| excluded(id)),
    };
    !scope.exclude().is_empty() && scope.include().iter().all(|selector| every(&selector.rule))
}

fn locations(scope: &Scope<LocationRule>) -> bool {
    nothing_left(scope, |rule, out| match (rule, out) {
        (_, LocationRule::All) => true,
        (LocationRule::All, LocationRule::Network(_)) => false,
        (LocationRule::Network(nets), LocationRule::Network(out)) => {
            nets.iter().all(|net| out.iter().any(|wider| wider.contains(net)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::diagnostic::SourceFile;
    use crate::policy::{Networks, PolicySet};

    #[track_caller]
    fn check(lines: &str, expected: Option<Condition>) {
        let apps = if lines.contains("apps") { "" } else { "apps.include = ['all']\n" };
        let text = format!("[[policy]]\nname = 'P'\n{apps}{lines}");
        let net = |net: &str| [net.parse().unwrap()].into();
        let networks =
            Networks::from([("corp".into(), net("10.0.0.0/8")), ("lab".into(), net("10.9.0.0/16"))]);
        let set =
            PolicySet::build(&[SourceFile::new("p.toml", text)], &Catalog::builtin(), &networks).unwrap();
        assert_eq!(set.policies()[0].unmeetable(), expected, "{lines}");
    }

    #[test]
    fn all_that_is_included_is_excluded() {
        check("users = { include = ['all'], exclude = ['all'] }", Some(Condition::Users));
        check(
            "users = { include = ['user:a', 'group:b'], exclude = ['group:b', 'user:a'] }",
            Some(Condition::Users),
        );
        check("apps = { include = ['slack'], exclude = ['slack'] }", Some(Condition::Apps));
        check("apps = { include = ['m365-teams'], exclude = ['office365'] }", Some(Condition::Apps));
        check(
            "conditions.devices = { include = ['compliant'], exclude = ['compliant'] }",
            Some(Condition::Devices),
        );
        check(
            "conditions.locations = { include = ['corp'], exclude = ['corp'] }",
            Some(Condition::Locations),
        );
        check("conditions.locations = { include = ['lab'], exclude = ['corp'] }", Some(Condition::Locations));
        check("users = { exclude = ['all'] }\nstate = 'disabled'", None);
    }

    #[test]
    fn something_is_left() {
        check("", None);
        check("users = { include = ['user:a', 'group:b'], exclude = ['user:a'] }", None);
        check("users = { include = ['all'], exclude = ['user:a'] }", None);
        check("apps = { include = ['office365'], exclude = ['m365-teams'] }", None);
        check("apps = { include = ['all'], exclude = ['office365'] }", None);
        check("conditions.devices = { exclude = ['compliant'] }", None);
        check("conditions.locations = { include = ['corp'], exclude = ['lab'] }", None);
    }
}
