//! `portcullis reload`: asks the running daemon to read its configuration again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{NOT_RUNNING, USAGE, load};
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::app::CONTROL_SOCKET;

/// A large catalog takes seconds to build.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    // Broken files are told here already; the daemon would say the same.
    let Some(snapshot) = load(config) else { return Ok(ExitCode::from(USAGE)) };
    let socket = snapshot.config.paths.run.join(CONTROL_SOCKET);
    match ask::<serde_json::Value>(&socket, &Command::Reload, PATIENCE) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error @ AskError::NotRunning(_)) => {
            eprintln!("portcullis: {error}");
            Ok(ExitCode::from(NOT_RUNNING))
        }
        Err(error) => Err(error.into()),
    }
}
