//! The issuing key in a process of its own: what is said between it and the agent, both ends, and how it shuts itself in.
//!
//! ```text
//!  agent: parses what comes from the network          signer: no network, no files, holds the key
//!    Client ── "leaf for NAME, for this public key" ──► serve ── name constraints, rate, peer's uid ── signature
//! ```
//! The agent sees certificates only. Whoever takes it over can have leaves signed for the names of the catalog while that
//! lasts, and takes no key away.

mod child;
mod client;
mod confine;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use child::Child;
pub use client::{Client, SignFault};
pub use confine::confine;
pub use server::{ServeFault, Signer, serve};
