//! The firewall: does something refuse what comes in and was not asked for, over IPv4 and IPv6?

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Verdict;
use super::program;

pub(super) async fn judge(root: &Path) -> Verdict {
    let covered = if let Some(nft) = program::find(root, "nft") {
        match program::output(&nft, &["--json", "list", "ruleset"]).await {
            Ok(rules) => match of_nftables(&rules) {
                Some(covered) => covered,
                None => return Verdict::unknown("the rule set that nft prints cannot be read"),
            },
            Err(why) => return Verdict::unknown(why),
        }
    } else {
        let mut covered = Covered::default();
        for (name, place) in [("iptables", &mut covered.v4), ("ip6tables", &mut covered.v6)] {
            let Some(tool) = program::find(root, name) else { continue };
            match program::output(&tool, &["-S", "INPUT"]).await {
                Ok(rules) => *place = of_iptables(&rules),
                Err(why) => return Verdict::unknown(why),
            }
        }
        covered
    };
    let without_v6 = fs::read_to_string(root.join("proc/sys/net/ipv6/conf/all/disable_ipv6"))
        .map_or(true, |disabled| disabled.trim() == "1");
    match covered {
        Covered { v4: true, v6 } if v6 || without_v6 => {
            Verdict::passed("what comes in unasked is refused unless a rule allows it")
        }
        Covered { v4: true, .. } => {
            Verdict::failed("IPv6 is not filtered: nothing refuses what comes in unasked")
        }
        Covered { .. } => Verdict::failed(
            "nothing refuses what comes in unasked: switch on ufw, firewalld, or an nftables chain at hook input",
        ),
    }
}

/// The families in which incoming packets meet a refusal at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Covered {
    v4: bool,
    v6: bool,
}

/// What `nft --json list ruleset` prints, as far as it is needed here (libnftables-json(5)).
#[derive(Deserialize)]
struct Ruleset {
    nftables: Vec<Value>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    #[serde(default)]
    hook: Option<String>,
    #[serde(default)]
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    family: String,
    table: String,
    chain: String,
    expr: Vec<Value>,
}

/// `None` when the text is no rule set.
fn of_nftables(text: &str) -> Option<Covered> {
    let ruleset: Ruleset = serde_json::from_str(text).ok()?;
    let objects = |kind: &'static str| ruleset.nftables.iter().filter_map(move |object| object.get(kind));
    let mut covered = Covered::default();
    for chain in objects("chain").filter_map(|chain| Chain::deserialize(chain).ok()) {
        if chain.hook.as_deref() != Some("input") {
            continue;
        }
        // Rules are listed in their order: the last of the chain says what happens to the rest.
        let last = objects("rule").filter_map(|rule| Rule::deserialize(rule).ok()).rfind(|rule| {
            (&rule.family, &rule.table, &rule.chain) == (&chain.family, &chain.table, &chain.name)
        });
        if chain.policy.as_deref() == Some("drop") || last.is_some_and(|rule| refuses_all(&rule.expr)) {
            covered.v4 |= matches!(&*chain.family, "ip" | "inet");
            covered.v6 |= matches!(&*chain.family, "ip6" | "inet");
        }
    }
    Some(covered)
}

/// A rule that asks nothing and refuses.
fn refuses_all(expr: &[Value]) -> bool {
    let is = |statement: &Value, names: &[&str]| names.iter().any(|name| statement.get(name).is_some());
    expr.iter().any(|statement| is(statement, &["drop", "reject"]))
        && expr.iter().all(|statement| {
            is(statement, &["drop", "reject", "counter", "log", "limit"]) && !is(statement, &["limit"])
        })
}

/// What `iptables -S INPUT` prints.
fn of_iptables(rules: &str) -> bool {
    let drops = rules.lines().any(|line| line == "-P INPUT DROP");
    let last = rules.lines().rfind(|line| line.starts_with("-A INPUT"));
    drops
        || last.is_some_and(|line| {
            let rest = line.trim_start_matches("-A INPUT").trim();
            rest == "-j DROP" || rest == "-j REJECT" || rest.starts_with("-j REJECT --reject-with ")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nft(objects: &str) -> Option<(bool, bool)> {
        let metainfo = r#"{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}"#;
        of_nftables(&format!(r#"{{"nftables": [{metainfo}{objects}]}}"#)).map(|c| (c.v4, c.v6))
    }

    fn chain(family: &str, hook: &str, policy: &str) -> String {
        format!(
            r#", {{"chain": {{"family": "{family}", "table": "filter", "name": "in", "handle": 1, "type": "filter",
            "hook": "{hook}", "prio": 0, "policy": "{policy}"}}}}"#
        )
    }

    fn rule(family: &str, chain: &str, expr: &str) -> String {
        format!(
            r#", {{"rule": {{"family": "{family}", "table": "filter", "chain": "{chain}", "handle": 2, "expr": [{expr}]}}}}"#
        )
    }

    #[test]
    fn a_chain_at_the_input_hook_refuses_by_its_policy_or_by_its_last_rule() {
        assert_eq!(nft(""), Some((false, false)));
        assert_eq!(nft(&chain("inet", "input", "drop")), Some((true, true)));
        assert_eq!(nft(&chain("ip", "input", "drop")), Some((true, false)));
        assert_eq!(nft(&chain("ip6", "input", "drop")), Some((false, true)));
        assert_eq!(nft(&chain("inet", "forward", "drop")), Some((false, false)));
        let accepting = chain("inet", "input", "accept");
        assert_eq!(nft(&accepting), Some((false, false)));
        let matching = r#"{"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "lo"}}"#;
        let reject = r#"{"counter": {"packets": 0, "bytes": 0}}, {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}"#;
        let at_the_end = |expr: &str| {
            nft(&format!("{accepting}{}{}", rule("inet", "in", matching), rule("inet", "in", expr)))
        };
        assert_eq!(at_the_end(reject), Some((true, true)));
        assert_eq!(at_the_end(r#"{"drop": null}"#), Some((true, true)));
        assert_eq!(at_the_end(&format!("{matching}, {reject}")), Some((false, false)));
        assert_eq!(
            at_the_end(r#"{"limit": {"rate": 1, "per": "second"}}, {"drop": null}"#),
            Some((false, false))
        );
        assert_eq!(at_the_end(r#"{"accept": null}"#), Some((false, false)));
        let elsewhere = format!("{accepting}{}", rule("inet", "other", r#"{"drop": null}"#));
        assert_eq!(nft(&elsewhere), Some((false, false)));
        assert!(of_nftables("no rules").is_none());
        assert_eq!(nft(r#", {"chain": 5}, {"rule": {}}, 7"#), Some((false, false)));
    }

    #[test]
    fn iptables_says_the_same_in_lines() {
        assert!(of_iptables("-P INPUT DROP\n"));
        assert!(of_iptables(
            "-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n"
        ));
        assert!(!of_iptables("-P INPUT ACCEPT\n-A INPUT -j DROP\n-A INPUT -i lo -j ACCEPT\n"));
        assert!(!of_iptables("-P INPUT ACCEPT\n-A INPUT -p tcp -j DROP\n"));
        assert!(!of_iptables(""));
    }
}
