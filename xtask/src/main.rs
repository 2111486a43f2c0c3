//! The developer's commands: parses the command line and dispatches, nothing else.
#![allow(clippy::print_stdout, reason = "developer commands talk on the terminal")]

mod apt;
mod bench;
mod build;
mod check;
mod command;
mod demo;
mod fuzz;
mod package;
mod profile;
mod run;
mod setup;
mod test;
mod tidy;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, run, demonstrate and test Portcullis.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building the kernel object takes (every other command does this when needed)
    Setup(setup::Arguments),
    /// Build the kernel object and the agent
    Build,
    /// Show the product at work, between real programs, in network namespaces of its own
    Demo(demo::Arguments),
    /// Build the agent and run it on this host
    Run(run::Arguments),
    /// Run the tests: unit, netns, or both
    Test(test::Arguments),
    /// Boot other kernels in a virtual machine and run the tests that depend on the kernel there
    VmTest(vm::Arguments),
    /// Fuzz the parsers, or replay the kept inputs
    Fuzz(fuzz::Arguments),
    /// Run the micro-benchmarks of the pure half, or those of the whole
    Bench(bench::Arguments),
    /// Make the packages for Debian and Red Hat, and try the former in a Debian of its own
    Package(package::Arguments),
    /// Watch the agent at work and keep what it does most, for release builds to be laid out by (root)
    Profile,
    /// Formatting, lints and the rules of the house
    Check,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(arguments) => setup::main(&arguments),
        Command::Build => build::main(),
        Command::Demo(arguments) => demo::main(&arguments),
        Command::Run(arguments) => run::main(&arguments),
        Command::Test(arguments) => test::main(&arguments),
        Command::VmTest(arguments) => vm::main(&arguments),
        Command::Fuzz(arguments) => fuzz::main(&arguments),
        Command::Bench(arguments) => bench::main(&arguments),
        Command::Package(arguments) => package::main(&arguments),
        Command::Profile => profile::main(),
        Command::Check => check::main(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
