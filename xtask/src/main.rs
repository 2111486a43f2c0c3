//! Dispatches the developer commands.
fn main() {}
