//! Logs: to the journal when systemd reads our standard error, else to standard error. User content stays at debug.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Which messages are kept: `PORTCULLIS_LOG`, in the syntax of tracing's filters.
const VARIABLE: &str = "PORTCULLIS_LOG";
/// aya tells every relocation of the kernel object at debug.
const DEFAULT: &str = "info,aya=warn,aya_obj=warn";

/// Sets up the process's logging. A filter that cannot be read falls back to the default and says so.
pub fn start() {
    let wanted = std::env::var(VARIABLE).ok();
    let (filter, fault) = match wanted.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT), Some(error)),
        None => (EnvFilter::new(DEFAULT), None),
    };
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
    });
    tracing_subscriber::registry().with(filter).with(journal).with(text).init();
    if let Some(error) = fault {
        tracing::warn!("{VARIABLE} is ignored: {error}");
    }
}
