//! Builds and runs the fuzz targets, or replays and minimises their corpora.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::apt;
use crate::command::{line, read, run, say};
use crate::workspace::{host_cargo, own_cargo, plain, root, target_dir};

/// Longest input in bytes: past it a coverage-led search spends its time on copies.
const MAX_LENGTH: u32 = 4096;
/// A target that takes longer for one input, in seconds, or more memory, in MiB, is reported like a crash.
const TIMEOUT_S: u32 = 5;
const MEMORY_MB: u32 = 2048;
/// What cargo-fuzz passes too: a counter per edge, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this target (all when left out; a wrong name lists them)
    target: Option<String>,
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// No fuzzing: run every kept input once, as the unit tests do
    #[arg(long, conflicts_with_all = ["seconds", "minimise"])]
    replay: bool,
    /// Afterwards take what was found into the kept corpora, and from these what adds no coverage out
    #[arg(long)]
    minimise: bool,
    /// Without AddressSanitizer: built in half the time, and blind for what unsafe code of libraries does
    #[arg(long, conflicts_with = "replay")]
    coverage_only: bool,
    /// Targets at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if arguments.replay {
        return run(host_cargo().args([
            "test",
            "--locked",
            "--package",
            "portcullis-tests",
            "--test",
            "replay",
        ]));
    }
    let targets = targets(arguments.target.as_deref())?;
    let fuzzer = Fuzzer::build(arguments.coverage_only)?;
    let mut broken = Vec::new();
    for group in targets.chunks(arguments.jobs.into()) {
        broken.extend(fuzzer.fuzz(group, arguments.seconds)?);
    }
    if !broken.is_empty() {
        bail!(
            "{} broke a promise; the inputs are in {}. Fix it, and keep the input as a named test and in tests/fuzz/corpus",
            broken.join(", "),
            fuzzer.found.display()
        );
    }
    if arguments.minimise {
        for target in &targets {
            fuzzer.minimise(target)?;
        }
    }
    say(format_args!("{} targets held for {} s each", targets.len(), arguments.seconds));
    Ok(())
}

fn corpora() -> PathBuf {
    root().join("tests/fuzz/corpus")
}

/// Every target has a corpus, and the replay test sees to it that every corpus has a target.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(corpora()).context("cannot read tests/fuzz/corpus")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match only {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("no target {name:?}; there are {}", names.join(", ")),
    }
}

struct Fuzzer {
    program: PathBuf,
    /// Inputs of this machine that are not in the tree.
    work: PathBuf,
    /// Inputs that broke something.
    found: PathBuf,
}

impl Fuzzer {
    /// Coverage passes are in every rustc, the sanitizer's runtime in every rustup toolchain: no nightly is needed, only
    /// the leave to name an unstable flag.
    fn build(coverage_only: bool) -> Result<Self> {
        // Other flags: one directory for both would be built anew at each change.
        let directory = target_dir()?.join(if coverage_only { "fuzz-coverage" } else { "fuzz" });
        apt::ensure(&["g++"], "build libFuzzer", "Remedy: install a C++ compiler by hand.")?;
        let host = host_triple()?;
        let sanitizer = !coverage_only && has_sanitizer(&host)?;
        if !sanitizer && !coverage_only {
            say("this toolchain has no AddressSanitizer runtime: fuzzing with coverage alone");
        }
        let flags = format!("{COVERAGE}{}", if sanitizer { " -Zsanitizer=address" } else { "" });
        run(plain(own_cargo())
            .args(["build", "--release", "--locked", "--target", &host, "--manifest-path"])
            .arg(root().join("tests/fuzz/Cargo.toml"))
            .arg("--target-dir")
            .arg(&directory)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags))?;
        let fuzzer = Self {
            program: directory.join(host).join("release/fuzz"),
            work: directory.join("work"),
            found: directory.join("found"),
        };
        fs::create_dir_all(&fuzzer.found)?;
        Ok(fuzzer)
    }

    fn command(&self, target: &str) -> Command {
        let mut command = plain(&self.program);
        command.env("PORTCULLIS_FUZZ_TARGET", target).args([
            format!("-artifact_prefix={}/{target}-", self.found.display()),
            format!("-max_len={MAX_LENGTH}"),
            format!("-timeout={TIMEOUT_S}"),
            format!("-rss_limit_mb={MEMORY_MB}"),
        ]);
        command
    }

    /// Runs all of `targets` at once; returns those that broke.
    fn fuzz(&self, targets: &[String], seconds: u32) -> Result<Vec<String>> {
        let mut running = Vec::new();
        for target in targets {
            let work = self.work.join(target);
            fs::create_dir_all(&work)?;
            let log = self.work.join(format!("{target}.log"));
            let mut command = self.command(target);
            command.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
            command.arg(&work).arg(corpora().join(target));
            say(line(&command));
            let output = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
            command.stdout(output.try_clone()?).stderr(output);
            running.push((target, log, command.spawn().context("cannot start the fuzzer")?));
        }
        let mut broken = Vec::new();
        for (target, log, mut child) in running {
            let status = child.wait()?;
            let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
            let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            say(format_args!("{target}: {status}, {} inputs tried", runs.unwrap_or("?").trim()));
            if !status.success() {
                let at = text.find("panicked at").or_else(|| text.find("ERROR:")).unwrap_or_default();
                println!("{}", text[at..].lines().take(12).collect::<Vec<_>>().join("\n"));
                broken.push(target.clone());
            }
        }
        Ok(broken)
    }

    /// The smallest set of inputs with the coverage of all, by libFuzzer's merge. The kept corpus is replaced in the end
    /// only, so an interrupted run leaves it whole.
    fn minimise(&self, target: &str) -> Result<()> {
        let merged = self.work.join(format!("{target}.merged"));
        let kept = corpora().join(target);
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged)?;
        let mut command = self.command(target);
        command.arg("-merge=1").arg(&merged).arg(&kept).arg(self.work.join(target));
        let output = command.output().context("cannot start the fuzzer")?;
        ensure!(output.status.success(), "{}: {}", line(&command), output.status);
        let (before, after) = (count(&kept)?, count(&merged)?);
        for entry in fs::read_dir(&kept)? {
            fs::remove_file(entry?.path())?;
        }
        for entry in fs::read_dir(&merged)? {
            let path = entry?.path();
            fs::copy(&path, kept.join(path.file_name().context("no file name")?))?;
        }
        say(format_args!("{target}: {before} inputs kept before, {after} now"));
        Ok(())
    }
}

fn count(directory: &Path) -> Result<usize> {
    Ok(fs::read_dir(directory)?.count())
}

/// The machine's own target triple; with it named, build scripts are built without the sanitizer.
fn host_triple() -> Result<String> {
    let text = read(rustc().arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

fn has_sanitizer(host: &str) -> Result<bool> {
    let libraries = PathBuf::from(read(rustc().args(["--print", "sysroot"]))?.trim())
        .join("lib/rustlib")
        .join(host)
        .join("lib");
    Ok(fs::read_dir(&libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a")))
}

/// The compiler beside our cargo.
fn rustc() -> Command {
    let cargo = own_cargo();
    plain(
        cargo
            .parent()
            .map(|directory| directory.join("rustc"))
            .filter(|path| path.is_file())
            .unwrap_or("rustc".into()),
    )
}
