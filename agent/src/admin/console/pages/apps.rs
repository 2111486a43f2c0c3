//! The apps that policies select, how they are used, and the sites beside them that no app owns.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{Page, Shown, Standing, ago, number, page, trouble};
use crate::admin::apps::{AppRow, AppStatus};
use crate::admin::console::query_string::Asked;
use crate::record::query::Discovered;

/// Rows of each table.
const SHOWN: usize = 500;

/// What there is to show.
#[derive(Debug, Default)]
pub(in crate::admin::console) struct Apps {
    pub(in crate::admin::console) rows: Vec<AppRow>,
    pub(in crate::admin::console) discovered: Vec<Discovered>,
}

pub(in crate::admin::console) fn render(
    standing: &Standing,
    now: Timestamp,
    apps: Result<&Apps, &str>,
) -> Markup {
    page(
        Page::Apps,
        standing,
        false,
        &html! {
            div.head { h1 { "Apps" } }
            @match apps {
                Err(why) => (trouble(why)),
                Ok(apps) => {
                    (selected(&apps.rows, now))
                    h2 id="discovered" { "Discovered" }
                    p.note { "Sites that no app owns, seen beside one: pages that made requests to it, where it redirects, where its sign-ins return." }
                    (discovered(&apps.discovered, now))
                }
            }
        },
    )
}

fn selected(rows: &[AppRow], now: Timestamp) -> Markup {
    let mut rows: Vec<&AppRow> = rows.iter().collect();
    rows.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.id.cmp(&b.id)));
    html! {
        @if rows.is_empty() { p.empty.large { "No policy selects an app." } }
        @else {
            table.wide {
                thead { tr {
                    th scope="col" { "App" } th scope="col" { "Suite" } th scope="col" { "Category" } th scope="col" { "Status" }
                    th.n scope="col" { "Sessions" } th.n scope="col" { "Users" }
                    th.n scope="col" { "Allowed" } th.n scope="col" { "Blocked" }
                    th scope="col" { "First seen" } th scope="col" { "Last seen" }
                } }
                tbody {
                    @for row in rows.iter().take(SHOWN) {
                        tr {
                            th scope="row" {
                                a href=(Asked::only("app", &row.id).address()) { (Shown(&row.name)) }
                                " " span.quiet { (Shown(&row.id)) }
                            }
                            td data-name="Suite" { (Shown(row.suite.as_deref().unwrap_or("–"))) }
                            td data-name="Category" { (Shown(row.category.as_deref().unwrap_or("–"))) }
                            td data-name="Status" { (status(row.status)) }
                            td.n data-name="Sessions" { (number(row.sessions)) }
                            td.n data-name="Users" { (number(row.users)) }
                            td.n data-name="Allowed" { (number(row.downloads_allowed)) }
                            td.n data-name="Blocked" { (number(row.downloads_blocked)) }
                            td data-name="First seen" { (seen(row.first_seen, now)) }
                            td data-name="Last seen" { (seen(row.last_seen, now)) }
                        }
                    }
                }
            }
            (more(rows.len()))
        }
    }
}

fn status(status: AppStatus) -> Markup {
    let class = match status {
        AppStatus::Connected => "badge good",
        AppStatus::Waiting => "badge idle",
        AppStatus::Bypassed => "badge monitor",
    };
    html! { span class=(class) { (status.name()) } }
}

fn seen(time: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { @match time { Some(time) => (ago(time, now)), None => "–" } }
}

fn discovered(rows: &[Discovered], now: Timestamp) -> Markup {
    html! {
        @if rows.is_empty() { p.empty { "None were seen." } }
        @else {
            table.wide {
                thead { tr {
                    th scope="col" { "Site" } th scope="col" { "Beside" } th scope="col" { "By" }
                    th.n scope="col" { "Count" } th scope="col" { "Last seen" }
                } }
                tbody {
                    @for row in rows.iter().take(SHOWN) {
                        tr {
                            th scope="row" { (Shown(&row.domain)) }
                            td data-name="Beside" { (Shown(&row.app)) }
                            td data-name="By" { (Shown(&row.via)) }
                            td.n data-name="Count" { (number(row.count)) }
                            td data-name="Last seen" { (ago(row.last_seen, now)) }
                        }
                    }
                }
            }
            (more(rows.len()))
        }
    }
}

fn more(rows: usize) -> Markup {
    html! { @if rows > SHOWN { p.note { "and " (rows - SHOWN) " more, which " code { "portcullis apps" } " lists" } } }
}
