//! `portcullis check`: reads every configuration file as the daemon would, and says what is wrong.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{USAGE, load};

pub(super) fn run(config: Option<PathBuf>) -> ExitCode {
    let Some(snapshot) = load(config) else { return ExitCode::from(USAGE) };
    let apps = snapshot.catalog.apps();
    let selected = apps.iter().filter(|app| snapshot.policies.selects(app)).count();
    let summary = format!(
        "configuration is valid: {} policies, {} apps, {selected} of them selected by a policy\n",
        snapshot.policies.policies().len(),
        apps.len(),
    );
    // A closed pipe is no fault of the configuration.
    let _ = std::io::stdout().write_all(summary.as_bytes());
    ExitCode::SUCCESS
}
