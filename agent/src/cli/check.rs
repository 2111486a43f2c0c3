//! `portcullis check`: reads every configuration file as the daemon would, and says what is wrong.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::terminal::counted;
use super::{USAGE, load};
use crate::app;
use crate::reload::Sources;

pub(super) fn run(config: Option<PathBuf>) -> ExitCode {
    let sources = Sources::new(config.clone());
    let Some(snapshot) = load(config) else { return ExitCode::from(USAGE) };
    for note in sources.notes(&snapshot) {
        eprintln!("note: {note}");
    }
    if let Err(error) = app::check_named_files(&snapshot.config) {
        eprintln!("portcullis: {error:#}");
        return ExitCode::from(USAGE);
    }
    let apps = snapshot.catalog.apps();
    let selected = apps.iter().filter(|app| snapshot.policies.selects(app)).count();
    let summary = format!(
        "configuration is valid: {}, {}, {selected} of them selected by a policy\n",
        counted(snapshot.policies.policies().len(), "policy", "policies"),
        counted(apps.len(), "app", "apps"),
    );
    // A closed pipe is no fault of the configuration.
    let _ = std::io::stdout().write_all(summary.as_bytes());
    ExitCode::SUCCESS
}
