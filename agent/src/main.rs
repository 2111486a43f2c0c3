//! The agent: arguments, telemetry, exit codes.
fn main() {}
