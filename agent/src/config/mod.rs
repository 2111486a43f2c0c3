//! The host's settings, and the one way from all configuration texts to what the agent runs on. Reads no files itself.

mod export;
mod limits;
mod load;
mod parse;
mod settings;

use crate::diagnostic::{Diagnostic, SourceFile};

pub use export::{Export, ExportTarget, MAX_EXPORTS};
pub use limits::{Limits, Timeouts};
pub use load::{Loaded, fuzz_config, load_set};
pub use settings::{
    Activity, Check, Config, Console, Content, Device, Dial, Durability, Existing, Fail, Guard, Identity,
    MAX_INTERFACES, MAX_PORTS, Metrics, Mode, Notice, Paths, Posture, Quic, SignerPlace, Steering, Tls,
    UpstreamRoots,
};

/// Reads `portcullis.toml`. What the file leaves out has its default.
///
/// # Errors
/// Everything wrong with the file, in its order.
pub fn parse(source: &SourceFile) -> Result<Config, Vec<Diagnostic>> {
    let read = parse::recover(source);
    match read.value {
        Some(config) if read.diagnostics.is_empty() => Ok(config),
        Some(_) | None => Err(read.diagnostics),
    }
}

/// The settings as far as they are right, and what is wrong: for commands that only have to find a running daemon, or its
/// files. The daemon goes on with what it read before a slip, and can be asked about it.
///
/// # Errors
/// What is wrong, where `[paths]` itself is: others would be asked.
pub fn parse_leniently(source: &SourceFile) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let read = parse::recover(source);
    if read.diagnostics.iter().any(|fault| fault.field.starts_with("paths")) {
        return Err(read.diagnostics);
    }
    let config = read.value.unwrap_or_else(|| parse::recover_broken(source));
    Ok((config, read.diagnostics))
}

#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;
