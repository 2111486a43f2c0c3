//! `portcullis reload`: asks the running daemon to read its configuration again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::status::NOT_RUNNING;
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;

/// A large catalog takes seconds to build.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exit status: 0 it took effect, 1 it was refused (with the reason), 3 the daemon is not running.
pub(super) fn run(socket: &Path) -> ExitCode {
    match ask::<serde_json::Value>(socket, &Command::Reload, PATIENCE) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis: {error}");
            match error {
                AskError::NotRunning(_) => ExitCode::from(NOT_RUNNING),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
