//! Portcullis: session controls for cloud apps, enforced on the host.
//!
//! Modules stand in reading order. The first half is pure: values in, values with reasons out; no I/O, no clock, no
//! runtime. The second half (feature `daemon`) is the shell that does I/O, logs and counts.

pub mod diagnostic;
pub mod document;
pub mod printable;

pub mod addr;
pub mod session;

pub mod catalog;
pub mod classify;
pub mod config;
pub mod detect;
pub mod http;
pub mod notice;
pub mod pages;
pub mod policy;
pub mod zip;

pub mod activity;
pub mod doctor;
pub mod exchange;
pub mod inventory;
pub mod siem;

#[cfg(feature = "daemon")]
pub mod admin;
#[cfg(feature = "daemon")]
pub mod app;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod forward;
#[cfg(feature = "daemon")]
pub mod identity;
#[cfg(feature = "daemon")]
pub mod inherited;
#[cfg(feature = "daemon")]
pub mod install;
#[cfg(feature = "daemon")]
pub mod listener;
#[cfg(feature = "daemon")]
pub mod lock;
#[cfg(feature = "daemon")]
mod memory;
#[cfg(feature = "daemon")]
pub mod owner;
#[cfg(feature = "daemon")]
pub mod posture;
#[cfg(feature = "daemon")]
pub mod proxy;
#[cfg(feature = "daemon")]
pub mod record;
#[cfg(feature = "daemon")]
mod regular_file;
#[cfg(feature = "daemon")]
pub mod reload;
#[cfg(feature = "daemon")]
pub mod resolver;
#[cfg(feature = "daemon")]
mod state_file;
#[cfg(feature = "daemon")]
pub mod steering;
#[cfg(feature = "daemon")]
pub mod telemetry;
#[cfg(feature = "daemon")]
pub mod tls;
#[cfg(feature = "daemon")]
pub mod trust;
