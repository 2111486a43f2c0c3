//! `portcullis activity`: the activity log, filtered, newest first, or followed. Reads the file; needs no daemon.

mod table;
pub(super) mod time;

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::json;

use crate::classify::ActivityType;
use crate::cli::terminal::{Screen, clean, clean_json};
use crate::policy::decision::Action;
use crate::record::query::{Cursor, Entry, Filter, QueryError, Reader};

/// How often a follower looks.
const POLL: Duration = Duration::from_millis(200);
/// What a follower is shown of the past when it did not say.
const FOLLOW_SHOWS: usize = 10;
/// Of the past, a follower is shown so much at most: it has to be turned round in memory.
const FOLLOW_PAST_MAX: usize = 10_000;
/// What fits a scroll-back; output that is no terminal, or JSON, is never cut without being asked for.
const TERMINAL_SHOWS: usize = 200;

/// Show recorded activities, newest first. Filters are joined by AND.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ActivityArgs {
    /// Name or uid of the user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Id of the app, or of its suite
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    /// download, upload, sign-in, sign-in-failed, message, share, print, view, none
    #[arg(long = "type", value_name = "TYPE", value_parser = activity_type)]
    pub kind: Option<ActivityType>,
    /// allow, monitor, block
    #[arg(long, value_name = "ACTION", value_parser = action)]
    pub action: Option<Action>,
    /// Address of the client, or a network such as 10.0.0.0/8
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    pub ip: Option<IpNet>,
    /// Id of the device
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// At or after: RFC 3339, a local date or date and time, or how long ago: 30m, 1h, 2d
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<Timestamp>,
    /// At or before; the same forms
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<Timestamp>,
    /// Name of the policy that decided
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Name of the file; * is any text, ? any character
    #[arg(long, value_name = "PATTERN")]
    pub file: Option<String>,
    /// Show at most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Show the latest, then each as it is recorded
    #[arg(long, short)]
    pub follow: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl ActivityArgs {
    fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            app: self.app.clone(),
            kind: self.kind,
            action: self.action,
            network: self.ip,
            device: self.device.clone(),
            since: self.since,
            until: self.until,
            policy: self.policy.clone(),
            file: self.file.clone(),
            limit: self.limit,
        }
    }
}

/// Shows the log at `log` on standard output.
pub fn run(args: &ActivityArgs, log: &Path) -> ExitCode {
    let screen = Screen::of_stdout();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let shown = if args.follow {
        follow(args, log, screen, &mut out, |_| true)
    } else {
        list(args, log, screen, &mut out)
    };
    match shown.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // `activity | head` is no failure.
        Err(ShowError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "portcullis: {}", clean(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ShowError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Writes entries in the form asked for.
struct Printer<'a, W> {
    json: bool,
    table: table::Table,
    out: &'a mut W,
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(args: &ActivityArgs, screen: Screen, out: &'a mut W) -> io::Result<Self> {
        let table = table::Table::for_screen(screen);
        if !args.json {
            writeln!(out, "{}", table.head())?;
        }
        Ok(Self { json: args.json, table, out })
    }

    fn print(&mut self, entry: &Entry) -> io::Result<()> {
        let line = match entry {
            Entry::Activity(activity) if self.json => serde_json::to_string(activity)?,
            Entry::Gap(gap) if self.json => {
                // Same keys for type and time as an activity, so that a reader can tell them apart and place them.
                json!({"type": "gap", "time": gap.until, "since": gap.since, "count": gap.count, "reason": gap.reason})
                    .to_string()
            }
            Entry::Activity(activity) => self.table.row(activity),
            Entry::Gap(gap) => self.table.gap(gap),
        };
        if self.json { writeln!(self.out, "{}", clean_json(&line)) } else { writeln!(self.out, "{line}") }
    }
}

fn list(args: &ActivityArgs, log: &Path, screen: Screen, out: &mut impl Write) -> Result<(), ShowError> {
    let reader = Reader::open(log)?;
    let mut filter = args.filter();
    let assumed = args.limit.is_none() && !args.json && screen.width.is_some();
    if assumed {
        filter.limit = Some(TERMINAL_SHOWS);
    }
    let mut printer = Printer::new(args, screen, out)?;
    let (mut shown, mut printed) = (0, Ok(()));
    reader.newest_first(&filter, |entry| {
        shown += usize::from(matches!(entry, Entry::Activity(_)));
        printed = printer.print(&entry);
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    printed?;
    if assumed && shown == TERMINAL_SHOWS {
        out.flush()?;
        let _ =
            writeln!(io::stderr(), "The {TERMINAL_SHOWS} newest are shown; --limit or --since shows more.");
    }
    Ok(())
}

/// Goes on until `more` says no; it is asked before each pause with the number of entries shown.
fn follow(
    args: &ActivityArgs,
    log: &Path,
    screen: Screen,
    out: &mut impl Write,
    mut more: impl FnMut(usize) -> bool,
) -> Result<(), ShowError> {
    let mut reader = Reader::open(log)?;
    let mut file = identity(log);
    let filter = args.filter();
    // Before listing: what is added in between is then seen twice, and known by its id, rather than missed.
    let mut cursor = reader.end()?;
    let asked = args.limit.unwrap_or(if args.since.is_some() { FOLLOW_PAST_MAX } else { FOLLOW_SHOWS });
    let past = Filter { limit: Some(asked.min(FOLLOW_PAST_MAX)), ..filter.clone() };
    let mut entries = Vec::new();
    reader.newest_first(&past, |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    })?;
    entries.reverse();
    let mut seen: HashSet<_> = HashSet::new();
    let mut printer = Printer::new(args, screen, out)?;
    let mut shown = 0;
    for entry in entries {
        if let Entry::Activity(activity) = &entry {
            seen.insert(activity.id);
        }
        printer.print(&entry)?;
        shown += 1;
    }
    loop {
        printer.out.flush()?;
        if !more(shown) {
            return Ok(());
        }
        std::thread::sleep(POLL);
        let now = identity(log);
        if now != file {
            // The daemon set the file aside and began another: go on at its start, as soon as it can be read.
            let Ok(new) = Reader::open(log) else { continue };
            (reader, file, cursor) = (new, now, Cursor::default());
        }
        loop {
            let before = cursor;
            for entry in reader.added_since(&mut cursor, &filter)? {
                if !matches!(&entry, Entry::Activity(activity) if seen.contains(&activity.id)) {
                    printer.print(&entry)?;
                    shown += 1;
                }
            }
            if cursor == before {
                break;
            }
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

pub(super) fn activity_type(name: &str) -> Result<ActivityType, String> {
    ActivityType::from_name(name).ok_or_else(|| one_of(ActivityType::ALL.map(ActivityType::name)))
}

fn action(name: &str) -> Result<Action, String> {
    let all = [Action::Allow, Action::Monitor, Action::Block];
    all.into_iter().find(|a| a.name() == name).ok_or_else(|| one_of(all.map(Action::name)))
}

fn one_of<const N: usize>(names: [&str; N]) -> String {
    format!("expected one of {}", names.join(", "))
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<std::net::IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().map_err(|_| "expected an address or a network such as 10.0.0.0/8")?,
    };
    Ok(network.trunc())
}

#[cfg(test)]
mod tests;
