//! How the agent is: each part, steering, policies, device, authority, log and exports, as `portcullis status` tells.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Lines, Page, Shown, Standing, ago, local, number, page, trouble};
use crate::admin::health::{Condition, PartHealth};
use crate::admin::status::{Constraints, Status};

pub(in crate::admin::console) fn render(
    standing: &Standing,
    now: Timestamp,
    status: Result<&Status, &str>,
) -> Markup {
    page(
        Page::Health,
        standing,
        true,
        &html! {
            div.head { h1 { "Health" } }
            @match status {
                Err(why) => (trouble(why)),
                Ok(status) => {
                    ul.parts { @for part in &status.health { (part_of(part)) } }
                    div.facts { (sections(status, now)) }
                    (counters(status))
                }
            }
        },
    )
}

fn part_of(part: &PartHealth) -> Markup {
    let (class, word, why) = match &part.condition {
        Condition::Ok => ("badge good", "ok", None),
        Condition::Degraded(why) => ("badge monitor", "degraded", Some(why)),
        Condition::Failed(why) => ("badge bad", "failed", Some(why)),
    };
    html! {
        li {
            span class=(class) { (word) } " " strong { (part.part.name()) }
            @if let Some(why) = why { p { (Shown(why)) } }
        }
    }
}

fn section(title: &str, facts: Markup) -> Markup {
    html! { section.panel { h2 { (title) } dl { (facts) } } }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { dt { (name) } dd { (Shown(value)) } }
}

fn when(name: &str, time: Timestamp, now: Timestamp) -> Markup {
    html! { dt { (name) } dd { (local(time, "%Y-%m-%d %H:%M:%S")) " (" (ago(time, now)) ")" } }
}

fn sections(status: &Status, now: Timestamp) -> Markup {
    let Status { steering, policies, device, certificate_authority: authority, activity_log: log, .. } =
        status;
    html! {
        (section("Agent", html! {
            (fact("Version", &status.version))
            (fact("Process", &status.pid.to_string()))
            (when("Since", status.since, now))
            (fact("Mode", &status.mode))
            (fact("Listens at", &status.listener))
        }))
        (section("Steering", html! {
            @for hook in &steering.hooks { (fact("Program", hook)) }
            @if steering.hooks.is_empty() { (fact("Programs", "none")) }
            (fact("Without agent", &format!("fail {}", steering.fail)))
            @if let Some(gap) = &steering.gap { (when("Nobody was there until", gap.to, now)) }
        }))
        (section("Policies", html! {
            (fact("In force", &policies.count.to_string()))
            (fact("Apps", &policies.apps.to_string()))
            (fact("Revision", &policies.revision.to_string()))
            @if let Some(reload) = &policies.last_reload {
                (when("Last reload", reload.time, now))
                @if let Some(error) = &reload.error { dt { "Refused" } dd { pre { (Lines(error)) } } }
            }
            @if let Some(back) = &policies.rolled_back { (when("Last good ones since", back.since, now)) }
        }))
        (section("Device", html! {
            (fact("Id", &device.id))
            (fact("State", if device.compliant { "compliant" } else { "not compliant" }))
            // The checks say it one by one.
            @if device.checks.is_empty() { (fact("Because", &device.reason)) }
            @if !device.tags.is_empty() { (fact("Tags", &device.tags.join(", "))) }
            @for check in &device.checks { (fact(&check.name, &format!("{}: {}", check.outcome, check.reason))) }
        }))
        (section("Certificate authority", html! {
            (fact("Subject", &authority.subject))
            (fact("SHA-256", &authority.fingerprint))
            @if let Some(end) = authority.not_after { dt { "Valid until" } dd { (local(end, "%Y-%m-%d")) } }
            @match &authority.constraints {
                Constraints::Unconstrained => (fact("Signs for", "any name")),
                Constraints::CoverCatalog => (fact("Signs for", "the names of the catalog alone")),
                Constraints::Outgrown { names } => (fact("Cannot sign for", &names.join(", "))),
            }
        }))
        (section("Activity log", html! {
            (fact("File", &log.path.to_string_lossy()))
            (fact("Records", &number(log.records)))
            (fact("Lost", &number(log.lost)))
            @if let Some(trouble) = &log.trouble { (fact("Cannot be written", trouble)) }
            @if let Some(to) = &log.set_aside { (fact("A damaged one is at", &to.to_string_lossy())) }
        }))
        @for export in &status.exports {
            (section(&format!("Export {}", crate::printable::clean(&export.name)), html! {
                (fact("To", &export.to))
                (fact("Sent", &number(export.sent)))
                @if let Some(last) = export.last { (when("Last", last, now)) }
                @if let Some(trouble) = &export.trouble { (fact("Trouble", trouble)) }
            }))
        }
    }
}

fn counters(status: &Status) -> Markup {
    let counters = status.steering.counters.iter().filter(|(_, count)| **count > 0);
    html! {
        @if status.steering.counters.values().any(|count| *count > 0) {
            details.counters {
                summary { "What the kernel programs counted" }
                table.list { @for (name, count) in counters { tr { th scope="row" { (Shown(name)) } td.n { (number(*count)) } } } }
            }
        }
    }
}
