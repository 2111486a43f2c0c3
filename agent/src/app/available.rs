//! What the settings ask for and this version or this host does not have, said before anything is made.

use crate::config::{Fail, Mode};
use crate::reload::Snapshot;
use crate::steering;

use super::Fault;

/// Refuses modes that this version does not have, and says which settings have no effect yet.
pub(super) fn check(snapshot: &Snapshot, mode: Mode) -> Result<(), Fault> {
    let steering = &snapshot.config.steering;
    if let Some(missing) = steering.missing_for(mode) {
        return Err(Fault::Unavailable(format!(
            "{missing}: name the inside interfaces of this gateway there"
        )));
    }
    if mode == Mode::Gateway {
        // What pins it takes it makes itself.
        return Ok(());
    }
    if mode == Mode::Explicit {
        // Nothing of what the further settings are about happens in the kernel.
        if !steering.listen.ip().is_loopback() {
            tracing::warn!(
                listen = %steering.listen,
                "the proxy asks for no password: whoever [steering] clients names may use it"
            );
        }
        return Ok(());
    }
    // Without pins nothing refuses when the agent is gone: that would be another setting than the one that was made.
    match steering::check_base(&snapshot.config.paths.pins) {
        Err(fault) if steering.fail == Fail::Closed => {
            Err(Fault::Unavailable(format!("[steering] fail = \"closed\" takes a BPF file system: {fault}")))
        }
        _ => Ok(()),
    }
}
