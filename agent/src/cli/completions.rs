//! `portcullis completions` and `portcullis man`: made from the very arguments the program reads.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub(super) fn print(shell: clap_complete::Shell, mut command: clap::Command) -> Result<ExitCode> {
    // Into memory first: the generator panics on a pipe that closes.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "portcullis", &mut script);
    match io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes `portcullis.1` and `portcullis-COMMAND.1`.
pub(super) fn manual(directory: &Path, command: clap::Command) -> Result<ExitCode> {
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.with_context(|| format!("writing manual pages into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
