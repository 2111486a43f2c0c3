//! The shell commands: arguments in, text and exit status out.

pub mod ca;
pub mod classify;
