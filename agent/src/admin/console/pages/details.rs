//! The drawer with one record: what was decided, by which conditions of which policies, and every fact that was kept.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Shown, action, class, local, size, trouble};
use crate::activity::Activity;
use crate::admin::console::query_string::Asked;
use crate::admin::why::Why;
use crate::policy::{Explanation, PolicyExplained, State};

/// Policies that are shown with their conditions; those that match come first.
const POLICIES_SHOWN: usize = 24;

/// A record, and why it was decided so.
pub(in crate::admin::console) struct Details {
    pub(in crate::admin::console) activity: Box<Activity>,
    pub(in crate::admin::console) why: Why,
}

/// `close`: the address of the page without the drawer.
pub(super) fn drawer(details: Result<Option<Details>, String>, close: &str, now: Timestamp) -> Markup {
    html! {
        a.shade href=(close) tabindex="-1" aria-hidden="true" {}
        aside.drawer aria-label="Details" tabindex="-1" {
            a.close href=(close) aria-label="Close" { "×" }
            @match details {
                Err(why) => (trouble(&why)),
                Ok(None) => p.empty { "No record of this id is in the log." },
                Ok(Some(details)) => (record(&details.activity, &details.why, now)),
            }
        }
    }
}

fn record(activity: &Activity, why: &Why, now: Timestamp) -> Markup {
    let decision = &activity.decision;
    let file = activity.file.as_ref().and_then(|file| file.name.as_deref());
    html! {
        header {
            p { (action(decision.action)) " " (activity.kind.name()) " in " (Shown(&activity.app.name)) }
            h2 { (Shown(file.unwrap_or(&activity.request.path))) }
            p.quiet {
                time datetime=(activity.time) { (local(activity.time, "%A %-d %B %Y, %H:%M:%S%.3f %Z")) }
                @if activity.time > now { " (in the future: the clock was set)" }
            }
        }
        section {
            h3 { "Decision" }
            p { (Shown(&decision.reason)) }
            dl {
                @if let Some(policy) = &decision.policy {
                    (fact("Policy", html! { a href=(Asked::only("policy", policy).address()) { (Shown(policy)) } }))
                }
                (text("Rule", decision.rule.as_deref()))
                (fact("Carried out", html! { @if decision.enforced { "yes" } @else { "no" } }))
                (fact("Took", html! { (decision.micros) " µs" }))
                @if !activity.report_only.is_empty() { (text("Report-only", Some(&activity.report_only.join(", ")))) }
                @if let Some(evaluated) = &activity.evaluated {
                    (text("Known by", Some(&format!("{} ({})", evaluated.why, evaluated.kind.name()))))
                }
            }
        }
        section {
            h3 { "Why" }
            @for caveat in why.caveats(activity) { p.trouble { (Shown(&caveat)) } }
            @if let Why::Policies(explanation) = why { (explained(explanation)) }
        }
        (facts(activity))
        p.quiet { code { "portcullis explain " (activity.id) } }
    }
}

fn explained(explanation: &Explanation) -> Markup {
    let (matched, others): (Vec<_>, Vec<_>) = explanation.policies.iter().partition(|policy| applies(policy));
    let shown: Vec<&PolicyExplained> = matched.into_iter().chain(others).take(POLICIES_SHOWN).collect();
    let more = explanation.policies.len() - shown.len();
    html! {
        @if explanation.policies.is_empty() { p.empty { "There were no policies." } }
        @for policy in shown {
            details.asked open[applies(policy)] {
                summary {
                    span.mark.yes[applies(policy)] { (standing(policy)) }
                    " " strong { (Shown(&policy.name)) }
                    @if let Some(action) = policy.action { " " span class={ "badge " (class(action)) } { (action.name()) } }
                }
                p { (Shown(&policy.why)) }
                table.conditions {
                    @for condition in &policy.conditions {
                        tr { (mark(condition.matched)) th scope="row" { (condition.condition.name()) } td { (Shown(&condition.found)) } td.quiet { (Shown(&condition.why)) } }
                    }
                    @for rule in &policy.rules {
                        tr { (mark(rule.matched)) th scope="row" { "rule" } td { (Shown(&rule.name)) " (" (rule.action.name()) ")" } td.quiet { (Shown(&rule.why)) } }
                    }
                }
                p.quiet { (policy.state.name()) ", " (policy.control.unwrap_or("no session control")) ", " (Shown(&policy.path)) ":" (policy.line) }
            }
        }
        @if more > 0 { p.quiet { "and " (more) " more policies that do not apply" } }
    }
}

