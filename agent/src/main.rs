//! The `portcullis` program: hands the command line over and turns the answer into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::cli::main()
}
