//! From samples to a table and a file: ratios round by round, their medians and quartiles.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::hooks::Hook;
use super::load::{Kind, Load, PIECE, Sample};
use crate::command::say;
use crate::workspace::target_dir;

/// What one load came to, round by round.
pub(super) struct Series {
    load: &'static Load,
    with: Vec<Sample>,
    without: Vec<Sample>,
    again: Vec<Sample>,
}

impl Series {
    pub(super) fn new(load: &'static Load) -> Self {
        Self { load, with: Vec::new(), without: Vec::new(), again: Vec::new() }
    }

    pub(super) fn add(&mut self, with: Sample, without: Sample, again: Sample) {
        self.with.push(with);
        self.without.push(without);
        self.again.push(again);
    }

    /// How one side compares to `without`: its rate, and its processor time for each thing, round by round.
    fn compared(&self, side: &[Sample]) -> Compared {
        let pairs = || side.iter().zip(&self.without);
        Compared {
            rate: Spread::of(pairs().map(|(a, b)| rate(a) / rate(b)).collect()),
            cpu: Spread::of(pairs().map(|(a, b)| cpu(a) / cpu(b)).collect()),
            later: [0.5, 0.99].map(|part| {
                Spread::of(
                    pairs()
                        .filter(|(a, b)| !a.times.is_empty() && !b.times.is_empty())
                        .map(|(a, b)| (quantile(&a.times, part) - quantile(&b.times, part)) / 1000.0)
                        .collect(),
                )
            }),
        }
    }

    fn to_json(&self) -> Value {
        let side = |side: &[Sample]| {
            let times: Vec<f64> = side.iter().flat_map(|sample| sample.times.iter().copied()).collect();
            json!({
                "rate": quantile(&side.iter().map(rate).collect::<Vec<_>>(), 0.5),
                "cpu_seconds_each": quantile(&side.iter().map(cpu).collect::<Vec<_>>(), 0.5),
                "p50_us": quantile(&times, 0.5) / 1000.0,
                "p99_us": quantile(&times, 0.99) / 1000.0,
            })
        };
        json!({
            "load": self.load.name,
            "what": self.load.what,
            "unit": if self.load.kind == Kind::Bulk { "bytes/s" } else { "1/s" },
            "with": side(&self.with), "without": side(&self.without), "again": side(&self.again),
            "with_to_without": self.compared(&self.with).to_json(),
            "again_to_without": self.compared(&self.again).to_json(),
        })
    }
}

struct Compared {
    rate: Spread,
    cpu: Spread,
    /// Microseconds more at the median and at the 99th percentile of a round.
    later: [Spread; 2],
}

impl Compared {
    fn to_json(&self) -> Value {
        let [p50, p99] = &self.later;
        json!({ "rate": self.rate.to_json(), "cpu": self.cpu.to_json(),
                "p50_us_more": p50.to_json(), "p99_us_more": p99.to_json() })
    }
}

/// Median and quartiles over the rounds.
#[derive(Debug, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(values: Vec<f64>) -> Self {
        Self { low: quantile(&values, 0.25), median: quantile(&values, 0.5), high: quantile(&values, 0.75) }
    }

    fn to_json(&self) -> Value {
        json!({ "q1": self.low, "median": self.median, "q3": self.high })
    }
}

/// The value below which this part of the values lies (nearest rank); NaN, `null` in JSON, without values.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

fn rate(sample: &Sample) -> f64 {
    sample.count / sample.seconds
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_seconds / sample.count
}

/// Prints the tables and writes `target/bench/steering.json`.
pub(super) fn show(
    series: &[Series],
    loads: &[&'static Load],
    hooks: &[Hook],
    rounds: usize,
    slot: Duration,
) -> Result<()> {
    println!("\nwith the programs compared to without; in brackets the same without them, twice: the noise");
    println!(
        "{:<14}{:>9} {:>9}   {:<26}{:<26}{:<26}p99, µs more",
        "load", "without", "", "rate", "processor time for each", "p50, µs more"
    );
    for one in series {
        let (with, again) = (one.compared(&one.with), one.compared(&one.again));
        let rates: Vec<f64> = one.without.iter().map(rate).collect();
        let (rate, unit) = match one.load.kind {
            Kind::Bulk => (quantile(&rates, 0.5) * 8.0 / 1e9, "Gbit/s"),
            Kind::Count | Kind::Latency => (quantile(&rates, 0.5), "1/s"),
        };
        let [p50, p99] = [0, 1].map(|at| later(&with.later[at], &again.later[at]));
        println!(
            "{:<14}{rate:>9.1} {unit:>9}   {:<26}{:<26}{p50:<26}{p99}",
            one.load.name,
            ratio(&with.rate, &again.rate),
            ratio(&with.cpu, &again.cpu),
        );
    }
    println!(
        "\nnanoseconds of a run, by load, and runs for each thing done (bulk: for each 64 KiB)\n\
         what pc_out jumps to is in its runs"
    );
    print!("{:<16}{:>10}", "program", "verified");
    for load in loads {
        print!("{:>16}", load.name);
    }
    for hook in hooks {
        let instructions = hook.instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
        print!("\n{:<16}{instructions:>10}", hook.name);
        for ((runs, nanoseconds), load) in hook.loads.iter().zip(loads) {
            let runs = if load.kind == Kind::Bulk { runs * PIECE as f64 } else { *runs };
            let shown = if runs < 0.005 { String::new() } else { format!("{nanoseconds:.0} x{runs:.2}") };
            print!("{shown:>16}");
        }
    }
    println!();
    let file = target_dir()?.join("bench/steering.json");
    fs::create_dir_all(target_dir()?.join("bench"))?;
    let programs: Vec<Value> = hooks
        .iter()
        .map(|hook| {
            let loads: Vec<Value> = hook
                .loads
                .iter()
                .zip(loads)
                .map(|((runs, nanoseconds), load)| {
                    json!({ "load": load.name, "runs_each": runs, "ns_a_run": nanoseconds })
                })
                .collect();
            json!({ "name": hook.name, "instructions_verified": hook.instructions, "loads": loads })
        })
        .collect();
    let all = json!({
        "rounds": rounds, "slot_ms": slot.as_millis() as u64,
        "loads": series.iter().map(Series::to_json).collect::<Vec<_>>(), "programs": programs,
    });
    fs::write(&file, serde_json::to_string_pretty(&all)?)?;
    say(format_args!("written to {}", file.display()));
    Ok(())
}

fn ratio(with: &Spread, again: &Spread) -> String {
    format!("{:.3} {:.2}-{:.2} [{:.3}]", with.median, with.low, with.high, again.median)
}

fn later(with: &Spread, again: &Spread) -> String {
    if with.median.is_nan() {
        return "-".to_owned();
    }
    format!("{:+.2} {:+.1}..{:+.1} [{:+.2}]", with.median, with.low, with.high, again.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_are_there() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(Spread::of(values.to_vec()), Spread { low: 1.0, median: 2.0, high: 3.0 });
        assert_eq!(quantile(&values, 0.99), 4.0);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
