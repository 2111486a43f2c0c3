//! `portcullis apps`: every app that a policy selects and how it is used; with `--discovered`, the sites beside them.
//! Asks the daemon; without one the files and the activity log say what they know.

use std::io::{self, Write};
use std::process::ExitCode;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::de::DeserializeOwned;
use unicode_width::UnicodeWidthStr as _;

use super::output::{Column, Format, ListWriter, OutputArgs};
use super::status::TIMEOUT;
use super::terminal::{Colour, Screen, clean, column, cut};
use crate::admin::apps::{self, AppRow, AppStatus};
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::app::{ACTIVITY_LOG, CONTROL_SOCKET};
use crate::config::Paths;
use crate::record::query::{Discovered, QueryError, Reader};
use crate::reload::Snapshot;

/// List monitored apps, or sites that no app owns. Counts are since the activity log began.
#[derive(Debug, Clone, clap::Args)]
pub struct AppsArgs {
    /// Sites seen beside apps, by referrer, redirect or sign-in, that no app owns
    #[arg(long)]
    pub discovered: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

const APP_COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("suite", "/suite"),
    ("category", "/category"),
    ("status", "/status"),
    ("available_controls", "/available_controls"),
    ("policies", "/policies"),
    ("first_seen", "/first_seen"),
    ("last_seen", "/last_seen"),
    ("sessions", "/sessions"),
    ("users", "/users"),
    ("downloads_allowed", "/downloads_allowed"),
    ("downloads_blocked", "/downloads_blocked"),
];
const DISCOVERED_COLUMNS: &[Column] = &[
    ("domain", "/domain"),
    ("app", "/app"),
    ("via", "/via"),
    ("count", "/count"),
    ("first_seen", "/first_seen"),
    ("last_seen", "/last_seen"),
];

/// `files` reads the configuration, and says what is wrong with it.
pub(super) fn run(args: &AppsArgs, paths: &Paths, files: impl FnOnce() -> Option<Snapshot>) -> ExitCode {
    let screen = Screen::of_stdout();
    let shown = if args.discovered {
        list(Command::Discovered, paths, files, |snapshot, log| match log {
            Some(log) => apps::discovered(snapshot, log),
            None => Ok(Vec::new()),
        })
        .map(|rows| {
            show(&rows, args.output.format(), DISCOVERED_COLUMNS, |out| discovered_table(&rows, screen, out))
        })
    } else {
        list(Command::Apps, paths, files, apps::rows)
            .map(|rows| show(&rows, args.output.format(), APP_COLUMNS, |out| table(&rows, screen, out)))
    };
    match shown {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Err(error)) => failed(&error.to_string()),
        Err(Fault::Files) => ExitCode::from(super::USAGE),
        Err(Fault::Ask(error)) => failed(&error.to_string()),
        Err(Fault::Log(error)) => failed(&error.to_string()),
    }
}

enum Fault {
    Ask(AskError),
    Log(QueryError),
    /// The files are wrong, and it has been said.
    Files,
}

fn failed(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "portcullis: {}", clean(why));
    ExitCode::FAILURE
}

fn list<T: DeserializeOwned>(
    command: Command,
    paths: &Paths,
    files: impl FnOnce() -> Option<Snapshot>,
    read: impl FnOnce(&Snapshot, Option<&Reader>) -> Result<Vec<T>, QueryError>,
) -> Result<Vec<T>, Fault> {
    match ask(&paths.run.join(CONTROL_SOCKET), &command, TIMEOUT) {
        Err(AskError::NotRunning(_)) => {}
        Ok(rows) => return Ok(rows),
        Err(error) => return Err(Fault::Ask(error)),
    }
    let _ = writeln!(io::stderr(), "The agent is not running: apps are shown as the files select them.");
    let snapshot = files().ok_or(Fault::Files)?;
    match super::log::open(&paths.state.join(ACTIVITY_LOG)) {
        Ok(log) => read(&snapshot, Some(&log)),
        Err(QueryError::Missing(_)) => read(&snapshot, None),
        Err(error) => Err(error),
    }
    .map_err(Fault::Log)
}

fn show<T: serde::Serialize>(
    rows: &[T],
    format: Format,
    columns: &'static [Column],
    table: impl FnOnce(&mut io::BufWriter<io::StdoutLock<'_>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if format == Format::Table {
        table(&mut out)?;
    } else {
        let mut list = ListWriter::begin(format, columns, &mut out)?;
        for row in rows {
            list.row(row)?;
        }
        list.end()?;
    }
    out.flush()
}

/// Widths of the columns that are always there or come with the name, with the blanks between them.
const FIXED: usize = 10 + 1 + 16 + 1 + 16 + 1 + 8 + 1 + 6 + 1 + 8 + 1 + 8;
/// From these widths on there is room for name and first use, for suite and category, for the controls.
const NARROW: usize = 120;
const SHOWS_SUITE: usize = 150;
const SHOWS_CONTROLS: usize = 180;
const ID_WIDTH: usize = 18;
const NAME_MAX: usize = 40;
const SUITE_WIDTH: usize = 12;
const CATEGORY_WIDTH: usize = 13;
const CONTROLS_WIDTH: usize = 35;

