//! Runs the micro-benchmarks; `benches/README.md` says what each number means.

use anyhow::Result;

use crate::command::run;
use crate::workspace::host_cargo;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only benchmarks whose name matches this regular expression, for example `heads/parse`
    filter: Option<String>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    // The benches alone: the harness of the library and the tests does not know criterion's arguments.
    run(host_cargo()
        .args(["bench", "--locked", "--package", "portcullis-benches", "--benches", "--"])
        .args(&arguments.filter))
}
