//! The overview: what went on in the last hour, day or week.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::layout::{Page, Shown, Standing, ago, number, page, seconds, trouble};
use super::plot;
use crate::admin::console::query_string::{Asked, with_value};
use crate::record::metrics::Numbers;
use crate::record::query::overview::{Actions, BlockedFile, Counted, Window};

/// Names in each list.
pub(in crate::admin::console) const LISTED: usize = 8;

/// The stretches that can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::console) enum Range {
    Hour,
    Day,
    Week,
}

impl Range {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// By the word of the address; the hour where it says nothing.
    pub(in crate::admin::console) fn read(word: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| Some(range.word()) == word).unwrap_or(Self::Hour)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Hour => "Hour",
            Self::Day => "Day",
            Self::Week => "Week",
        }
    }

    /// What a column of the plot stands for.
    const fn per(self) -> &'static str {
        match self {
            Self::Hour => "per minute",
            Self::Day => "per 15 minutes",
            Self::Week => "per 2 hours",
        }
    }

    /// The stretch that ends now, or rather with the column that now is in: columns keep their places from look to look.
    pub(in crate::admin::console) fn window(self, now: Timestamp) -> Window {
        let (width, slots) = match self {
            Self::Hour => (60, 60),
            Self::Day => (15 * 60, 96),
            Self::Week => (2 * 3600, 84),
        };
        let until = (now.as_second().div_euclid(width) + 1) * width;
        let at = |second| Timestamp::from_second(second).unwrap_or(now);
        Window { since: at(until - width * slots), until: at(until), slots: slots as usize }
    }
}

/// What the log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::admin::console) struct Counts {
    pub(in crate::admin::console) slots: Vec<Actions>,
    pub(in crate::admin::console) apps: Vec<Counted>,
    pub(in crate::admin::console) users: Vec<Counted>,
    pub(in crate::admin::console) files: Vec<BlockedFile>,
}

pub(in crate::admin::console) fn render(
    standing: &Standing,
    range: Range,
    now: Timestamp,
    counts: Result<&Counts, &str>,
    numbers: &Numbers,
) -> Markup {
    let window = range.window(now);
    let empty = Counts::default();
    let (counts, why) = match counts {
        Ok(counts) => (counts, None),
        Err(why) => (&empty, Some(why)),
    };
    let sum = |of: fn(&Actions) -> u64| counts.slots.iter().map(of).sum::<u64>();
    let verdicts: u64 = numbers.verdicts.iter().map(|(_, count)| count).sum();
    let since = range.word();
    page(
        Page::Overview,
        standing,
        true,
        &html! {
            div.head {
                h1 { "Overview" }
                nav.tabs aria-label="Time" {
                    @for one in Range::ALL {
                        a href=(with_value("/", "range", one.word())) aria-current=[(one == range).then_some("true")] { (one.title()) }
                    }
                }
            }
            @if let Some(why) = why { (trouble(why)) }
            ul.tiles {
                (tile("Activities", &number(sum(|slot| slot.sum())), &all(since, "")))
                (tile("Blocked", &number(sum(|slot| slot.block)), &all(since, "block")))
                (tile("Monitored", &number(sum(|slot| slot.monitor)), &all(since, "monitor")))
                (tile("Open connections", &number(numbers.active_connections), "/apps"))
                (tile("Verdicts within", &quantile(numbers, 0.5).map_or("–".to_owned(), seconds), "#latency"))
                (tile("Records lost", &number(numbers.lost), "/health"))
            }
            section.panel aria-labelledby="plot" {
                h2 id="plot" { "Activities " (range.per()) }
                p.legend {
                    span.block { "blocked" } " " span.monitor { "monitored" } " " span.allow { "allowed" }
                }
                (plot::over_time(window, &counts.slots, range.per()))
            }
            div.panels {
                (names("Top apps", "app", &counts.apps, since))
                (names("Top users", "user", &counts.users, since))
                (files(&counts.files, now, since))
                section.panel aria-labelledby="latency" {
                    h2 id="latency" { "Time to a verdict" }
                    @if verdicts == 0 {
                        p.empty { "Nothing was decided since the agent started." }
                    } @else {
                        p.note {
                            "half within " (quantile(numbers, 0.5).map_or(String::new(), seconds))
                            ", 99 of 100 within " (quantile(numbers, 0.99).map_or(String::new(), seconds))
                            ", of " (number(verdicts)) " since the agent started"
                        }
                        (plot::histogram(&columns(numbers), "how many verdicts took how long"))
                    }
                }
            }
        },
    )
}

