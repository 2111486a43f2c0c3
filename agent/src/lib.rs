//! Portcullis: session controls for cloud apps, enforced on the host.
//!
//! Modules stand in reading order. The first half is pure: values in, values with reasons out; no I/O, no clock, no
//! runtime. The second half (feature `daemon`) is the shell that does I/O, logs and counts.

pub mod addr;
pub mod session;

pub mod catalog;
pub mod classify;
pub mod http;
pub mod policy;

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod tls;
