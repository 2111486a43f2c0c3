//! What the kernel itself says of each program: instructions that its verifier followed, and the time of a run. What a
//! program jumps to is in its own runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::agent::Agent;
use lab::bpf::Objects;
use serde_json::Value;

use super::load::Load;
use crate::command::read;

/// Switches the kernel's clock for programs (Linux 5.1).
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const PREFIX: &str = "pc_";

/// One program of the host's.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    /// `None` below Linux 5.16, which does not tell.
    pub(super) instructions: Option<u64>,
    /// In the order of the loads: runs for each thing done, and nanoseconds of a run, the kernel's two looks at its clock
    /// included.
    pub(super) loads: Vec<(f64, f64)>,
}

/// Connections of the agent's counters.
#[derive(Debug)]
pub(super) struct Counters(Value);

impl Counters {
    fn of(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or(0)
    }

    pub(super) fn steered(&self) -> u64 {
        self.of("steered") + self.of("peeked")
    }

    pub(super) fn watched(&self) -> u64 {
        self.of("watched")
    }
}

pub(super) fn counters(agent: &Agent<'_>) -> Result<Counters> {
    let status = agent.command(&["status", "--json"])?;
    let status: Value = serde_json::from_slice(&status.stdout).context("status printed no JSON")?;
    Ok(Counters(status["steering"]["counters"].clone()))
}

/// Lets the kernel count while each load goes on, which `run` says the things done of.
pub(super) fn measure(
    agent: &Agent<'_>,
    loads: &[&'static Load],
    mut run: impl FnMut(&'static Load) -> Result<f64>,
) -> Result<Vec<Hook>> {
    let doctor = agent.command(&["doctor", "--json"])?;
    let doctor: Value = serde_json::from_slice(&doctor.stdout).context("doctor printed no JSON")?;
    let instructions = |name: &str| {
        let programs = doctor["programs"].as_array()?;
        programs.iter().find(|program| program["name"] == name)?["instructions"].as_u64()
    };

    let was = fs::read_to_string(STATISTICS).with_context(|| format!("cannot read {STATISTICS}"))?;
    fs::write(STATISTICS, "1").with_context(|| format!("cannot write {STATISTICS}"))?;
    let counted = count(&agent.kernel_objects(), loads, &mut run);
    fs::write(STATISTICS, was.trim())?;
    Ok(counted?
        .into_iter()
        .map(|(name, loads)| Hook { instructions: instructions(&name), name, loads })
        .collect())
}

fn count(
    held: &Objects,
    loads: &[&'static Load],
    run: &mut impl FnMut(&'static Load) -> Result<f64>,
) -> Result<BTreeMap<String, Vec<(f64, f64)>>> {
    let mut counted: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for load in loads {
        let before = counts(held)?;
        let things = run(load)?;
        for (name, (runs, time)) in counts(held)? {
            let (runs_before, time_before) = before.get(&name).copied().unwrap_or_default();
            let (runs, time) = ((runs - runs_before) as f64, (time - time_before) as f64);
            counted.entry(name).or_default().push((runs / things, time / runs));
        }
    }
    Ok(counted)
}

/// Runs and nanoseconds of these programs.
fn counts(held: &Objects) -> Result<BTreeMap<String, (u64, u64)>> {
    let list = read(Command::new("bpftool").args(["--json", "prog", "show"]))?;
    let list: Value = serde_json::from_str(&list).context("bpftool printed no JSON")?;
    Ok(list
        .as_array()
        .into_iter()
        .flatten()
        .filter(|program| program["id"].as_u64().is_some_and(|id| held.has("prog", id)))
        .filter_map(|program| {
            let name = program["name"].as_str().filter(|name| name.starts_with(PREFIX))?;
            let number = |field: &str| program[field].as_u64().unwrap_or(0);
            Some((name.to_owned(), (number("run_cnt"), number("run_time_ns"))))
        })
        .collect())
}
