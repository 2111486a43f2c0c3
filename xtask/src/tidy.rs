//! The rules of the house that no compiler knows: what a file says first, what pure modules may not name, and which
//! module owns which dependency.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::say;
use crate::workspace::root;

const SOURCES: [&str; 6] = ["agent", "agent-common", "agent-ebpf", "xtask", "tests", "benches"];

/// Longest file, tests not counted, before a reader would rather have two.
const LINES: usize = 400;

/// What a pure module may not name: runtimes, the kernel, I/O, clocks, output.
const IMPURE: [&str; 19] = [
    "tokio::",
    "aya::",
    "rustls::",
    "rusqlite::",
    "prometheus_client::",
    "tracing::",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "now_v7",
];

/// Dependencies with one owner among the agent's modules, and the reason.
const OWNERS: [(&str, &str, &str); 6] = [
    ("aya::", "steering", "the kernel is reached from one place"),
    ("rustls::", "tls", "how TLS is spoken is decided in one place"),
    ("tokio_rustls::", "tls", "how TLS is spoken is decided in one place"),
    ("rcgen::", "tls", "certificates are made in one place"),
    ("prometheus_client::", "record", "metrics are named in one place"),
    ("rusqlite::", "record", "the activity log is written in one place"),
];

pub(crate) fn main() -> Result<()> {
    let shell = shell_modules()?;
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    for directory in SOURCES {
        rust_files(&root().join(directory), &mut files)?;
    }
    files.sort();
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root()).unwrap_or(path);
        inspect(name, &text, &shell, &mut complaints);
    }
    for complaint in &complaints {
        say(format_args!("tidy: {complaint}"));
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    say(format_args!("tidy: {} files", files.len()));
    Ok(())
}

/// Everything that is wrong with one file. Pure, but for a warning about its length.
fn inspect(name: &Path, text: &str, shell: &[String], complaints: &mut Vec<String>) {
    let shown = name.display();
    if !text.starts_with("//! ") {
        complaints.push(format!("{shown}:1: the first line does not say what the file owns (`//! …`)"));
    }
    let lines = without_tests(name, text);
    if lines.len() > LINES {
        say(format_args!(
            "tidy: warning: {shown} has {} lines without its tests; split it by topic?",
            lines.len()
        ));
    }
    let Ok(inside) = name.strip_prefix("agent/src") else { return };
    let module = inside.iter().next().map(|part| part.to_string_lossy()).unwrap_or_default();
    let module = module.trim_end_matches(".rs");
    let pure = !matches!(module, "lib" | "main") && !shell.iter().any(|name| name == module);
    for (number, line) in (1..).zip(lines) {
        let code = line.split("//").next().unwrap_or_default();
        if pure && let Some(word) = IMPURE.iter().find(|word| names(code, word)) {
            complaints.push(format!("{shown}:{number}: pure module `{module}` names `{word}`"));
        }
        for (word, owner, reason) in OWNERS {
            if module != owner && names(code, word) {
                complaints.push(format!("{shown}:{number}: `{word}` belongs to `{owner}` alone: {reason}"));
            }
        }
        if module != "lib" && code.contains("cfg(feature") {
            complaints.push(format!("{shown}:{number}: features are switched in lib.rs and build.rs only"));
        }
    }
}

/// Lines before the file's test module; none of a file that holds tests only.
fn without_tests<'a>(name: &Path, text: &'a str) -> Vec<&'a str> {
    if name.file_name().is_some_and(|file| file == "tests.rs")
        || name.iter().any(|part| part == "tests") && name.starts_with("agent")
    {
        return Vec::new();
    }
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect()
}

/// Whether `code` has `word` as a path of its own, and not as the end of a longer name.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Modules of the agent behind the feature `daemon`, as lib.rs declares them; all others are pure.
fn shell_modules() -> Result<Vec<String>> {
    let lib = fs::read_to_string(root().join("agent/src/lib.rs")).context("cannot read agent/src/lib.rs")?;
    Ok(gated_modules(&lib))
}

fn gated_modules(lib: &str) -> Vec<String> {
    let lines: Vec<&str> = lib.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(feature = \"daemon\")]")
        .filter_map(|pair| pair[1].split("mod ").nth(1)?.strip_suffix(';').map(str::to_owned))
        .collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[&str]) {
        let mut complaints = Vec::new();
        inspect(Path::new(name), text, &["steering".to_owned(), "proxy".to_owned()], &mut complaints);
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for (complaint, part) in complaints.iter().zip(expected) {
            assert!(complaint.contains(part), "{complaint:?} lacks {part:?}");
        }
    }

    #[test]
    fn every_file_says_first_what_it_owns() {
        check("benches/lib.rs", "//! Benchmarks.\n", &[]);
        check("benches/lib.rs", "use std::fs;\n", &["benches/lib.rs:1: the first line"]);
    }

    #[test]
    fn pure_modules_name_no_runtime_no_io_and_no_clock() {
        check(
            "agent/src/policy/mod.rs",
            "//! P.\nuse tokio::sync;\n",
            &["mod.rs:2: pure module `policy` names `tokio::`"],
        );
        check(
            "agent/src/config.rs",
            "//! C.\nlet now = std::time::SystemTime::now();\n",
            &["names `SystemTime`"],
        );
        check("agent/src/config.rs", "//! C.\n// not tokio::spawn\nuse my_tokio::x;\n", &[]);
        check("agent/src/proxy/mod.rs", "//! P.\nuse tokio::sync;\n", &[]);
        check("agent/src/policy/mod.rs", "//! P.\n#[cfg(test)]\nmod tests { use std::fs; }\n", &[]);
    }

    #[test]
    fn a_dependency_has_one_owner() {
        check("agent/src/steering/load.rs", "//! L.\nuse aya::Ebpf;\n", &[]);
        check("agent/src/proxy/mod.rs", "//! P.\nuse aya::Ebpf;\n", &["`aya::` belongs to `steering` alone"]);
    }

    #[test]
    fn shell_modules_are_those_behind_the_feature() {
        let lib = "pub mod policy;\n#[cfg(feature = \"daemon\")]\npub mod proxy;\n#[cfg(feature = \"daemon\")]\nmod app;\n";
        assert_eq!(gated_modules(lib), ["proxy", "app"]);
    }
}
