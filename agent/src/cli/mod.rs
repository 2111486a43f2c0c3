//! The command line: every subcommand with its arguments, and the exit statuses they share.

pub mod activity;
mod apps;
pub mod ca;
mod check;
pub mod classify;
mod cleanup;
mod completions;
mod console;
mod detect;
pub mod doctor;
pub mod explain;
mod explanation;
mod install;
mod log;
mod output;
pub mod policy;
mod reload;
mod run;
mod signer;
pub mod status;
mod support_bundle;
mod terminal;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::app::{ACTIVITY_LOG, CONTROL_SOCKET};
use crate::catalog::HostPattern;
use crate::config::{self, Config};
use crate::diagnostic::{Diagnostic, Style};
use crate::reload::{Snapshot, Sources, compile};

/// Exit status of a usage or configuration error. The others are in [`STATUSES`] and
/// [`status::NOT_RUNNING`].
const USAGE: u8 = 2;

const STATUSES: &str = "Exit status: 0 done; 1 it failed while running, or a check or part is not well; 2 usage or \
    configuration error; 3 the daemon is not running.\n\nEnvironment: PORTCULLIS_CONFIG names the settings file \
    (/etc/portcullis/portcullis.toml); NO_COLOR switches colours off.";

/// Session controls for cloud apps, enforced on the host
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, max_term_width = 100, after_long_help = STATUSES)]
struct Arguments {
    /// The settings file; policies.d and apps.d stand beside it
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::RunArgs),
    /// Validate every configuration file and change nothing
    Check,
    /// Whether it runs, how it steers, what it has loaded, the health of each part
    Status(status::StatusArgs),
    /// Whether kernel and host have what it needs, with a remedy for what is missing
    Doctor(doctor::DoctorArgs),
    /// Every monitored app and how it is used, and sites beside them that no app owns
    Apps(apps::AppsArgs),
    /// Show live what the agent does
    Top(top::TopArgs),
    /// Open the console in a browser: overview, activity log, apps, policies, health
    Console(console::ConsoleArgs),
    /// The activity log
    Activity(Box<activity::ActivityArgs>),
    /// Why an activity was decided the way it was: each policy, each condition, matched or not
    Explain(explain::ExplainArgs),
    /// The policies as loaded, and what they would do
    Policy(policy::PolicyArgs),
    /// Read the configuration again, as a changed file or SIGHUP does
    Reload,
    /// Say of recorded HTTP exchanges what they are, and why
    Classify(classify::ClassifyArgs),
    /// Count what the content detectors find in a text, without showing it
    Detect(detect::DetectArgs),
    /// The host's own certificate authority
    Ca(ca::Ca),
    Signer(signer::SignerArgs),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    /// Remove what an agent that did not stop in order left in the kernel
    Cleanup(cleanup::CleanupArgs),
    /// Collect what a maintainer needs to help, without names and without activities
    SupportBundle(support_bundle::SupportBundleArgs),
    /// Print the completion script of a shell
    Completions {
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command, into a directory
    Man {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config;
    match arguments.command {
        Command::Run(run) => Ok(run::run(&run, config)),
        Command::Check => Ok(check::run(config)),
        Command::Status(status) => Ok(match lenient(config) {
            Some(settings) => status::run(&status, &settings.paths.run.join(CONTROL_SOCKET)),
            None => ExitCode::from(USAGE),
        }),
        Command::Doctor(doctor) => Ok(match read_leniently(config.clone()) {
            Ok((settings, _)) => doctor::run(&doctor, &settings, &faults(&Sources::new(config))),
            Err(faults) => {
                complain(&faults);
                ExitCode::from(USAGE)
            }
        }),
        Command::Activity(activity) => Ok(match lenient(config) {
            Some(settings) => activity::run(&activity, &settings.paths.state.join(ACTIVITY_LOG)),
            None => ExitCode::from(USAGE),
        }),
        Command::Apps(apps) => Ok(match lenient(config.clone()) {
            Some(settings) => apps::run(&apps, &settings.paths, || load(config)),
            None => ExitCode::from(USAGE),
        }),
        Command::Top(top) => Ok(match lenient(config) {
            Some(settings) => top::run(&top, &settings.paths.run.join(CONTROL_SOCKET)),
            None => ExitCode::from(USAGE),
        }),
        Command::Console(console) => Ok(match lenient(config) {
            Some(settings) => console::run(&console, &settings.paths.run.join(CONTROL_SOCKET)),
            None => ExitCode::from(USAGE),
        }),
        Command::SupportBundle(bundle) => Ok(match lenient(config.clone()) {
            Some(settings) => support_bundle::run(&bundle, &settings, &Sources::new(config)),
            None => ExitCode::from(USAGE),
        }),
        Command::Completions { shell } => completions::print(shell, Arguments::command()),
        Command::Man { directory } => completions::manual(&directory, Arguments::command()),
        Command::Explain(explain) => match lenient(config) {
            Some(settings) => explain::run(&explain, &settings.paths.state.join(ACTIVITY_LOG)),
            None => Ok(ExitCode::from(USAGE)),
        },
        Command::Signer(arguments) => signer::run(&arguments),
        Command::Policy(args) => policy::run(&args, config),
        Command::Reload => Ok(match lenient(config) {
            Some(settings) => reload::run(&settings.paths.run.join(CONTROL_SOCKET)),
            None => ExitCode::from(USAGE),
        }),
        Command::Classify(classify) => classify::run(&classify, config),
        Command::Detect(detect) => detect::run(&detect),
        Command::Cleanup(cleanup) => match lenient_about_the_rest(config) {
            Some(settings) => cleanup::run(&cleanup, &settings),
            None => Ok(ExitCode::from(USAGE)),
        },
        Command::Install(arguments) => install::install(&arguments, Arguments::command(), || {
            let Some(snapshot) = load(config) else { return Ok(ExitCode::from(USAGE)) };
            ca::establish(&snapshot.config.paths.state, &vouched_for(&snapshot)).context("ca")
        }),
        Command::Uninstall(arguments) => match lenient_about_the_rest(config) {
            Some(settings) => install::uninstall(&arguments, Arguments::command(), &settings),
            None => Ok(ExitCode::from(USAGE)),
        },
        Command::Ca(command) if !command.takes_catalog() => {
            let Some(settings) = lenient(config) else { return Ok(ExitCode::from(USAGE)) };
            ca::run(&command, &settings.paths.state, &[]).context("ca")
        }
        Command::Ca(command) if command.only_shows() => {
            // What the authority is can be said of itself; what it does not cover, of a catalog without a fault.
            let Some(settings) = lenient(config.clone()) else { return Ok(ExitCode::from(USAGE)) };
            let read = Sources::new(config).read().and_then(|texts| compile(&texts, 0));
            let hosts = read.as_ref().map(vouched_for).unwrap_or_default();
            if read.is_err() {
                eprintln!(
                    "portcullis: whether every app is covered is not known: `portcullis check` says what is wrong"
                );
            }
            ca::run(&command, &settings.paths.state, &hosts).context("ca")
        }
        Command::Ca(command) => {
            let Some(snapshot) = load(config) else { return Ok(ExitCode::from(USAGE)) };
            ca::run(&command, &snapshot.config.paths.state, &vouched_for(&snapshot)).context("ca")
        }
    }
}

/// The names that an authority of this configuration vouches for.
fn vouched_for(snapshot: &Snapshot) -> Vec<HostPattern> {
    let catalog = snapshot.catalog.domains().map(|(pattern, _)| pattern.clone());
    catalog.chain(snapshot.config.tls.ech_patterns()).collect()
}

/// The settings as far as they are right, for commands that take from them where the daemon, its files and its pins are. The
/// daemon goes on after a slip, and whoever made it has to be able to ask what became of it, or to take everything away.
fn lenient(config: Option<PathBuf>) -> Option<Config> {
    lenient_but_for(None, config)
}

/// The same for commands that take things out of the kernel: of another cgroup they would say that nothing is left.
fn lenient_about_the_rest(config: Option<PathBuf>) -> Option<Config> {
    lenient_but_for(Some("steering.cgroup"), config)
}

/// `field` is one that has to be right.
fn lenient_but_for(field: Option<&str>, config: Option<PathBuf>) -> Option<Config> {
    let is_needed = |fault: &Diagnostic| field.is_some_and(|field| fault.field.starts_with(field));
    match read_leniently(config) {
        Ok((settings, faults)) if !faults.iter().any(is_needed) => {
            warn(&faults, &settings);
            Some(settings)
        }
        Ok((_, faults)) | Err(faults) => {
            complain(&faults);
            None
        }
    }
}

fn read_leniently(config: Option<PathBuf>) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    match Sources::new(config).read_settings()? {
        Some(source) => config::parse_leniently(&source),
        None => Ok((Config::default(), Vec::new())),
    }
}

