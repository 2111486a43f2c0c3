//! The commands of the binary, one file each: arguments in, text and an exit status out.

pub mod activity;
pub mod status;
mod terminal;
