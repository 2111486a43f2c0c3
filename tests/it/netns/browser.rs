//! Whether a test in a browser can run here, and the browser it runs in.

use std::path::Path;

use lab::Lab;
use lab::agent::Agent;
use lab::browser::Browser;

use super::left_out;

/// A browser that trusts the agent and the origin. `None`, said aloud, where it is not installed; with `CI` set that is a
/// failure.
pub(super) fn open<'lab>(lab: &'lab Lab, agent: &Agent<'_>) -> Option<Browser<'lab>> {
    if !["/usr/bin/chromium", "/usr/bin/certutil"].iter().all(|tool| Path::new(tool).exists()) {
        assert!(std::env::var_os("CI").is_none(), "Chromium and certutil are not installed");
        left_out("Chromium or certutil is not installed (cargo xtask setup --browser)");
        return None;
    }
    Some(Browser::trusting(lab, &[agent.ca(), lab.origin_ca()]).unwrap())
}
