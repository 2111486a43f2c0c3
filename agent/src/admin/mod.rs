//! How operators look at a running agent: an HTTP listener for scrapers and probes, pages for a browser, a control
//! socket for the commands.

pub mod apps;
pub mod client;
pub mod console;
pub mod control;
pub mod denied;
pub mod health;
pub mod http;
mod limited;
pub mod status;
pub mod why;
