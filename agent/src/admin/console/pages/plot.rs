//! Plots as SVG without a script: stacked columns over time, and bars beside names. Colours are the style sheet's.

use std::fmt::Write as _;

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::layout::{local, number};
use crate::record::query::overview::{Actions, Window};

/// Height of the drawing, in its own units.
const HEIGHT: f64 = 100.0;
/// Of the width of a column, what is drawn.
const FILLED: f64 = 0.82;

/// Columns over time, blocked at the bottom. `per`: what a column stands for, in words.
pub(super) fn over_time(window: Window, slots: &[Actions], per: &str) -> Markup {
    let most = slots.iter().map(|slot| slot.sum()).max().unwrap_or(0);
    let top = nice_top(most);
    let all = slots.iter().fold(Actions::default(), |a, b| Actions {
        allow: a.allow + b.allow,
        monitor: a.monitor + b.monitor,
        block: a.block + b.block,
    });
    let summary = format!(
        "{} blocked, {} monitored, {} allowed; at most {most} {per}",
        all.block, all.monitor, all.allow
    );
    let width = slots.len().max(1);
    html! {
        figure.plot {
            div.scale aria-hidden="true" {
                span { (number(top)) } span { (number(top / 2)) } span { "0" }
            }
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(summary) {
                path.grid d={ "M0 0H" (width) "M0 " (HEIGHT / 2.0) "H" (width) } vector-effect="non-scaling-stroke" {}
                (PreEscaped(columns(window, slots, top)))
            }
            div.times aria-hidden="true" {
                @for time in marks(window) { span { (time) } }
            }
        }
    }
}

/// Numbers and times of ours alone: nothing here needs escaping.
fn columns(window: Window, slots: &[Actions], top: u64) -> String {
    let mut drawn = String::new();
    for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.sum() > 0) {
        let time = local(slot_time(window, at, slots.len()), "%m-%d %H:%M");
        let Actions { allow, monitor, block } = *slot;
        let _ =
            write!(drawn, "<g><title>{time}: {block} blocked, {monitor} monitored, {allow} allowed</title>");
        // The whole column is what a pointer finds, also where it is low.
        let _ = write!(drawn, "<rect class=\"whole\" x=\"{at}\" y=\"0\" width=\"1\" height=\"{HEIGHT}\"/>");
        let mut y = HEIGHT;
        for (class, count) in [("block", block), ("monitor", monitor), ("allow", allow)] {
            let height = HEIGHT * count as f64 / top.max(1) as f64;
            y -= height;
            if count > 0 {
                let x = at as f64 + (1.0 - FILLED) / 2.0;
                let _ = write!(
                    drawn,
                    "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{FILLED}\" height=\"{height:.2}\"/>"
                );
            }
        }
        drawn.push_str("</g>");
    }
    drawn
}

fn slot_time(window: Window, at: usize, slots: usize) -> Timestamp {
    let whole = window.until.duration_since(window.since).as_micros();
    let passed = whole * at as i128 / slots.max(1) as i128;
    Timestamp::from_microsecond(window.since.as_microsecond().saturating_add(passed as i64))
        .unwrap_or(window.since)
}

/// Five moments from the first to the last.
fn marks(window: Window) -> Vec<String> {
    let hours = window.until.duration_since(window.since).as_hours();
    // A day alone would stand at any hour of it.
    let form = if hours > 48 { "%a %H:%M" } else { "%H:%M" };
    (0..5).map(|at| local(slot_time(window, at, 4), form)).collect()
}

/// The least of 2, 4, 6, 8, 10, 20, 40, … that is not below: its half is as round.
fn nice_top(most: u64) -> u64 {
    let mut step = 1_u64;
    loop {
        for top in [2, 4, 6, 8, 10] {
            let top = step.saturating_mul(top);
            if top >= most {
                return top;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// A bar as long as its share of the longest.
pub(super) fn bar(count: u64, longest: u64) -> Markup {
    let share = 100.0 * count as f64 / longest.max(1) as f64;
    html! {
        svg.bar viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(format!("{share:.1}")) height="1" {}
        }
    }
}

/// Columns of a histogram, each with its own words beneath.
pub(super) fn histogram(columns: &[(String, u64)], summary: &str) -> Markup {
    let most = columns.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    html! {
        figure.histogram {
            svg viewBox={ "0 0 " (columns.len().max(1)) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(summary) {
                @for (at, (words, count)) in columns.iter().enumerate() {
                    @let height = HEIGHT * *count as f64 / most as f64;
                    g {
                        title { "within " (words) ": " (number(*count)) }
                        rect.whole x=(at) y="0" width="1" height=(HEIGHT) {}
                        rect.neutral x=(format!("{:.2}", at as f64 + 0.09)) y=(format!("{:.2}", HEIGHT - height))
                            width=(FILLED) height=(format!("{height:.2}")) {}
                    }
                }
            }
            div.times aria-hidden="true" {
                @for (at, (words, _)) in columns.iter().enumerate() {
                    @if at % 3 == 0 || at + 1 == columns.len() { span { (words) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (most, top) in
            [(0, 2), (2, 2), (3, 4), (5, 6), (11, 20), (21, 40), (41, 60), (4001, 6000), (u64::MAX, u64::MAX)]
        {
            assert_eq!(nice_top(most), top, "{most}");
        }
    }

    #[test]
    fn columns_stand_in_their_slots_and_say_what_they_count() {
        let window =
            Window { since: Timestamp::UNIX_EPOCH, until: Timestamp::from_second(3600).unwrap(), slots: 60 };
        let mut slots = vec![Actions::default(); 60];
        slots[30] = Actions { allow: 6, monitor: 3, block: 1 };
        let drawn = over_time(window, &slots, "per minute").into_string();
        assert_eq!(drawn.matches("<g>").count(), 1);
        assert!(drawn.contains("1 blocked, 3 monitored, 6 allowed; at most 10 per minute"), "{drawn}");
        assert!(
            drawn.contains("<rect class=\"block\" x=\"30.09\" y=\"90.00\" width=\"0.82\" height=\"10.00\"/>"),
            "{drawn}"
        );
        assert!(
            drawn.contains("<rect class=\"allow\" x=\"30.09\" y=\"0.00\" width=\"0.82\" height=\"60.00\"/>"),
            "{drawn}"
        );
        assert!(!over_time(window, &[], "per minute").into_string().contains("NaN"));
        assert!(!bar(0, 0).into_string().contains("NaN"));
    }
}
