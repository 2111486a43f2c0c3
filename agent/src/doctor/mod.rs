//! What a host must have for the agent to work, judged from facts: outcome, what was found, and what to do about it.
//!
//! Pure. The probing is `cli::doctor`'s and, for the kernel, `steering::probe`'s. What could not be looked at is skipped
//! and says why: it counts neither for nor against the host.

mod facts;
mod host;
mod kernel;
mod release;
mod service;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use facts::{
    Answer, Authority, CAPABILITIES, Capabilities, Daemon, Directory, Entry, Facts, Feature, KernelTls, Need,
    OwnStore, Port, PortState, Program,
};
pub use release::{OLDEST, Release};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    /// Not looked at; neither good nor bad.
    Skipped,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub outcome: Outcome,
    pub found: String,
    /// What to do about a failed or skipped check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Ok, found: found.into(), remedy: None }
    }

    fn failed(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Failed, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn skipped(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Skipped, found: found.into(), remedy: None }
    }

    /// Judges an answer if there is one. What is broken names its remedy itself, or `remedy` does.
    fn of<T>(name: &str, answer: &Answer<T>, judge: impl FnOnce(&T) -> Self) -> Self {
        Self::with_remedy(name, answer, "put right what it names", judge)
    }

    fn with_remedy<T>(name: &str, answer: &Answer<T>, remedy: &str, judge: impl FnOnce(&T) -> Self) -> Self {
        match answer {
            Answer::Found(value) => judge(value),
            Answer::NeedsRoot => Self::skipped(name, "not checked: needs root"),
            Answer::Unknown(why) => Self::skipped(name, format!("not checked: {why}")),
            Answer::Broken(why) => Self::failed(name, why, remedy),
        }
    }
}

/// Everything that was found, in the order of reading: kernel, host, the agent's own things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub checks: Vec<Check>,
    /// The kernel programs, as this kernel's verifier took them; empty when they could not be loaded at all.
    pub programs: Vec<Program>,
}

impl Report {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }
}

/// Judges a host.
pub fn examine(facts: &Facts) -> Report {
    let mut checks = kernel::checks(facts);
    checks.extend(host::checks(facts));
    checks.extend(service::checks(facts));
    let programs = match &facts.programs {
        Answer::Found(programs) => programs.clone(),
        Answer::NeedsRoot | Answer::Unknown(_) | Answer::Broken(_) => Vec::new(),
    };
    Report { checks, programs }
}
