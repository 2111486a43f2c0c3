//! The kernel objects of the agent, counted by id, so that a test can show that none stays behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{must, tool};

/// Kinds of object, in the words of bpftool and of /proc/PID/fdinfo.
const KINDS: [(&str, &str); 3] = [("prog", "prog_id"), ("map", "map_id"), ("link", "link_id")];
/// What our objects' names start with.
const OURS: [&str; 2] = ["portcullis_", "pc_"];

/// Kernel objects: (kind, id) with a name where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects(BTreeMap<(&'static str, u64), String>);

impl Objects {
    /// Every program, map and link that a process has open.
    pub fn held_by(pid: u32) -> Self {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fdinfo"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                // A link's fdinfo also names its program: harmless, that one is ours too.
                for (kind, field) in KINDS {
                    if key == field
                        && let Ok(id) = value.trim().parse()
                    {
                        found.insert((kind, id), String::new());
                    }
                }
            }
        }
        Self(found)
    }

    /// Everything that is in the kernel now.
    pub fn existing() -> Result<Self> {
        let mut found = BTreeMap::new();
        for (kind, _) in KINDS {
            let text = must(tool("bpftool").args(["--json", kind, "show"])).context("package bpftool")?;
            let list: Value = serde_json::from_str(&text).context("bpftool printed no JSON")?;
            for object in list.as_array().into_iter().flatten() {
                if let Some(id) = object["id"].as_u64() {
                    found.insert((kind, id), object["name"].as_str().unwrap_or_default().to_owned());
                }
            }
        }
        Ok(Self(found))
    }

    /// Those with a name of ours.
    pub fn ours(mut self) -> Self {
        self.0.retain(|_, name| OURS.iter().any(|prefix| name.starts_with(prefix)));
        self
    }

    /// Those that `other` has too.
    pub fn also_in(mut self, other: &Objects) -> Self {
        self.0.retain(|key, _| other.0.contains_key(key));
        self
    }

    /// Those that `other` does not have.
    pub fn not_in(mut self, other: &Objects) -> Self {
        self.0.retain(|key, _| !other.0.contains_key(key));
        self
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is among them.
    pub fn has(&self, kind: &str, id: u64) -> bool {
        self.0.keys().any(|key| *key == (kind, id))
    }

    /// How many of a kind (`prog`, `map`, `link`).
    pub fn count(&self, kind: &str) -> usize {
        self.0.keys().filter(|(own, _)| *own == kind).count()
    }
}

impl std::fmt::Display for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, ((kind, id), name)) in self.0.iter().enumerate() {
            write!(f, "{}{kind} {id} {name}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Programs attached to a cgroup, as bpftool names their hooks.
pub fn attached(cgroup: &Path) -> Result<Vec<String>> {
    let text =
        must(tool("bpftool").args(["--json", "cgroup", "show"]).arg(cgroup)).context("package bpftool")?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let list: Value = serde_json::from_str(&text).context("bpftool printed no JSON")?;
    Ok(list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|program| program["attach_type"].as_str().map(str::to_owned))
        .collect())
}
