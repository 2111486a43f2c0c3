//! `portcullis activity`: the activity log, filtered, newest first, or followed. Reads the file; needs no daemon.

mod saved;
mod table;

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use crate::classify::ActivityType;
use crate::cli::output::{Column, Format, ListWriter, OutputArgs};
use crate::cli::terminal::{Screen, clean};
use crate::policy::decision::Action;
use crate::record::query::moment::Moment;
use crate::record::query::{Cursor, Entry, Filter, QueryError, Reader, network};
use saved::{Saved, SavedError};

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
    /// download, upload, sign-in, sign-in-failed, message, share, print, view, access, none
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
    #[arg(long, value_name = "TIME", value_parser = Moment::read)]
    pub since: Option<Moment>,
    /// At or before; the same forms
    #[arg(long, value_name = "TIME", value_parser = Moment::read)]
    pub until: Option<Moment>,
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
    #[command(flatten)]
    pub output: OutputArgs,
    /// Take the filters saved under this name; those given beside it replace them
    #[arg(long, value_name = "NAME")]
    pub query: Option<String>,
    /// Save the filters under this name and show nothing
    #[arg(long, value_name = "NAME", conflicts_with = "follow")]
    pub save: Option<String>,
    /// Remove a saved query
    #[arg(long, value_name = "NAME", conflicts_with_all = SELECTION, conflicts_with_all = ["json", "output"])]
    pub forget: Option<String>,
    /// List the saved queries
    #[arg(long, conflicts_with_all = SELECTION, conflicts_with = "forget")]
    pub queries: bool,
}

/// What the list of saved queries has no use for. Not `exclusive`: the settings file may be named, also by a variable.
const SELECTION: [&str; 14] = [
    "user", "app", "kind", "action", "ip", "device", "since", "until", "policy", "file", "limit", "follow",
    "query", "save",
];

impl ActivityArgs {
    fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            app: self.app.clone(),
            kind: self.kind,
            action: self.action,
            network: self.ip,
            device: self.device.clone(),
            since: self.since.as_ref().map(|time| time.at),
            until: self.until.as_ref().map(|time| time.at),
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
    let shown = if args.follow && args.output.format() == Format::Json {
        let _ = writeln!(io::stderr(), "portcullis: what is followed has no end: use -o jsonl");
        return ExitCode::from(super::USAGE);
    } else if args.queries || args.save.is_some() || args.forget.is_some() {
        saved(args, log, &mut out)
    } else {
        with_saved(args, log).and_then(|args| match args.follow {
            true => follow(&args, log, screen, &mut out, |_| true),
            false => list(&args, log, screen, &mut out),
        })
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
    #[error(transparent)]
    Saved(#[from] SavedError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Lists, saves or removes saved queries.
fn saved(args: &ActivityArgs, log: &Path, out: &mut impl Write) -> Result<(), ShowError> {
    let mut saved = Saved::beside(log)?;
    if let Some(name) = &args.forget {
        saved.forget(name)?;
    } else if let Some(name) = &args.save {
        let args = with_saved(args, log)?;
        saved.save(name, &args)?;
    } else {
        list_saved(&saved, args.output.format(), out)?;
    }
    Ok(())
}

fn list_saved(saved: &Saved, format: Format, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Table {
        return saved.lines().try_for_each(|line| writeln!(out, "{}", clean(&line)));
    }
    let mut list = ListWriter::begin(format, &[("name", "/name"), ("filters", "/filters")], out)?;
    for (name, filters) in saved.queries() {
        list.row(&json!({"name": name, "filters": filters}))?;
    }
    list.end()
}

/// The filters given, and those of the saved query that was named.
fn with_saved(args: &ActivityArgs, log: &Path) -> Result<ActivityArgs, ShowError> {
    match &args.query {
        Some(name) => Ok(Saved::beside(log)?.apply(name, args)?),
        None => Ok(args.clone()),
    }
}

/// The columns of CSV. A gap fills `type`, `time` and `reason`.
const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("time", "/time"),
    ("type", "/type"),
    ("app", "/app/id"),
    ("suite", "/app/suite"),
    ("user", "/user/name"),
    ("uid", "/user/uid"),
    ("groups", "/user/groups"),
    ("device", "/device/id"),
    ("compliant", "/device/compliant"),
    ("process", "/process/exe"),
    ("client_address", "/client/address"),
    ("client_kind", "/client/kind"),
    ("user_agent", "/client/user_agent"),
    ("server", "/server/name"),
    ("server_address", "/server/address"),
    ("method", "/request/method"),
    ("host", "/request/host"),
    ("path", "/request/path"),
    ("status", "/response/status"),
    ("file", "/file/name"),
    ("extension", "/file/extension"),
    ("size", "/file/size"),
    ("mime", "/file/mime"),
    ("file-type", "/file/type"),
    ("action", "/decision/action"),
    ("enforced", "/decision/enforced"),
    ("policy", "/decision/policy"),
    ("rule", "/decision/rule"),
    ("reason", "/decision/reason"),
    ("micros", "/decision/micros"),
    ("report_only", "/report_only"),
    ("transfer", "/transfer/state"),
    ("bytes", "/transfer/bytes"),
    ("locations", "/client/locations"),
];

/// Writes entries in the form asked for.
struct Printer<'a, W> {
    form: Form<'a, W>,
}

enum Form<'a, W> {
    Table(table::Table, &'a mut W),
    List(ListWriter<'a, W>),
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(args: &ActivityArgs, screen: Screen, out: &'a mut W) -> io::Result<Self> {
        let form = match args.output.format() {
            Format::Table => {
                let table = table::Table::for_screen(screen);
                writeln!(out, "{}", table.head())?;
                Form::Table(table, out)
            }
            format => Form::List(ListWriter::begin(format, COLUMNS, out)?),
        };
        Ok(Self { form })
    }

    fn print(&mut self, entry: &Entry) -> io::Result<()> {
        match (&mut self.form, entry) {
            (Form::Table(table, out), Entry::Activity(activity)) => writeln!(out, "{}", table.row(activity)),
            (Form::Table(table, out), Entry::Gap(gap)) => writeln!(out, "{}", table.gap(gap)),
            (Form::List(list), Entry::Activity(activity)) => list.row(activity),
            (Form::List(list), Entry::Gap(gap)) if list.is_csv() => {
                let reason = match gap.count {
                    0 => format!("records may be missing: {}", gap.reason),
                    count => format!("{count} records are missing: {}", gap.reason),
                };
                list.row(&json!({"type": "gap", "time": gap.until, "decision": {"reason": reason}}))
            }
            // Same keys for type and time as an activity, so that a reader can tell them apart and place them.
            (Form::List(list), Entry::Gap(gap)) => list.row(&json!({
                "type": "gap", "time": gap.until, "since": gap.since, "count": gap.count, "reason": gap.reason
            })),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Table(_, out) => out.flush(),
            Form::List(list) => list.flush(),
        }
    }

    fn end(self) -> io::Result<()> {
        match self.form {
            Form::Table(..) => Ok(()),
            Form::List(list) => list.end(),
        }
    }
}

fn list(args: &ActivityArgs, log: &Path, screen: Screen, out: &mut impl Write) -> Result<(), ShowError> {
    let reader = super::log::open(log)?;
    let mut filter = args.filter();
    let assumed = args.limit.is_none() && args.output.format() == Format::Table && screen.width.is_some();
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
    printer.end()?;
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
    let mut reader = super::log::open(log)?;
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
        printer.flush()?;
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

#[cfg(test)]
mod tests;
