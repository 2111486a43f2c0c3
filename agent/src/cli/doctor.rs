//! `portcullis doctor`: whether this host has what the agent needs, each thing with a remedy.

mod host;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::terminal::{Colour, Screen, clean, clean_json};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::doctor::{Check, Outcome, Program, Report, examine};

/// Check kernel and host for everything the agent needs. Exit status: 0 nothing failed, 1 a check failed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorArgs {
    /// One JSON object, with the verifier's view of each program
    #[arg(long)]
    json: bool,
}

/// `faults` are those of the whole configuration; `config` is what is right in the settings.
pub fn run(arguments: &DoctorArgs, config: &Config, faults: &[Diagnostic]) -> ExitCode {
    let report = examine(&host::facts(config, faults));
    let text = if arguments.json { as_json(&report) } else { lines(&report, Screen::of_stdout()) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(_) => return ExitCode::FAILURE,
    }
    if report.count(Outcome::Failed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The report as `--json` prints it.
pub(super) fn report(config: &Config, faults: &[Diagnostic]) -> String {
    as_json(&examine(&host::facts(config, faults)))
}

/// The object of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    version: &'static str,
    /// Whether no check failed.
    healthy: bool,
    failed: usize,
    skipped: usize,
    checks: &'a [Check],
    programs: &'a [Program],
}

fn as_json(report: &Report) -> String {
    let answer = Answer {
        version: env!("CARGO_PKG_VERSION"),
        healthy: report.count(Outcome::Failed) == 0,
        failed: report.count(Outcome::Failed),
        skipped: report.count(Outcome::Skipped),
        checks: &report.checks,
        programs: &report.programs,
    };
    // A struct of plain values always serialises.
    format!("{}\n", clean_json(&serde_json::to_string(&answer).unwrap_or_default()))
}

fn lines(report: &Report, screen: Screen) -> String {
    let mut text = String::new();
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for check in &report.checks {
        let (word, colour) = match check.outcome {
            Outcome::Ok => ("ok     ", Colour::Green),
            Outcome::Failed => ("failed ", Colour::Red),
            Outcome::Skipped => ("skipped", Colour::Yellow),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{} {:<width$}  {}",
            screen.paint(colour, word),
            clean(&check.name),
            clean(&check.found)
        );
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "        {:<width$}  remedy: {}", "", clean(remedy));
        }
    }
    let _ = writeln!(
        text,
        "{} ok, {} failed, {} skipped",
        report.count(Outcome::Ok),
        report.count(Outcome::Failed),
        report.count(Outcome::Skipped)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let check = |name: &str, outcome, remedy: Option<&str>| Check {
            name: name.to_owned(),
            outcome,
            found: "seen\u{1b}[31m".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        Report {
            checks: vec![
                check("btf", Outcome::Ok, None),
                check("capabilities", Outcome::Failed, Some("give them")),
                check("daemon", Outcome::Skipped, None),
            ],
            programs: vec![Program {
                name: "pc_dns_in".to_owned(),
                instructions: Some(7),
                micros: 8,
                refusal: None,
            }],
        }
    }

    #[test]
    fn a_line_per_check_with_its_remedy_below() {
        let text = lines(&report(), Screen { width: None, colour: false });
        let expected = "ok      btf           seen\u{fffd}[31m\n\
                        failed  capabilities  seen\u{fffd}[31m\n                      remedy: give them\n\
                        skipped daemon        seen\u{fffd}[31m\n1 ok, 1 failed, 1 skipped\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_is_one_object_that_says_whether_anything_failed() {
        let text = as_json(&report());
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["healthy"], false);
        assert_eq!((&value["failed"], &value["skipped"]), (&1.into(), &1.into()));
        assert_eq!(value["checks"][1]["outcome"], "failed");
        assert_eq!(value["checks"][1]["remedy"], "give them");
        assert_eq!(value["programs"][0]["instructions"], 7);
    }
}
