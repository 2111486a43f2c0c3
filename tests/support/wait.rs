//! Waiting for something to become true, with a deadline and an ear for Ctrl-C.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// Long enough for a loaded machine; nobody waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions.
pub const STEP: Duration = Duration::from_millis(5);

/// Asks until the answer is there. `what` completes "waited in vain for …".
pub fn until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if interrupt::pending() {
            bail!("interrupted while waiting for {what}");
        }
        if start.elapsed() > deadline {
            bail!("waited {} s in vain for {what}", deadline.as_secs());
        }
        std::thread::sleep(STEP);
    }
}
