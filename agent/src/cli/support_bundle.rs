//! `portcullis support-bundle`: what a maintainer needs to help, in one archive. What is in it is listed before anything is
//! written; names of people, hosts and networks are replaced by numbers, equal ones by equal numbers. No record of the
//! activity log is ever part of it.

mod redact;

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::status::TIMEOUT;
use super::{doctor, terminal::clean};
use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::app::CONTROL_SOCKET;
use crate::config::Config;
use crate::reload::Sources;
use redact::Redactor;

/// Collect state, settings and checks, without names and without activities.
#[derive(Debug, Clone, clap::Args)]
pub struct SupportBundleArgs {
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "portcullis-support.tar.gz")]
    out: PathBuf,
    /// Write without asking
    #[arg(long, short)]
    yes: bool,
}

/// A file of the bundle.
struct Part {
    name: String,
    what: &'static str,
    text: String,
}

pub(super) fn run(args: &SupportBundleArgs, settings: &Config, sources: &Sources) -> ExitCode {
    let parts = collect(settings, sources);
    let mut out = io::stdout().lock();
    let listed = parts.iter().try_for_each(|part| {
        writeln!(out, "{:<28} {:>8} bytes  {}", clean(&part.name), part.text.len(), part.what)
    });
    if listed.is_err() {
        return ExitCode::FAILURE;
    }
    if !args.yes && !agreed(&args.out) {
        return ExitCode::from(super::USAGE);
    }
    match write(&args.out, &parts) {
        Ok(()) => {
            let _ = writeln!(out, "written: {}", args.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "portcullis: {}: {error}", args.out.display());
            ExitCode::FAILURE
        }
    }
}

fn agreed(out: &Path) -> bool {
    if !io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "portcullis: nothing was written: --yes writes {}", out.display());
        return false;
    }
    let _ = write!(io::stderr(), "Write this to {}? [y/N] ", out.display());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn collect(settings: &Config, sources: &Sources) -> Vec<Part> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let mut redactor = Redactor::new(host);
    // First of all: what the settings name is not said in sentences either.
    let files = configuration(sources, &mut redactor);
    let socket = settings.paths.run.join(CONTROL_SOCKET);
    let checks = serde_json::from_str(&doctor::report(settings, &super::faults(sources)))
        .map(|report| redactor.answer(report));
    let status = match ask::<Value>(&socket, &Command::Status, TIMEOUT) {
        Ok(status) => pretty(&redactor.answer(status)),
        Err(error) => unavailable(&error),
    };
    let metrics = match ask::<String>(&socket, &Command::Metrics, TIMEOUT) {
        Ok(text) => redactor.metrics(&text),
        Err(error) => unavailable(&error),
    };
    let part = |name: &str, what, text| Part { name: name.to_owned(), what, text };
    let mut parts = vec![
        part("system.txt", "version, kernel, distribution", system()),
        part("doctor.json", "every check of `doctor`, without names", pretty(&checks.unwrap_or_default())),
        part("status.json", "`status`, without names", status),
        part("metrics.txt", "all metrics, without names", metrics),
    ];
    parts.extend(files);
    parts
}

/// The files of the configuration, as far as they can be read.
fn configuration(sources: &Sources, redactor: &mut Redactor) -> Vec<Part> {
    let texts = match sources.read() {
        Ok(texts) => texts,
        Err(faults) => {
            let text = format!("{} faults\n", faults.len());
            return vec![Part {
                name: "config/faults.txt".into(),
                what: "how many faults keep it from being read",
                text,
            }];
        }
    };
    let kinds = [("", texts.config.as_slice()), ("apps.d/", &texts.apps), ("policies.d/", &texts.policies)];
    let files =
        kinds.into_iter().flat_map(|(directory, files)| files.iter().map(move |file| (directory, file)));
    files
        .enumerate()
        .map(|(at, (directory, file))| Part {
            // A name of a file can be a name of somebody.
            name: format!("config/{directory}{at:04}.toml"),
            what: "settings: known words and numbers, nothing else",
            text: redactor.settings(&file.text),
        })
        .collect()
}

fn pretty(value: &Value) -> String {
    // A value that was read can be written.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn unavailable(error: &AskError) -> String {
    let why = match error {
        AskError::NotRunning(_) => "the agent is not running",
        AskError::Denied(_) => "no permission to ask the agent",
        _ => "the agent did not answer in an understandable way",
    };
    format!("{why}\n")
}

fn system() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let release = read("/etc/os-release");
    let wanted = ["ID=", "VERSION_ID=", "PRETTY_NAME="];
    let release: Vec<&str> =
        release.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start))).collect();
    let (version, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    format!("portcullis {version}\nLinux {} {machine}\n{}\n", kernel.trim(), release.join("\n"))
}

/// A tar archive, compressed, that only its maker can read.
fn write(path: &Path, parts: &[Part]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(
            &mut header,
            format!("portcullis-support/{}", part.name),
            part.text.as_bytes(),
        )?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_the_parts_and_never_replaces_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.tar.gz");
        let parts = [Part { name: "config/a.toml".into(), what: "", text: "x = 1\n".into() }];
        write(&path, &parts).unwrap();
        let output = std::process::Command::new("tar").arg("-xzOf").arg(&path).output().unwrap();
        assert_eq!(output.stdout, b"x = 1\n", "{output:?}");
        assert_eq!(write(&path, &parts).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
