//! Activities as aligned columns that fit the terminal, times in local time.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::activity::Activity;
use crate::cli::terminal::{Colour, Screen, clean, column, cut};
use crate::policy::decision::Action;
use crate::record::query::Gap;

/// From this width on there is room for the policy, and for the id that `explain` takes.
const SHOWS_POLICY: usize = 100;
const SHOWS_ID: usize = 150;
const ID_WIDTH: usize = 36;
const ACTION_WIDTH: usize = 7;
const TYPE_WIDTH: usize = 14;
/// Fits `2026-03-04 05:06:07`, and without the year.
const TIME_WIDTH: usize = 19;
const SHORT_TIME_WIDTH: usize = 14;

pub(super) struct Table {
    screen: Screen,
    zone: TimeZone,
    time: usize,
    user: usize,
    app: usize,
    what: usize,
    policy: usize,
    id: bool,
}

impl Table {
    pub(super) fn for_screen(screen: Screen) -> Self {
        let Some(width) = screen.width else {
            return Self {
                screen,
                zone: TimeZone::system(),
                time: TIME_WIDTH,
                user: 12,
                app: 16,
                what: 40,
                policy: 30,
                id: true,
            };
        };
        let wide = width >= SHOWS_POLICY;
        let (time, user, app) = if wide { (TIME_WIDTH, 12, 16) } else { (SHORT_TIME_WIDTH, 8, 10) };
        let id = width >= SHOWS_ID;
        // Each column but the last is followed by a blank.
        let fixed = time + user + app + TYPE_WIDTH + ACTION_WIDTH + 5 + if id { ID_WIDTH + 1 } else { 0 };
        let rest = width.saturating_sub(fixed);
        let policy = if wide { rest * 2 / 5 } else { 0 };
        let what = rest - policy - usize::from(policy > 0);
        Self { screen, zone: TimeZone::system(), time, user, app, what, policy, id }
    }

    pub(super) fn head(&self) -> String {
        let line = self.line(["TIME", "USER", "APP", "TYPE", "ACTION", "FILE OR PATH", "POLICY", "ID"], None);
        self.screen.paint(Colour::Bold, &line).into_owned()
    }

    pub(super) fn row(&self, activity: &Activity) -> String {
        let uid = activity.user.uid.map(|uid| format!("uid:{uid}"));
        let user = activity.user.name.as_deref().or(uid.as_deref()).unwrap_or("-");
        let file = activity.file.as_ref().and_then(|file| file.name.as_deref());
        let action = activity.decision.action;
        let id = activity.id.to_string();
        // A connection that was refused before it asked for anything has its reason to show.
        let what = match &*activity.request.path {
            "" => &activity.decision.reason,
            path => path,
        };
        let cells = [
            &self.local(activity.time),
            user,
            &activity.app.id,
            activity.kind.name(),
            action.name(),
            file.unwrap_or(what),
            activity.decision.policy.as_deref().unwrap_or("-"),
            &id,
        ];
        let colour = match action {
            Action::Allow => None,
            Action::Monitor => Some(Colour::Yellow),
            Action::Block => Some(Colour::Red),
        };
        self.line(cells, colour)
    }

    pub(super) fn gap(&self, gap: &Gap) -> String {
        let time = self.local(gap.until);
        let what = match gap.count {
            0 => format!("{time} records may be missing: {}", gap.reason),
            1 => format!("{time} 1 record is missing: {}", gap.reason),
            n => format!("{time} {n} records are missing: {}", gap.reason),
        };
        let what = self.screen.width.map_or_else(|| clean(&what).into_owned(), |width| cut(&what, width));
        self.screen.paint(Colour::Yellow, &what).into_owned()
    }

    fn line(&self, cells: [&str; 8], action: Option<Colour>) -> String {
        let [time, user, app, kind, verdict, what, policy, id] = cells;
        let verdict = column(verdict, ACTION_WIDTH);
        let verdict = match action {
            Some(colour) => self.screen.paint(colour, &verdict).into_owned(),
            None => verdict,
        };
        let mut line = [
            self.fit(time, self.time),
            self.fit(user, self.user),
            self.fit(app, self.app),
            self.fit(kind, TYPE_WIDTH),
            verdict,
        ]
        .join(" ");
        if self.what > 0 {
            line.push(' ');
            line.push_str(&self.fit(what, self.what));
        }
        if self.policy > 0 {
            line.push(' ');
            line.push_str(&self.fit(policy, self.policy));
        }
        if self.id {
            line.push(' ');
            line.push_str(id);
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// Aligned; cut only where there is an edge to run over.
    fn fit(&self, text: &str, width: usize) -> String {
        let aligned = column(text, width);
        if self.screen.width.is_none() && aligned.ends_with('…') {
            clean(text).into_owned()
        } else {
            aligned
        }
    }

    fn local(&self, time: Timestamp) -> String {
        let format = if self.time >= TIME_WIDTH { "%Y-%m-%d %H:%M:%S" } else { "%m-%d %H:%M:%S" };
        ZonedDateTime::new(time, self.zone.clone()).strftime(format).to_string()
    }
}
