//! What the demo prints: numbered lines with PASS or FAIL, what was done, expected and seen.

use anyhow::{Result, bail};
use lab::interrupt;

pub(crate) struct Report {
    shown: u32,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { shown: 0, failed: Vec::new() }
    }

    pub(crate) fn heading(&self, text: &str) {
        println!("\n== {text}");
    }

    pub(crate) fn note(&self, text: &str) {
        println!("   {text}");
    }

    /// Text of somebody else's, set off from ours.
    pub(crate) fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   │ {line}");
        }
    }

    /// One thing that must hold. `look` gives whether it does and what was seen. Only an interruption ends the demo; a
    /// failure is counted and the next line follows.
    pub(crate) fn line(
        &mut self,
        name: &str,
        done: &str,
        expected: &str,
        look: impl FnOnce() -> Result<(bool, String)>,
    ) -> Result<()> {
        self.shown += 1;
        let (holds, seen) = look().unwrap_or_else(|error| (false, format!("{error:#}")));
        println!("\n{:>2}  {}  {name}", self.shown, if holds { "PASS" } else { "FAIL" });
        println!("      did       {done}");
        println!("      expected  {expected}");
        println!("      seen      {}", readable(&seen).replace('\n', "\n                "));
        if !holds {
            self.failed.push(name.to_owned());
        }
        if interrupt::pending() {
            bail!("interrupted");
        }
        Ok(())
    }

    pub(crate) fn failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The closing line; an error when any line failed.
    pub(crate) fn verdict(&self) -> Result<()> {
        println!("\n{} passed, {} failed", self.shown as usize - self.failed.len(), self.failed.len());
        if self.failed() {
            bail!("not as it should be: {}", self.failed.join("; "));
        }
        Ok(())
    }
}

/// Whatever a client received, fit for a terminal: no control characters, and no more than a glance takes in.
fn readable(text: &str) -> String {
    const GLANCE: usize = 700;
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' || c == char::REPLACEMENT_CHARACTER { '·' } else { c })
        .take(GLANCE)
        .collect();
    if text.chars().count() > GLANCE {
        short.push('…');
    }
    short
}
