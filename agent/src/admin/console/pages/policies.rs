//! The policies in force, how often each decided, and one of them as its file says it.

use std::collections::HashMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Lines, Page, Shown, Standing, ago, number, page, trouble};
use crate::admin::console::query_string::{Asked, with_value};
use crate::policy::write::Written;
use crate::policy::{Control, Policy, PolicySet, State};
use crate::record::query::overview::Counted;

/// Rows of the table.
const SHOWN: usize = 1000;

/// `hits`: of the last day. `name`: the policy that is shown in full.
pub(in crate::admin::console) fn render(
    standing: &Standing,
    now: Timestamp,
    policies: &PolicySet,
    hits: Result<&[Counted], &str>,
    name: Option<&str>,
) -> Markup {
    let all = policies.policies();
    let counted = hits.unwrap_or_default().iter().map(|one| (&*one.name, one));
    let counted: HashMap<&str, &Counted> = counted.collect();
    page(
        Page::Policies,
        standing,
        false,
        &html! {
            div.head { h1 { "Policies" } }
            @if let Err(why) = hits { (trouble(why)) }
            @if all.is_empty() { p.empty.large { "There are no policies: nothing is steered." } }
            @else {
                table.wide {
                    thead { tr {
                        th scope="col" { "Policy" } th scope="col" { "State" } th scope="col" { "Control" }
                        th scope="col" { "Apps" } th scope="col" { "Users" }
                        th.n scope="col" { "Decided, 24 h" } th scope="col" { "Last" } th scope="col" { "File" }
                    } }
                    tbody { @for policy in all.iter().take(SHOWN) { (row(policy, counted.get(&*policy.name).copied(), now)) } }
                }
                @if all.len() > SHOWN { p.note { "and " (all.len() - SHOWN) " more, which " code { "portcullis policy list" } " lists" } }
                p.note { "Report-only policies decide nothing; what they would have asked for stands in the records." }
            }
            @if let Some(name) = name { (drawer(policies.get(name))) }
        },
    )
}

fn row(policy: &Policy, hits: Option<&Counted>, now: Timestamp) -> Markup {
    let written = Written::of(policy);
    let words = |include: &[String], exclude: &[String]| match exclude {
        [] => include.join(" "),
        exclude => format!("{} but {}", include.join(" "), exclude.join(" ")),
    };
    html! {
        tr.off[!policy.in_force()] {
            th scope="row" { a href=(with_value(Page::Policies.path(), "name", &policy.name)) { (Shown(&policy.name)) } }
            td data-name="State" { (state(policy.state)) }
            td data-name="Control" { (policy.control.as_ref().map_or("none", Control::name)) }
            td.cut data-name="Apps" { (Shown(&words(&written.apps.include, &written.apps.exclude))) }
            td.cut data-name="Users" {
                @match &written.users { Some(users) => (Shown(&words(&users.include, &users.exclude))), None => "all" }
            }
            td.n data-name="Decided, 24 h" {
                @match hits {
                    Some(hits) => a href={ (Asked::only("policy", &policy.name).address()) "&since=24h" } { (number(hits.count)) },
                    None => "0",
                }
            }
            td data-name="Last" { @if let Some(hits) = hits { (ago(hits.last, now)) } @else { "–" } }
            td.quiet data-name="File" { (Shown(&file(policy))) }
        }
    }
}

fn file(policy: &Policy) -> String {
    let name = policy.path.rsplit('/').next().unwrap_or_default();
    format!("{name}:{}", policy.line)
}

fn state(state: State) -> Markup {
    let class = match state {
        State::Enabled => "badge good",
        State::ReportOnly => "badge monitor",
        State::Disabled => "badge idle",
    };
    html! { span class=(class) { (state.name()) } }
}

fn drawer(policy: Option<&Policy>) -> Markup {
    html! {
        a.shade href=(Page::Policies.path()) tabindex="-1" aria-hidden="true" {}
        aside.drawer aria-label="Details" tabindex="-1" {
            a.close href=(Page::Policies.path()) aria-label="Close" { "×" }
            @match policy {
                None => p.empty { "No policy of this name is loaded." },
                Some(policy) => {
                    header {
                        p { (state(policy.state)) }
                        h2 { (Shown(&policy.name)) }
                        p.quiet { (Shown(&policy.path)) ":" (policy.line) }
                    }
                    pre { code { (Lines(&Written::of(policy).to_toml())) } }
                    p { a.button href=(Asked::only("policy", &policy.name).address()) { "What it decided" } }
                }
            }
        }
    }
}
