//! Measurements: micro-benchmarks, instruction counts, the whole agent beside its peers, and what the kernel's programs
//! cost the traffic they leave alone. `benches/README.md` says what each number means.

mod instructions;
mod peers;
mod steering;

use std::path::Path;

use anyhow::Result;

use crate::command::run;
use crate::workspace::host_cargo;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Only micro-benchmarks whose name matches this regular expression, for example `heads/parse`
    filter: Option<String>,
}

#[derive(clap::Subcommand)]
enum Suite {
    /// The agent beside other proxies and byte relays, interleaved: CPU time, latency and memory (root)
    Peers(peers::Arguments),
    /// Instructions of the hot functions, counted by valgrind and compared with the kept table
    Instructions(instructions::Arguments),
    /// What the kernel's programs cost traffic that nobody monitors, with and without them in one run (root)
    Steering(steering::Arguments),
    /// One end of the traffic of `steering`
    #[command(hide = true)]
    SteeringEnd(steering::End),
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    match &arguments.suite {
        Some(Suite::Peers(arguments)) => peers::main(arguments),
        Some(Suite::Instructions(arguments)) => instructions::main(arguments),
        Some(Suite::Steering(arguments)) => steering::main(arguments),
        Some(Suite::SteeringEnd(end)) => steering::end(end),
        None => micro(arguments.filter.as_deref()),
    }
}

/// Has the agent do what is measured beside its peers, each work twice.
pub(crate) fn train(agent: &Path) -> Result<()> {
    peers::main(&peers::Arguments::training(agent))
}

fn micro(filter: Option<&str>) -> Result<()> {
    // The benches alone: the harness of the library and the tests does not know criterion's arguments.
    run(host_cargo()
        .args(["bench", "--locked", "--package", "portcullis-benches", "--benches", "--"])
        .args(filter))
}
