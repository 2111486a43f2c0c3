//! Whether a test in a browser can run here, and the browser it runs in.

use lab::Lab;
use lab::agent::Agent;
use lab::browser::{Browser, Kind};

use super::left_out;

/// A browser that trusts the agent and the origin. `None`, said aloud, where it is not installed; with `CI` set that is a
/// failure.
pub(super) fn open<'lab>(lab: &'lab Lab, agent: &Agent<'_>, kind: Kind) -> Option<Browser<'lab>> {
    let missing = kind.missing();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "not installed: {missing:?}");
        left_out(&format!("{missing:?} not installed (cargo xtask setup --browser)"));
        return None;
    }
    Some(Browser::new(lab, agent, kind).unwrap())
}
