//! Running other programs: says what it runs, fails with the command line in the message.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Prints one line about progress.
pub(crate) fn say(what: impl std::fmt::Display) {
    println!("xtask: {what}");
}

/// The command line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs with the terminal's own input and output; an error when it does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(line(command));
    let status = command.status().with_context(|| format!("cannot run `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs with its standard output shown and kept; the inner error is that output, of a command that did not end with 0.
pub(crate) fn run_and_keep(command: &mut Command) -> Result<Result<(), String>> {
    say(line(command));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{}`", line(command)))?;
    let mut kept = String::new();
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut raw = Vec::new();
    while lines.read_until(b'\n', &mut raw)? > 0 {
        let text = String::from_utf8_lossy(&raw);
        print!("{text}");
        kept.push_str(&text);
        raw.clear();
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", line(command)))?;
    Ok(if status.success() { Ok(()) } else { Err(kept) })
}

/// Standard output of a command that must end with 0.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}\n{}", line(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