/// A disabled policy may match, and does nothing all the same.
fn applies(policy: &PolicyExplained) -> bool {
    policy.matched && policy.state != State::Disabled
}

fn standing(policy: &PolicyExplained) -> &'static str {
    match (policy.state, policy.matched) {
        (State::Disabled, _) => "disabled",
        (State::Enabled | State::ReportOnly, true) => "applies",
        (State::Enabled | State::ReportOnly, false) => "does not apply",
    }
}

fn mark(matched: bool) -> Markup {
    html! { td.mark.yes[matched].no[!matched] { @if matched { "yes" } @else { "no" } } }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { dt { (name) } dd { (value) } }
}

/// Nothing where nothing is known.
fn text(name: &str, value: Option<&str>) -> Markup {
    html! { @if let Some(value) = value.filter(|value| !value.is_empty()) { dt { (name) } dd { (Shown(value)) } } }
}

fn group(title: &str, facts: Markup) -> Markup {
    html! { section { h3 { (title) } dl { (facts) } } }
}

fn facts(activity: &Activity) -> Markup {
    let Activity {
        user, device, process, client, server, request, response, file, content, transfer, ..
    } = activity;
    let list = |words: &[std::sync::Arc<str>]| words.join(", ");
    html! {
        @if let Some(file) = file {
            (group("File", html! {
                (text("Name", file.name.as_deref()))
                (text("Type", file.mime.as_deref()))
                (text("By its content", activity.evaluated.as_ref().and_then(|evaluated| evaluated.file_type.as_deref())))
                (text("Size", file.size.map(size).as_deref()))
                @if let Some(transfer) = transfer {
                    (text("Transfer", Some(transfer.state.name())))
                    (text("Sent", transfer.bytes.map(size).as_deref()))
                }
            }))
        }
        @if let Some(content) = content {
            (group("Content", html! {
                @for found in &content.matches { (text(&found.detector, Some(&found.count.to_string()))) }
                @if content.matches.is_empty() { (text("Found", Some("nothing"))) }
                (text("Not looked at", content.unscanned.as_deref()))
            }))
        }
        (group("Who", html! {
            (text("User", Some(user.name.as_deref().unwrap_or("unknown"))))
            (text("Uid", user.uid.map(|uid| uid.to_string()).as_deref()))
            (text("Groups", Some(&list(&user.groups))))
            (text("Process", process.name.as_deref()))
            (text("Program", process.exe.as_deref()))
            (text("Pid", process.pid.map(|pid| pid.to_string()).as_deref()))
            (text("Unit", process.unit.as_deref()))
            (text("Container", process.container.as_deref()))
            (text("Cgroup", process.cgroup.as_deref()))
        }))
        (group("Device", html! {
            (text("Id", Some(&device.id)))
            (text("State", Some(if device.compliant { "compliant" } else { "not compliant" })))
            (text("Because", device.reason.as_deref()))
            (text("Tags", Some(&list(&device.tags))))
            (text("System", Some(&device.os)))
        }))
        (group("Request", html! {
            (text("Client", Some(&format!("{} port {}", client.address, client.port))))
            (text("Locations", (!client.locations.is_empty()).then(|| list(&client.locations)).as_deref()))
            (text("Client app", Some(client.kind.name())))
            (text("User agent", client.user_agent.as_deref()))
            (text("Server", Some(&format!("{}, {} port {}", server.name, server.address, server.port))))
            (text("Request", Some(&format!("{} {}", request.method, request.path))))
            (text("Host", request.host.as_deref()))
            (text("Version", Some(&request.version)))
            @if let Some(response) = response {
                (text("Status", Some(&response.status.to_string())))
                (text("Media type", response.mime.as_deref()))
                (text("Disposition", response.disposition.as_deref()))
            }
        }))
    }
}