/// The log of a stretch, of one action or of all.
fn all(since: &str, action: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("since", since).finish();
    match action {
        "" => format!("/activity?{query}"),
        action => format!("/activity?{query}&action={action}"),
    }
}

fn tile(name: &str, value: &str, to: &str) -> Markup {
    html! { li { a.tile href=(to) { span.name { (name) } " " span.value { (value) } } } }
}

fn names(title: &str, field: &str, counted: &[Counted], since: &str) -> Markup {
    let longest = counted.iter().map(|one| one.count).max().unwrap_or(0);
    html! {
        section.panel {
            h2 { (title) }
            @if counted.is_empty() { p.empty { "Nothing in this time." } }
            @else {
                table.bars {
                    @for one in counted {
                        tr {
                            th scope="row" { a href={ (Asked::only(field, &one.name).address()) "&since=" (since) } { (Shown(&one.name)) } }
                            td.graph { (plot::bar(one.count, longest)) }
                            td.n { (number(one.count)) }
                        }
                    }
                }
            }
        }
    }
}

fn files(files: &[BlockedFile], now: Timestamp, since: &str) -> Markup {
    html! {
        section.panel {
            h2 { "Blocked files" }
            @if files.is_empty() { p.empty { "No file was blocked in this time." } }
            @else {
                table.list {
                    @for file in files {
                        tr {
                            th scope="row" {
                                a href={ (Asked::only("file", &file.file).address()) "&action=block&since=" (since) } { (Shown(&file.file)) }
                            }
                            td.quiet { (Shown(&file.app)) }
                            td.quiet { (ago(file.last, now)) }
                            td.n { (number(file.count)) }
                        }
                    }
                }
            }
        }
    }
}

/// The bound within which this share of the verdicts was reached, in seconds.
fn quantile(numbers: &Numbers, share: f64) -> Option<f64> {
    let all: u64 = numbers.verdicts.iter().map(|(_, count)| count).sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    numbers.verdicts.iter().filter(|_| all > 0).find_map(|(bound, count)| {
        seen += count;
        (seen >= wanted).then_some(*bound)
    })
}

fn columns(numbers: &Numbers) -> Vec<(String, u64)> {
    let words = |bound: f64| if bound.is_finite() { seconds(bound) } else { "more".to_owned() };
    numbers.verdicts.iter().map(|(bound, count)| (words(*bound), *count)).collect()
}

impl Range {
    /// The last day, over which policies are counted.
    pub(in crate::admin::console) fn last_day(now: Timestamp) -> Window {
        let since = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::UNIX_EPOCH);
        Window { since, until: now, slots: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_with_the_column_that_now_is_in() {
        let now: Timestamp = "2026-03-04T12:34:56Z".parse().unwrap();
        for (range, since, until) in [
            (Range::Hour, "2026-03-04T11:35:00Z", "2026-03-04T12:35:00Z"),
            (Range::Day, "2026-03-03T12:45:00Z", "2026-03-04T12:45:00Z"),
            (Range::Week, "2026-02-25T14:00:00Z", "2026-03-04T14:00:00Z"),
        ] {
            let window = range.window(now);
            assert_eq!((window.since.to_string(), window.until.to_string()), (since.into(), until.into()));
            assert_eq!(Range::read(Some(range.word())), range);
        }
        assert_eq!(Range::read(Some("9y")), Range::Hour);
    }

    #[test]
    fn quantiles_are_the_bounds_that_hold_them() {
        let of = |verdicts: &[(f64, u64)]| Numbers { verdicts: verdicts.to_vec(), ..Numbers::default() };
        let numbers = of(&[(1.0, 50), (2.0, 49), (f64::INFINITY, 1)]);
        assert_eq!(
            (quantile(&numbers, 0.5), quantile(&numbers, 0.99), quantile(&numbers, 1.0)),
            (Some(1.0), Some(2.0), Some(f64::INFINITY))
        );
        assert_eq!(quantile(&of(&[(1.0, 0)]), 0.5), None);
    }
}
