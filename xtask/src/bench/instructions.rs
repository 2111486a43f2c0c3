//! Instruction counts of the hot functions. Time on a shared machine says little; the number of instructions is the same
//! on every run, so a change that makes a hot function dearer is seen before it lands.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::apt;
use crate::command::{line, run, say};
use crate::workspace::{host_cargo, root, target_dir};

/// Calls of a function, one after the other: some of them ask for memory, and not all of those cost the same.
const CALLS: u64 = 50;
/// Where instructions are counted: the function of the program that makes those calls.
const COUNTED: &str = "--toggle-collect=*hot::counted*";
/// What a count may differ from the kept one, in percent: processors and library versions choose other loops.
const TOLERANCE: u64 = 10;
/// Counts this small may differ by so many instructions.
const SLACK: u64 = 60;

const HEADING: &str =
    "# Instructions of one call, counted by `cargo xtask bench instructions`; --update writes them anew.\n";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write what was counted into the kept table
    #[arg(long)]
    update: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    apt::ensure(&["valgrind"], "count instructions", "Remedy: install valgrind by hand.")?;
    run(host_cargo().args([
        "build",
        "--locked",
        "--release",
        "--package",
        "portcullis-benches",
        "--bin",
        "hot",
    ]))?;
    let names = said(Command::new(target_dir()?.join("release/hot")))?.0;
    let names: Vec<&str> = names.lines().collect();
    ensure!(!names.is_empty(), "the program names no functions");
    // Counts do not depend on what else runs: two at a time.
    let (left, right) = names.split_at(names.len() / 2);
    let (left, right) = thread::scope(|scope| {
        let right = scope.spawn(|| count(right));
        (count(left), right.join())
    });
    let right = right.map_err(|_| anyhow!("counting failed"))?;
    let counts: BTreeMap<String, u64> = left?.into_iter().chain(right?).collect();
    let path = root().join("benches/instructions.tsv");
    if arguments.update {
        let table: String = counts.iter().map(|(name, count)| format!("{name}\t{count}\n")).collect();
        fs::write(&path, format!("{HEADING}{table}"))?;
        say(format_args!("wrote {}", path.display()));
        return Ok(());
    }
    let kept = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let complaints = compare(&counts, &parse(&kept)?);
    for (name, count) in &counts {
        say(format_args!("{count:>8}  {name}"));
    }
    if !complaints.is_empty() {
        bail!(
            "{}\nIf that is meant, `cargo xtask bench instructions --update` keeps the new counts.",
            complaints.join("\n")
        );
    }
    Ok(())
}

/// Instructions of one call of each function.
fn count(names: &[&str]) -> Result<Vec<(String, u64)>> {
    names
        .iter()
        .map(|name| {
            let mut command = Command::new("valgrind");
            command
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED])
                .arg(target_dir()?.join("release/hot"))
                .args([*name, &CALLS.to_string()]);
            let told = said(command)?.1;
            let total = told.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, n)| n.trim());
            let total: u64 = total.with_context(|| format!("valgrind told no count:\n{told}"))?.parse()?;
            ensure!(total > CALLS, "nothing was counted of {name}: {COUNTED} is not in the program");
            Ok(((*name).to_owned(), total / CALLS))
        })
        .collect()
}

/// What a program printed, and what it or valgrind told beside it.
fn said(mut command: Command) -> Result<(String, String)> {
    let output = command.output().with_context(|| line(&command))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "`{}`: {}\n{told}", line(&command), output.status);
    Ok((String::from_utf8(output.stdout)?, told))
}

fn parse(table: &str) -> Result<BTreeMap<String, u64>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, count) =
                line.split_once('\t').with_context(|| format!("not `name<TAB>count`: {line}"))?;
            Ok((name.to_owned(), count.parse()?))
        })
        .collect()
}

/// What differs by more than is allowed, up or down: a gain that is not kept would hide a later loss.
fn compare(counts: &BTreeMap<String, u64>, kept: &BTreeMap<String, u64>) -> Vec<String> {
    let mut complaints: Vec<String> = kept
        .keys()
        .filter(|name| !counts.contains_key(*name))
        .map(|name| format!("{name}: is in the table and was not counted"))
        .collect();
    for (name, count) in counts {
        match kept.get(name) {
            None => complaints.push(format!("{name}: {count} instructions, not in the table")),
            Some(before) if count.abs_diff(*before) > SLACK.max(before * TOLERANCE / 100) => {
                complaints.push(format!("{name}: {count} instructions, {before} in the table"));
            }
            Some(_) => {}
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_tolerance_missing_and_new_ones_are_named() {
        let table = |rows: &[(&str, u64)]| rows.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
        let kept = parse("# heading\na\t1000\nb\t1000\nc\t100\nd\t5\n").unwrap();
        let counts = table(&[("a", 1101), ("b", 1100), ("c", 160), ("e", 1)]);
        assert_eq!(
            compare(&counts, &kept),
            [
                "d: is in the table and was not counted",
                "a: 1101 instructions, 1000 in the table",
                "e: 1 instructions, not in the table"
            ]
        );
        assert!(compare(&table(&[("a", 899)]), &table(&[("a", 1000)])).len() == 1, "gains are kept, too");
        assert!(parse("a 1").is_err());
    }
}
