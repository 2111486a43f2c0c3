//! An explanation as text: the decision, then every policy with each condition and rule.

use std::fmt::Write as _;

use super::terminal::{Colour, Screen, clean, column};
use crate::policy::Explanation;
use crate::policy::decision::Action;

/// Columns of a condition's name, and of what the session has.
const CONDITION: usize = 12;
const FOUND: usize = 40;

pub(super) fn text(explanation: &Explanation, screen: Screen) -> String {
    let decision = &explanation.decision;
    let mut text =
        format!("decision   {}", screen.paint(colour(decision.action()), decision.action().name()));
    if let Some(policy) = decision.policy() {
        let _ = write!(text, " by \"{}\"", clean(policy));
    }
    if let Some(rule) = decision.rule() {
        let _ = write!(text, ", \"{}\"", clean(rule));
    }
    let _ = writeln!(text, "\n           {}", clean(&decision.reason().to_string()));
    if let Some(message) = decision.message() {
        let _ = writeln!(text, "message    {}", clean(message));
    }
    if !decision.report_only().is_empty() {
        let _ = writeln!(text, "reported   {}", clean(&decision.report_only().join(", ")));
    }
    if explanation.policies.is_empty() {
        text.push_str("\nThere are no policies.\n");
    }
    for policy in &explanation.policies {
        let control = policy.control.unwrap_or("no session control");
        let head = format!("{} ({}, {control})", policy.name, policy.state.name());
        let place = format!("{}:{}", clean(&policy.path), policy.line);
        let _ = writeln!(text, "\n{}  {place}", screen.paint(Colour::Bold, &clean(&head)));
        for condition in &policy.conditions {
            let _ = writeln!(
                text,
                "  {} {:CONDITION$} {} {}",
                mark(condition.matched, screen),
                condition.condition.name(),
                column(&condition.found, FOUND),
                clean(&condition.why),
            );
        }
        for rule in &policy.rules {
            let what = format!("\"{}\" ({})", rule.name, rule.action.name());
            let _ = writeln!(
                text,
                "  {} {:CONDITION$} {} {}",
                mark(rule.matched, screen),
                "rule",
                column(&what, FOUND),
                clean(&rule.why),
            );
        }
        let _ = writeln!(text, "  = {}", clean(&policy.why));
    }
    text
}

fn mark(matched: bool, screen: Screen) -> String {
    let (colour, word) = if matched { (Colour::Green, "yes") } else { (Colour::Yellow, "no ") };
    screen.paint(colour, word).into_owned()
}

pub(super) fn colour(action: Action) -> Colour {
    match action {
        Action::Allow => Colour::Green,
        Action::Monitor => Colour::Yellow,
        Action::Block => Colour::Red,
    }
}
