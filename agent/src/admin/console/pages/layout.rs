//! What all pages share: head, navigation, and texts and numbers fit to be shown.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use maud::{DOCTYPE, Markup, Render, html};

use crate::policy::decision::Action;
use crate::printable::clean;

/// The pages that the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::console) enum Page {
    Overview,
    Activity,
    Apps,
    Policies,
    Health,
}

impl Page {
    const ALL: [Self; 5] = [Self::Overview, Self::Activity, Self::Apps, Self::Policies, Self::Health];

    const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Activity => "Activity",
            Self::Apps => "Apps",
            Self::Policies => "Policies",
            Self::Health => "Health",
        }
    }

    pub(in crate::admin::console) const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Activity => "/activity",
            Self::Apps => "/apps",
            Self::Policies => "/policies",
            Self::Health => "/health",
        }
    }
}

/// How the agent is, as every page says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::admin::console) struct Standing {
    pub(in crate::admin::console) version: String,
    /// Names of parts that are not well; `None` when it cannot be told.
    pub(in crate::admin::console) unwell: Option<Vec<&'static str>>,
    pub(in crate::admin::console) device: String,
}

/// A whole page. `refresh`: its script fetches it again while somebody looks.
pub(super) fn page(page: Page, standing: &Standing, refresh: bool, main: &Markup) -> Markup {
    document(
        page.title(),
        &html! {
            a.skip href="#main" { "Skip to content" }
            header.top {
                a.brand href="/" {
                    svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true" {
                        path d="M2 15V6a6 6 0 0 1 12 0v9h-2V6H9v9H7V6H4v9z M3 9h10v1.5H3z" fill="currentColor" {}
                    }
                    span { "Portcullis" }
                }
                nav aria-label="Pages" {
                    @for one in Page::ALL {
                        a href=(one.path()) aria-current=[(one == page).then_some("page")] { (one.title()) }
                    }
                }
                p.standing { (standing_of(standing)) }
            }
            main id="main" tabindex="-1" data-refresh=[refresh.then_some("10")] { (main) }
            footer {
                span { "portcullis " (Shown(&standing.version)) }
                span { "This page changes nothing. Times are those of this host." }
            }
        },
    )
}

fn standing_of(standing: &Standing) -> Markup {
    html! {
        @if !standing.device.is_empty() { span.device { (Shown(&standing.device)) } " " }
        a href=(Page::Health.path()) {
            @match standing.unwell.as_deref() {
                None => span.badge.bad { "no answer" },
                Some([]) => span.badge.good { "all well" },
                Some([one]) => span.badge.bad { (*one) },
                Some(several) => span.badge.bad { (several.len()) " parts not well" },
            }
        }
    }
}

/// A page outside the navigation: before somebody is let in, and when something went wrong.
pub(in crate::admin::console) fn notice(title: &str, text: &Markup) -> Markup {
    document(title, &html! { main.notice id="main" { h1 { (title) } (text) } })
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Portcullis" }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/console.css";
                script src="/static/console.js" defer {}
            }
            body { (body) }
        }
    }
}

/// Text of somewhere else: cleaned, then escaped.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        clean(self.0).as_ref().render_to(buffer);
    }
}

/// Text of several lines, each of them cleaned.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl Render for Lines<'_> {
    fn render_to(&self, buffer: &mut String) {
        for line in self.0.lines() {
            Shown(line).render_to(buffer);
            buffer.push('\n');
        }
    }
}

/// A number with thin spaces between groups of three.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{202F}');
        }
        shown.push(digit);
    }
    shown
}

/// A size in bytes, as people say it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if bytes < 1024 { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A duration in seconds, in the unit that fits.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{} µs", round(s * 1e6)),
        s if s < 1.0 => format!("{} ms", round(s * 1e3)),
        s => format!("{} s", round(s)),
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

pub(super) fn local(time: Timestamp, form: &str) -> String {
    ZonedDateTime::new(time, TimeZone::system()).strftime(form).to_string()
}

/// A moment: the time of day, with the date where it is another day, and all of it for who points at it.
pub(super) fn moment(time: Timestamp, now: Timestamp) -> Markup {
    let day = |time| local(time, "%Y-%m-%d");
    let shown = match day(time) == day(now) {
        true => local(time, "%H:%M:%S"),
        false => local(time, "%Y-%m-%d %H:%M:%S"),
    };
    html! { time datetime=(time) title=(time) { (shown) } }
}

/// How long ago, as people say it.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> Markup {
    let passed = now.duration_since(time).max(SignedDuration::ZERO);
    let shown = match (passed.as_secs(), passed.as_mins(), passed.as_hours()) {
        (s, 0, _) => format!("{s} s ago"),
        (_, m, 0) => format!("{m} min ago"),
        (_, _, h @ 1..48) => format!("{h} h ago"),
        (_, _, h) => format!("{} days ago", h / 24),
    };
    html! { time datetime=(time) title=(local(time, "%Y-%m-%d %H:%M:%S")) { (shown) } }
}

pub(super) fn action(action: Action) -> Markup {
    html! { span class={ "badge " (class(action)) } { (action.name()) } }
}

pub(super) const fn class(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Monitor => "monitor",
        Action::Block => "block",
    }
}

/// Why there is less on the page than there should be.
pub(super) fn trouble(why: &str) -> Markup {
    html! { p.trouble role="alert" { (Shown(why)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_read_them() {
        assert_eq!((number(0), number(999), number(1000)), ("0".into(), "999".into(), "1\u{202F}000".into()));
        assert_eq!(number(12_345_678), "12\u{202F}345\u{202F}678");
        assert_eq!(
            (size(0), size(1023), size(1024), size(5 << 30)),
            ("0 B".into(), "1023 B".into(), "1.0 KiB".into(), "5.0 GiB".into())
        );
        assert_eq!(
            (seconds(2.5e-6), seconds(1e-5), seconds(0.25), seconds(1.0)),
            ("2.5 µs".into(), "10 µs".into(), "250 ms".into(), "1 s".into())
        );
    }

    #[test]
    fn nothing_of_a_text_is_markup_or_reorders_the_page() {
        let shown =
            html! { p title=(Shown("\"><script>")) { (Shown("<img src=x>\u{202E}fdp.exe")) } }.into_string();
        assert_eq!(html! { (Lines("a <\n\u{1b}b")) }.into_string(), "a &lt;\n\u{FFFD}b\n");
        assert_eq!(shown, "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;img src=x&gt;\u{FFFD}fdp.exe</p>");
    }
}
