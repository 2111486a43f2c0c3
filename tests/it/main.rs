//! The integration tests, one binary. They take root; `cargo xtask test netns` builds the agent and runs them.

mod bare_lab;
mod netns;
