//! `portcullis install|uninstall`: from a single program to a running service, and back to nothing.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap_complete::Shell;

use super::cleanup;
use crate::config::Config;
use crate::install::{self, Generated, Removal};
use crate::trust::{Outcome, Place, Store};

/// Put this program on the system: unit, user, directories, default configuration, trust; start the service
#[derive(Debug, Clone, clap::Args)]
pub(super) struct InstallArgs {
    /// Only write the files, below this directory (for packages and images)
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Leave the service stopped
    #[arg(long)]
    no_start: bool,
    /// Leave the trust stores alone; `portcullis ca trust` fills them later
    #[arg(long)]
    no_trust: bool,
}

/// Stop the service and remove what `install` put there, from the trust stores too
#[derive(Debug, Clone, clap::Args)]
pub(super) struct UninstallArgs {
    /// Also remove configuration, activity log, certificate authority and user
    #[arg(long)]
    purge: bool,
}

/// `trust` makes the authority if there is none and puts it into the stores.
pub(super) fn install(
    arguments: &InstallArgs,
    command: clap::Command,
    trust: impl FnOnce() -> Result<ExitCode>,
) -> Result<ExitCode> {
    let program = std::env::current_exe().context("where this program is")?;
    let generated = generated(command)?;
    if let Some(root) = &arguments.root {
        std::fs::create_dir_all(root).with_context(|| root.display().to_string())?;
        return say(install::lay_out(root, &program, &generated)?.into_iter().map(Ok));
    }
    install::permitted()?;
    let laid_out = install::lay_out(Path::new("/"), &program, &generated)?;
    // The authority is made before the first start, which would make it without a word.
    let set_up = install::set_up();
    let mut status = say(laid_out.into_iter().map(Ok).chain(set_up))?;
    if !arguments.no_trust && trust()? != ExitCode::SUCCESS {
        status = ExitCode::FAILURE;
    }
    if !arguments.no_start && say(install::start())? != ExitCode::SUCCESS {
        status = ExitCode::FAILURE;
    }
    Ok(status)
}

pub(super) fn uninstall(
    arguments: &UninstallArgs,
    command: clap::Command,
    config: &Config,
) -> Result<ExitCode> {
    install::permitted()?;
    let generated: Vec<PathBuf> =
        generated(command)?.into_iter().map(|Generated { path, .. }| path).collect();
    let paths = &config.paths;
    let mut said = install::stop();
    said.push(match cleanup::take_out(config) {
        Ok(_) => Ok("nothing of it is left in the kernel".to_owned()),
        Err(error) => Err(format!("kernel: {error:#}")),
    });
    said.extend(untrust(&paths.state));
    match install::take_away(Path::new("/"), &generated, arguments.purge) {
        Ok(lines) => said.extend(lines.into_iter().map(Ok)),
        Err(error) => said.push(Err(error.to_string())),
    }
    let removal = if arguments.purge { Removal::Everything } else { Removal::Program };
    said.extend(install::remove(&paths.state, &paths.run, removal));
    say(said)
}

fn untrust(state: &Path) -> Vec<Result<String, String>> {
    match crate::trust::take(&Place::new("/"), state, &Store::ALL) {
        Ok(reports) => reports
            .into_iter()
            .flat_map(|report| match report.outcome {
                Outcome::Done(lines) => lines.into_iter().map(Ok).collect(),
                Outcome::Absent(_) => Vec::new(),
                Outcome::Failed(error) => vec![Err(format!("{}: {error}", report.store.name()))],
            })
            .collect(),
        Err(error) => vec![Err(error.to_string())],
    }
}

/// Manual pages of every command and completion scripts, and where distributions want them.
fn generated(mut command: clap::Command) -> Result<Vec<Generated>> {
    const SCRIPTS: [(Shell, &str); 3] = [
        (Shell::Bash, "/usr/share/bash-completion/completions/portcullis"),
        (Shell::Zsh, "/usr/share/zsh/vendor-completions/_portcullis"),
        (Shell::Fish, "/usr/share/fish/vendor_completions.d/portcullis.fish"),
    ];
    let mut made = Vec::new();
    // Before the scripts: making those adds a subcommand `help` to every command.
    let mut documented = command.clone().disable_help_subcommand(true);
    documented.build();
    pages(&documented, &mut made)?;
    for (shell, path) in SCRIPTS {
        let mut content = Vec::new();
        clap_complete::generate(shell, &mut command, "portcullis", &mut content);
        made.push(Generated { path: path.into(), content });
    }
    Ok(made)
}

fn pages(command: &clap::Command, made: &mut Vec<Generated>) -> Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, made)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut content = Vec::new();
    page.render(&mut content).context("a manual page")?;
    made.push(Generated { path: Path::new("/usr/share/man/man1").join(page.get_filename()), content });
    Ok(())
}

/// Prints what was done, and on standard error what failed.
fn say(lines: impl IntoIterator<Item = Result<String, String>>) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for line in lines {
        match line {
            Ok(done) => writeln!(io::stdout(), "{done}")?,
            Err(failed) => {
                writeln!(io::stderr(), "portcullis: failed: {failed}")?;
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}
