//! The activity log: a form of filters, a table, and the details of one record beside it.

use jiff::Timestamp;
use maud::{Markup, html};

use super::details::{self, Details};
use super::layout::{Page, Shown, Standing, action, moment, number, page, trouble};
use crate::activity::Activity;
use crate::admin::console::query_string::{ACTIONS, Asked, Wrong};
use crate::classify::ActivityType;
use crate::record::query::{Entry, Gap, Position};

/// One page of the log.
#[derive(Debug, Default)]
pub(in crate::admin::console) struct Listing {
    pub(in crate::admin::console) entries: Vec<Entry>,
    pub(in crate::admin::console) next: Option<Position>,
}

/// What there is to show.
pub(in crate::admin::console) struct View<'a> {
    pub(in crate::admin::console) asked: &'a Asked,
    pub(in crate::admin::console) wrong: &'a [Wrong],
    pub(in crate::admin::console) listing: Result<&'a Listing, &'a str>,
    /// Of the record that was asked for. `Ok(None)`: there is none of this id.
    pub(in crate::admin::console) details: Option<Result<Option<Details>, String>>,
    /// Ids and names that the form offers.
    pub(in crate::admin::console) apps: Vec<String>,
    pub(in crate::admin::console) policies: Vec<String>,
}

pub(in crate::admin::console) fn render(standing: &Standing, now: Timestamp, view: View<'_>) -> Markup {
    let View { asked, wrong, listing, details, apps, policies } = view;
    page(
        Page::Activity,
        standing,
        false,
        &html! {
            div.head { h1 { "Activity" } }
            (form(asked, wrong, &apps, &policies))
            @match listing {
                Err(why) => (trouble(why)),
                Ok(listing) => (table(asked, listing, now)),
            }
            @if let Some(details) = details { (details::drawer(details, &asked.without_details(), now)) }
        },
    )
}

fn form(asked: &Asked, wrong: &[Wrong], apps: &[String], policies: &[String]) -> Markup {
    let text = |field: &str, title: &str, hint: &str, list: Option<&str>| {
        let bad = wrong.iter().find(|wrong| wrong.field == field);
        html! {
            label {
                span { (title) }
                input type="text" name=(field) value=(asked.value(field)) placeholder=(hint) list=[list]
                    autocomplete="off" spellcheck="false" aria-invalid=[bad.map(|_| "true")];
                @if let Some(bad) = bad { em role="alert" { (Shown(&bad.why)) } }
            }
        }
    };
    let choice = |field: &str, title: &str, words: &[&str]| {
        html! {
            label {
                span { (title) }
                select name=(field) {
                    option value="" { "any" }
                    @for word in words { option value=(word) selected[asked.value(field) == *word] { (word) } }
                }
            }
        }
    };
    html! {
        form.filters action="/activity" method="get" role="search" {
            (text("user", "User", "name or uid", None))
            (text("app", "App", "app or suite", Some("apps")))
            (choice("type", "Type", &ActivityType::ALL.map(ActivityType::name)))
            (choice("action", "Action", &ACTIONS.map(|action| action.name())))
            (text("file", "File", "*.docx", None))
            (text("policy", "Policy", "any", Some("policies")))
            (text("ip", "Address", "10.0.0.0/8", None))
            (text("device", "Device", "id", None))
            (text("since", "Since", "2h, 2026-03-04", None))
            (text("until", "Until", "now", None))
            div.buttons {
                button type="submit" { "Filter" }
                @if asked.is_filtered() { a.button href="/activity" { "Clear" } }
            }
            datalist id="apps" { @for app in apps { option value=(Shown(app)) {} } }
            datalist id="policies" { @for policy in policies { option value=(Shown(policy)) {} } }
        }
    }
}

fn table(asked: &Asked, listing: &Listing, now: Timestamp) -> Markup {
    html! {
        @if listing.entries.is_empty() {
            p.empty.large {
                @if asked.is_filtered() || asked.before.is_some() { "Nothing matches." }
                @else { "Nothing is on record yet: activities appear here once a policy selects an app that somebody uses." }
            }
        } @else {
            table.log {
                thead {
                    tr {
                        th scope="col" { "Time" } th scope="col" { "User" } th scope="col" { "App" }
                        th scope="col" { "Type" } th scope="col" { "Action" } th scope="col" { "File or path" }
                        th scope="col" { "Policy" }
                    }
                }
                tbody {
                    @for entry in &listing.entries {
                        @match entry {
                            Entry::Activity(activity) => (row(asked, activity, now)),
                            Entry::Gap(gap) => (lost(gap, now)),
                        }
                    }
                }
            }
        }
        nav.pages aria-label="Pages of the log" {
            @if asked.before.is_some() { a.button rel="first" href=(asked.first_page()) { "Newest" } }
            @if let Some(next) = listing.next { a.button rel="next" href=(asked.page(next)) { "Older" } }
        }
    }
}

fn row(asked: &Asked, activity: &Activity, now: Timestamp) -> Markup {
    let uid = activity.user.uid.map(|uid| format!("uid {uid}"));
    let user = activity.user.name.as_deref().or(uid.as_deref()).unwrap_or("unknown");
    let file = activity.file.as_ref().and_then(|file| file.name.as_deref());
    // What was refused before it asked for anything has its reason to show.
    let what = match &*activity.request.path {
        "" => &*activity.decision.reason,
        path => path,
    };
    let is_open = asked.id == Some(activity.id);
    html! {
        tr aria-selected=[is_open.then_some("true")] {
            td.time { (moment(activity.time, now)) }
            td.user { (Shown(user)) }
            td.app { (Shown(&activity.app.id)) }
            td.type { (activity.kind.name()) }
            td.action { (action(activity.decision.action)) }
            td.what {
                a.row href=(asked.with_details(activity.id)) aria-current=[is_open.then_some("true")] { (Shown(file.unwrap_or(what))) }
            }
            td.policy { (Shown(activity.decision.policy.as_deref().unwrap_or("–"))) }
        }
    }
}

fn lost(gap: &Gap, now: Timestamp) -> Markup {
    html! {
        tr.gap {
            td.time { (moment(gap.until, now)) }
            td.what colspan="6" {
                @match gap.count {
                    0 => "Records may be missing: ",
                    1 => "1 record is missing: ",
                    n => { (number(n)) " records are missing: " },
                }
                (Shown(&gap.reason))
            }
        }
    }
}