/// Widths of the columns that the screen decides about; what is 0 wide is left out.
struct Widths {
    id: usize,
    name: usize,
    suite: usize,
    category: usize,
    controls: bool,
}

impl Widths {
    fn of(rows: &[AppRow], screen: Screen) -> Self {
        let Some(width) = screen.width else {
            // What reads a pipe gets whole values.
            let widest = |value: fn(&AppRow) -> &str, least: usize| {
                rows.iter().map(|row| clean(value(row)).width()).max().unwrap_or(0).max(least)
            };
            return Self {
                id: widest(|row| &row.id, ID_WIDTH),
                name: widest(|row| &row.name, "NAME".len()),
                suite: widest(|row| or_dash(row.suite.as_deref()), SUITE_WIDTH),
                category: widest(|row| or_dash(row.category.as_deref()), CATEGORY_WIDTH),
                controls: true,
            };
        };
        let (suite, category) = if width >= SHOWS_SUITE { (SUITE_WIDTH, CATEGORY_WIDTH) } else { (0, 0) };
        let controls = width >= SHOWS_CONTROLS;
        let beside = [suite, category, if controls { CONTROLS_WIDTH } else { 0 }];
        let taken: usize = beside.iter().filter(|width| **width > 0).map(|width| width + 1).sum();
        let name = if width >= NARROW { (width - FIXED - ID_WIDTH - 2 - taken).min(NAME_MAX) } else { 0 };
        Self { id: ID_WIDTH, name, suite, category, controls }
    }
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn table(rows: &[AppRow], screen: Screen, out: &mut impl Write) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "No policy selects an app.");
    }
    let widths = Widths::of(rows, screen);
    let line = |cells: [&str; 11]| {
        let [id, title, suite, category, status, first, last, sessions, users, downloads, controls] = cells;
        let mut line = column(id, widths.id);
        for (text, width) in [(title, widths.name), (suite, widths.suite), (category, widths.category)] {
            if width > 0 {
                line = format!("{line} {}", column(text, width));
            }
        }
        line = format!("{line} {} ", column(status, 10));
        if widths.name > 0 {
            line += &format!("{} ", column(first, 16));
        }
        line += &format!("{} {sessions:>8} {users:>6} {downloads}", column(last, 16));
        if widths.controls {
            line = format!("{line} {controls}");
        }
        screen.width.map_or_else(|| line.trim_end().to_owned(), |width| cut(line.trim_end(), width))
    };
    let head = line([
        "ID",
        "NAME",
        "SUITE",
        "CATEGORY",
        "STATUS",
        "FIRST SEEN",
        "LAST SEEN",
        "SESSIONS",
        "USERS",
        " ALLOWED  BLOCKED",
        "CONTROLS",
    ]);
    writeln!(out, "{}", screen.paint(Colour::Bold, &head))?;
    for row in rows {
        let downloads = format!("{:>8} {:>8}", row.downloads_allowed, row.downloads_blocked);
        let controls = row.available_controls.join(" ");
        let text = line([
            &row.id,
            &row.name,
            or_dash(row.suite.as_deref()),
            or_dash(row.category.as_deref()),
            row.status.name(),
            &local(row.first_seen),
            &local(row.last_seen),
            &row.sessions.to_string(),
            &row.users.to_string(),
            &downloads,
            or_dash((!controls.is_empty()).then_some(&controls)),
        ]);
        let colour = match row.status {
            AppStatus::Connected => None,
            AppStatus::Waiting => Some(Colour::Dim),
            AppStatus::Bypassed => Some(Colour::Yellow),
        };
        match colour {
            Some(colour) => writeln!(out, "{}", screen.paint(colour, &text))?,
            None => writeln!(out, "{text}")?,
        }
    }
    Ok(())
}

fn discovered_table(rows: &[Discovered], screen: Screen, out: &mut impl Write) -> io::Result<()> {
    let width = screen.width.unwrap_or(usize::MAX);
    let domain = width.saturating_sub(22 + 9 + 8 + 16 + 4).min(60);
    let line = |cells: [&str; 5]| {
        let [name, app, via, count, last] = cells;
        format!("{} {} {} {count:>8} {last}", column(name, domain), column(app, 22), column(via, 9))
    };
    let head = line(["DOMAIN", "BESIDE", "BY", "COUNT", "LAST SEEN"]);
    writeln!(out, "{}", screen.paint(Colour::Bold, &cut(&head, width)))?;
    for row in rows {
        let text =
            line([&row.domain, &row.app, &row.via, &row.count.to_string(), &local(Some(row.last_seen))]);
        writeln!(out, "{}", cut(&text, width))?;
    }
    Ok(())
}

fn local(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| ZonedDateTime::new(time, TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests;