/// Prints what is wrong with settings that are gone on with.
fn warn(faults: &[Diagnostic], settings: &Config) {
    if !faults.is_empty() {
        complain(faults);
        let paths = &settings.paths;
        let (state, run, pins) = (paths.state.display(), paths.run.display(), paths.pins.display());
        eprintln!(
            "portcullis: warning: going on with what is right in it: [paths] state = \"{state}\", run = \"{run}\", pins = \"{pins}\""
        );
    }
}

/// The configuration, or everything that is wrong with it on standard error.
fn load(config: Option<PathBuf>) -> Option<Snapshot> {
    let sources = Sources::new(config);
    match sources.read().and_then(|texts| compile(&texts, 0)) {
        Ok(snapshot) => Some(snapshot),
        Err(faults) => {
            complain(&faults);
            None
        }
    }
}

/// What is wrong in all of the configuration.
fn faults(sources: &Sources) -> Vec<Diagnostic> {
    sources.read().and_then(|texts| compile(&texts, 0)).err().unwrap_or_default()
}

/// Prints every diagnostic, coloured on a terminal.
fn complain(faults: &[Diagnostic]) {
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr());
    for fault in faults {
        eprintln!("{}\n", fault.render(if coloured { Style::Coloured } else { Style::Plain }));
    }
    let what = if faults.len() == 1 { "error" } else { "errors" };
    eprintln!("portcullis: {} {what} in the configuration", faults.len());
}
