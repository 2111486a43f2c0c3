//! Where the policies that a command speaks of come from: the running daemon, or the files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::app::CONTROL_SOCKET;
use crate::catalog::Catalog;
use crate::cli::warn;
use crate::config::{self, Config};
use crate::diagnostic::Diagnostic;
use crate::policy::PolicySet;
use crate::reload::{Sources, Texts, compile, read_directory};

/// A large set takes a moment to be written down.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which policies are asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// The policies of this directory or file, instead of those in force
    #[arg(long, value_name = "PATH")]
    pub(super) policies: Option<PathBuf>,
}

/// Policies, and the settings and apps that belong to them.
pub(super) struct Loaded {
    pub(super) policies: PolicySet,
    pub(super) config: Config,
    pub(super) catalog: Catalog,
    /// Where the policies come from, in words.
    pub(super) origin: String,
}

/// The policies asked for: those given, else those that the daemon has in force, else those of the files.
///
/// # Errors
/// Everything wrong with the files that were needed.
pub(super) fn load(args: &SourceArgs, config: Option<PathBuf>) -> Result<Loaded, Vec<Diagnostic>> {
    let sources = Sources::new(config);
    if let Some(path) = &args.policies {
        return candidates(path, &sources);
    }
    let (settings, faults) = match sources.read_settings()? {
        Some(source) => config::parse_leniently(&source)?,
        None => (Config::default(), Vec::new()),
    };
    match in_force(&settings.paths.run.join(CONTROL_SOCKET)) {
        Ok(policies) => {
            warn(&faults, &settings);
            // Only names and suites of apps are taken from it: broken files do not matter to what is in force.
            let apps = sources.read().map(|texts| texts.apps).unwrap_or_default();
            let catalog = Catalog::recover(&apps).catalog;
            Ok(Loaded { policies, config: settings, catalog, origin: "the running daemon".to_owned() })
        }
        Err(why) => {
            let texts = sources.read()?;
            let origin = match sources.file() {
                Some(file) => format!("the files beside {} ({why})", file.display()),
                None => format!("the built-in defaults ({why})"),
            };
            from_texts(&texts, origin)
        }
    }
}

/// Candidate policies in place of those of the files, with the settings and apps of the files.
pub(super) fn candidates(path: &Path, sources: &Sources) -> Result<Loaded, Vec<Diagnostic>> {
    let policies = read_directory(path)?;
    let texts = Texts { policies, ..sources.read_without_policies()? };
    from_texts(&texts, path.display().to_string())
}

fn from_texts(texts: &Texts, origin: String) -> Result<Loaded, Vec<Diagnostic>> {
    let snapshot = compile(texts, 0)?;
    let config = std::sync::Arc::unwrap_or_clone(snapshot.config);
    Ok(Loaded { policies: snapshot.policies, config, catalog: snapshot.catalog, origin })
}

/// What the daemon has loaded, or why it was not asked, in words.
fn in_force(socket: &Path) -> Result<PolicySet, String> {
    match ask::<String>(socket, &Command::Policies, PATIENCE) {
        Ok(document) => {
            PolicySet::from_document(&document).map_err(|error| format!("the daemon sent {error}"))
        }
        Err(AskError::NotRunning(_)) => Err("the daemon is not running".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Says on standard error which policies were asked: standard output is the answer alone.
pub(super) fn say_origin(origin: &str) {
    let _ = writeln!(io::stderr(), "policies of {origin}");
}
