//! What was done and how long each exchange took.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::client::Client;

pub(crate) struct Tally {
    begun: Instant,
    bytes: u64,
    took: Vec<Duration>,
}

impl Tally {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), bytes: 0, took: Vec::new() }
    }

    pub(crate) async fn exchange(&mut self, client: &mut Client) -> Result<()> {
        let begun = Instant::now();
        let bytes = client.get().await?;
        self.add(begun.elapsed(), bytes);
        Ok(())
    }

    pub(crate) fn add(&mut self, took: Duration, bytes: u64) {
        self.took.push(took);
        self.bytes += bytes;
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.took.extend(other.took);
    }

    pub(crate) fn report(mut self) -> Value {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.took.sort_unstable();
        let at = |part: usize| {
            let index = (self.took.len() * part / 100).min(self.took.len().saturating_sub(1));
            self.took.get(index).map(|took| took.as_secs_f64() * 1e6)
        };
        json!({
            "exchanges": self.took.len(),
            "bytes": self.bytes,
            "seconds": seconds,
            "p50_us": at(50),
            "p99_us": at(99),
        })
    }
}
