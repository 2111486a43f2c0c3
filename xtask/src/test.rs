//! Runs the tests: unit (no rights needed), netns (root), or both.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{read, run, run_and_keep, say};
use crate::workspace::{host_cargo, is_root};
use crate::{build, setup};

/// So many failing tests may be asked again; where more fail it is no matter of the machine.
const ASKED_AGAIN: usize = 2;

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
    suite(&build::agent()?, filter)?;
    // Built with the agent's own access to its maps, so they stand in `steering` and not in the suite.
    say("the loaded programs against the parsers of userspace");
    run(host_cargo()
        .args(["test", "--locked", "--workspace", "--lib", "--", "--ignored"])
        .args(filter.or(Some("steering::agreement"))))
}

/// This agent between real programs.
pub(crate) fn suite(binary: &Path, filter: Option<&str>) -> Result<()> {
    say("the agent between real programs, in network namespaces");
    let suite = || {
        let mut suite = host_cargo();
        suite
            .args(["test", "--locked", "--workspace", "--test", "it"])
            .env(lab::agent::BINARY_VARIABLE, binary);
        suite
    };
    ask_again(run_and_keep(suite().args(filter))?, |failed| {
        run(suite().args(["--", "--test-threads=1", "--exact"]).args(failed))
    })
}

/// A suite that failed in a few tests is decided by those tests once more, one at a time with nothing beside them: by
/// contract the agent refuses, or passes, what comes while a worker had no turn for a second, and a machine that
/// stood still for so long says nothing about the agent. What failed stays in the output, and is named again.
fn ask_again(first: Result<(), String>, again: impl FnOnce(&[String]) -> Result<()>) -> Result<()> {
    let Err(output) = first else { return Ok(()) };
    let failed = failures(&output);
    if failed.is_empty() || failed.len() > ASKED_AGAIN {
        bail!("the suite failed, in {} tests by its own list", failed.len());
    }
    say(format_args!("FAILED, and asked once more, alone: {}", failed.join(", ")));
    again(&failed)?;
    say(format_args!("FAILED beside others and passed alone: {}", failed.join(", ")));
    Ok(())
}

/// The names in the last list of failures that libtest printed.
fn failures(output: &str) -> Vec<String> {
    let list = output.rsplit_once("\nfailures:\n").map_or("", |(_, list)| list);
    list.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(names: &[&str]) -> String {
        let list: String = names.iter().map(|name| format!("    {name}\n")).collect();
        format!(
            "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n    at line 7\n\n\nfailures:\n{list}\ntest result: FAILED. 1 passed\n"
        )
    }

    #[test]
    fn a_few_failures_are_decided_by_asking_again() {
        let mut asked = Vec::new();
        ask_again(Err(output(&["a::b", "c::d"])), |failed| {
            asked = failed.to_vec();
            Ok(())
        })
        .unwrap();
        assert_eq!(asked, ["a::b", "c::d"]);
        assert!(ask_again(Err(output(&["a::b"])), |_| bail!("again")).is_err());
        ask_again(Ok(()), |_| bail!("nothing to ask")).unwrap();
    }

    #[test]
    fn many_failures_and_a_suite_that_broke_down_are_final() {
        for output in [output(&["a", "b", "c"]), output(&[]), "error: could not compile\n".to_owned()] {
            assert!(ask_again(Err(output), |_| Ok(())).is_err());
        }
    }
}
