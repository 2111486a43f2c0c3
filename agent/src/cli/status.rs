//! `portcullis status`: one screen that says whether the agent runs and whether all of it is well.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::admin::health::Condition;
use crate::admin::status::{ConsoleStatus, Constraints, Status};
use crate::cli::terminal::{Colour, Screen, clean, clean_json, counted};

/// A daemon that is well answers in milliseconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How often `--wait` asks, and how long it waits at most, in seconds.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const WAIT_MAX: u64 = 86_400;
/// Names listed of those a CA does not cover.
const NAMES_SHOWN: usize = 5;
/// Parts that are well, of which a line tells.
const WELL_A_LINE: usize = 3;

/// Exit status of all commands that need the daemon when there is none.
pub const NOT_RUNNING: u8 = 3;

/// Show whether the agent runs, how it steers, what it has loaded, and the health of each part.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait until it runs and every part is well, so many seconds at most
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    pub wait: Option<u64>,
}

/// Exit status: 0 all well, 1 some part is not, 3 the daemon is not running.
pub fn run(args: &StatusArgs, socket: &Path) -> ExitCode {
    let until = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(WAIT_MAX)));
    let status = loop {
        let answer = ask::<serde_json::Value>(socket, &Command::Status, TIMEOUT).and_then(understand);
        let may_change = match &answer {
            Ok(status) => !is_well(status),
            Err(AskError::NotRunning(_) | AskError::Silent) => true,
            Err(_) => false,
        };
        if !may_change || until.is_none_or(|until| Instant::now() >= until) {
            break answer;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(io::stderr(), "portcullis: {}", clean(&error.to_string()));
            return match error {
                AskError::NotRunning(_) => ExitCode::from(NOT_RUNNING),
                _ => ExitCode::FAILURE,
            };
        }
    };
    let text =
        if args.json { as_json(&status) } else { screenful(&status, Screen::of_stdout(), Timestamp::now()) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(_) => return ExitCode::FAILURE,
    }
    if is_well(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A daemon of another version may answer in other words; that is worth saying in other words than "garbled".
fn understand(value: serde_json::Value) -> Result<Status, AskError> {
    let version = value.get("version").and_then(|v| v.as_str()).unwrap_or("an unknown version").to_owned();
    serde_json::from_value(value).map_err(|error| {
        AskError::Garbled(format!(
            "the agent is {version}, this command {}: {error}",
            env!("CARGO_PKG_VERSION")
        ))
    })
}

fn is_well(status: &Status) -> bool {
    status.health.iter().all(|part| part.condition == Condition::Ok)
}

fn as_json(status: &Status) -> String {
    // A struct of plain values always serialises.
    let json = serde_json::to_string(status).unwrap_or_default();
    format!("{}\n", clean_json(&json))
}

fn screenful(status: &Status, screen: Screen, now: Timestamp) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:<16}{value}");
    };
    let (word, colour) = match is_well(status) {
        true => ("running", Colour::Green),
        false => ("running, not well", Colour::Yellow),
    };
    let headline = format!("portcullis {}, pid {}, ", clean(&status.version), status.pid);
    line("Agent", &(headline + &screen.paint(colour, word)));
    line("Since", &format!("{} ({})", local(status.since), ago(status.since, now)));
    line("Mode", &format!("{}, listening on {}", clean(&status.mode), clean(&status.listener)));

    let hooks = &status.steering.hooks;
    line(
        "Steering",
        &if status.mode == "explicit" {
            "none: clients are told to use this proxy".to_owned()
        } else if hooks.is_empty() {
            "no hooks".to_owned()
        } else {
            clean(&hooks.join(", ")).into_owned()
        },
    );
    let counters = status.steering.counters.iter().filter(|(_, count)| **count > 0);
    let counters: Vec<String> = counters.map(|(name, count)| format!("{} {count}", clean(name))).collect();
    if !counters.is_empty() {
        line("", &counters.join(", "));
    }

    let steering = &status.steering;
    let kept = match &steering.pins {
        Some(path) => format!("state kept in {}", path.display()),
        None => "state goes with the process".to_owned(),
    };
    line("Without agent", &clean(&format!("fail {}, {kept}", steering.fail)));
    if let Some(gap) = &steering.gap {
        let seconds = gap.to.duration_since(gap.from).as_secs_f64();
        let when = format!("none for {seconds:.1} s until {}, then its state was taken over", local(gap.to));
        line("", &screen.paint(Colour::Yellow, &when));
    }

    let policies = &status.policies;
    line(
        "Policies",
        &format!(
            "{}, {}, revision {}",
            counted(policies.count, "policy", "policies"),
            counted(policies.apps, "app", "apps"),
            policies.revision
        ),
    );
    if let Some(rollback) = &policies.rolled_back {
        let what = format!(
            "the last good ones, since {}: the agent kept dying with those of the files",
            local(rollback.since)
        );
        line("", &screen.paint(Colour::Red, &what));
    }
    if let Some(reload) = &policies.last_reload {
        let when = format!("last reload {} ({})", local(reload.time), ago(reload.time, now));
        match &reload.error {
            None => line("", &when),
            Some(error) => {
                line(
                    "",
                    &screen
                        .paint(Colour::Red, &format!("{when} failed; the last good policies are in force")),
                );
                // Diagnostics have lines of their own, which point into the file.
                error.lines().for_each(|l| line("", &clean(l)));
            }
        }
    }

    let device = &status.device;
    let compliance = if device.compliant { "compliant" } else { "not compliant" };
    if device.checks.is_empty() {
        line("Device", &clean(&format!("{}, {compliance}: {}", device.id, device.reason)));
    } else {
        line("Device", &clean(&format!("{}, {compliance}", device.id)));
        for check in &device.checks {
            let told = clean(&format!("{} {}: {}", check.name, check.outcome, check.reason)).into_owned();
            let colour = if check.outcome == "passed" { Colour::Dim } else { Colour::Yellow };
            line("", &screen.paint(colour, &told));
        }
    }
    if !device.tags.is_empty() {
        line("", &clean(&format!("tags {}", device.tags.join(", "))));
    }

    let ca = &status.certificate_authority;
    line("CA", &clean(&ca.subject));
    line("", &clean(&format!("SHA-256 {}", ca.fingerprint)));
    if let Some(end) = ca.not_after {
        line("", &format!("valid until {}", local(end)));
    }
    if let Some(next) = &ca.next {
        line("", &clean(&format!("to follow: {}", next.subject)));
        line("", &clean(&format!("SHA-256 {}", next.fingerprint)));
        if let Some(at) = next.follows_at {
            line("", &format!("in force from {}, or by portcullis ca rotate --finish", local(at)));
        }
    }
    match &ca.constraints {
        Constraints::Unconstrained => line("", "can sign for any name"),
        Constraints::CoverCatalog => line("", "can sign for the names of the catalog only"),
        Constraints::Outgrown { names } => {
            let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
            let what =
                clean(&format!("the catalog has outgrown it: it cannot sign for {shown}{more}")).into_owned();
            line("", &screen.paint(Colour::Red, &what));
            line("", "remedy: portcullis ca rotate");
        }
    }

    let log = &status.activity_log;
    line(
        "Activity log",
        &clean(&format!("{}, {} records, {} lost", log.path.display(), log.records, log.lost)),
    );
    if let Some(trouble) = &log.trouble {
        line("", &screen.paint(Colour::Red, &clean(&format!("cannot be written: {trouble}"))));
    }
    if let Some(to) = &log.set_aside {
        line(
            "",
            &screen.paint(Colour::Yellow, &clean(&format!("a damaged log was set aside: {}", to.display()))),
        );
    }

    match &status.console {
        None => line("Console", "off"),
        Some(ConsoleStatus { listen, trouble: None }) => {
            line("Console", &clean(&format!("http://{listen}, opened by `portcullis console`")));
        }
        Some(ConsoleStatus { listen, trouble: Some(why) }) => {
            line("Console", &screen.paint(Colour::Yellow, &clean(&format!("not at {listen}: {why}"))));
        }
    }

    for (at, export) in status.exports.iter().enumerate() {
        let name = if at == 0 { "Exports" } else { "" };
        let how = clean(&format!("{} to {}, {} sent", export.name, export.to, export.sent)).into_owned();
        match &export.trouble {
            None => line(name, &how),
            Some(trouble) => line(name, &screen.paint(Colour::Yellow, &clean(&format!("{how}: {trouble}")))),
        }
    }

    for (at, (colour, words)) in health_lines(status).iter().enumerate() {
        line(if at == 0 { "Health" } else { "" }, &screen.paint(*colour, &clean(words)));
    }
    text
}

/// A line for each part that is not well, then all others, a few a line.
fn health_lines(status: &Status) -> Vec<(Colour, String)> {
    let mut lines = Vec::new();
    let mut well = Vec::new();
    for part in &status.health {
        let name = part.part.name();
        match &part.condition {
            Condition::Ok => well.push(format!("{name} ok")),
            Condition::Degraded(why) => lines.push((Colour::Yellow, format!("{name} degraded: {why}"))),
            Condition::Failed(why) => lines.push((Colour::Red, format!("{name} failed: {why}"))),
        }
    }
    lines.extend(well.chunks(WELL_A_LINE).map(|well| (Colour::Dim, well.join(", "))));
    lines
}

fn local(time: Timestamp) -> String {
    ZonedDateTime::new(time, TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn ago(time: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(time).max(SignedDuration::ZERO);
    match (passed.as_secs(), passed.as_mins(), passed.as_hours()) {
        (s, 0, _) => format!("{s} s ago"),
        (_, m, 0) => format!("{m} min ago"),
        (_, m, h @ 1..48) => format!("{h} h {} min ago", m % 60),
        (_, _, h) => format!("{} days ago", h / 24),
    }
}

#[cfg(test)]
pub(super) mod tests;
