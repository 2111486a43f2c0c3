//! The host's settings, and the one way from all configuration texts to what the agent runs on. Reads no files itself.

mod export;
mod load;
mod parse;
mod settings;

use crate::diagnostic::{Diagnostic, SourceFile};

pub use export::{Export, ExportTarget, MAX_EXPORTS};
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

#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;
