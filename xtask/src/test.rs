//! Runs the tests: unit (no rights needed), netns (root), or both.

use anyhow::{Result, bail};

use crate::command::{read, run, say};
use crate::workspace::{host_cargo, is_root};
use crate::{build, setup};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which tests; both when left out
    suite: Option<Suite>,
    /// Fail when the tests that take root cannot run (always so when CI is set)
    #[arg(long)]
    require_root: bool,
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    Unit,
    Netns,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let wants = |suite| arguments.suite.is_none_or(|only| only == suite);
    let filter = arguments.filter.as_deref();
    if wants(Suite::Unit) {
        unit(filter)?;
    }
    if wants(Suite::Netns) {
        let must = arguments.require_root || std::env::var_os("CI").is_some();
        match (is_root(), must) {
            (true, _) => netns(filter)?,
            (false, true) => bail!(
                "the netns tests take root (network namespaces, cgroups, kernel programs): run this as root"
            ),
            (false, false) => {
                say(
                    "LEFT OUT: the netns tests, which take root (sudo -E env PATH=$PATH cargo xtask test netns)",
                );
            }
        }
    }
    Ok(())
}

fn unit(filter: Option<&str>) -> Result<()> {
    say("the pure half, built and tested without a runtime and without the kernel");
    let pure = ["--locked", "--package", "portcullis", "--no-default-features"];
    for dependency in ["tokio", "aya", "rustls", "rusqlite"] {
        absent(dependency, &pure[1..])?;
    }
    run(host_cargo().arg("test").args(pure).args(filter))?;
    say("all unit tests");
    run(host_cargo().args(["test", "--locked", "--workspace"]).args(filter))?;
    say("one crypto provider");
    absent("ring", &["--workspace"])
}

/// Fails when `dependency` is anywhere in the graph of normal, build and test dependencies.
fn absent(dependency: &str, selection: &[&str]) -> Result<()> {
    let mut tree = host_cargo();
    tree.args(["tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"])
        .args(selection);
    let prefix = format!("{dependency} v");
    if read(&mut tree)?.lines().any(|line| line.starts_with(&prefix)) {
        bail!(
            "`{dependency}` is in the dependency graph of {}: `cargo tree -i {dependency}`",
            selection.join(" ")
        );
    }
    say(format_args!("{dependency} is not in the graph of {}", selection.join(" ")));
    Ok(())
}

fn netns(filter: Option<&str>) -> Result<()> {
    setup::lab()?;
    // Elsewhere the tests in a browser are left out, visibly, where there is none.
    if std::env::var_os("CI").is_some() {
        setup::browser()?;
    }
    let binary = build::agent()?;
    say("the agent between real programs, in network namespaces");
    run(host_cargo()
        .args(["test", "--locked", "--workspace", "--test", "it"])
        .args(filter)
        .env(lab::agent::BINARY_VARIABLE, binary))?;
    // Built with the agent's own access to its maps, so they stand in `steering` and not in the suite.
    say("the loaded programs against the parsers of userspace");
    run(host_cargo()
        .args(["test", "--locked", "--workspace", "--lib", "--", "--ignored"])
        .args(filter.or(Some("steering::agreement"))))
}
