//! Waiting for something to become true, with a deadline and an ear for Ctrl-C.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// Long enough for a loaded machine; nobody waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions.
pub const STEP: Duration = Duration::from_millis(5);

/// Names a whole number that every deadline is multiplied with, for machines that are emulated.
pub const FACTOR_VARIABLE: &str = "PORTCULLIS_LAB_PATIENCE";

/// A deadline on this machine.
pub fn scaled(deadline: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| {
        std::env::var(FACTOR_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1).clamp(1, 60)
    });
    deadline * *factor
}

/// Asks until the answer is there. `what` completes "waited in vain for …".
pub fn until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = scaled(deadline);
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
