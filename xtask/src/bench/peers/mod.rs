//! The agent beside its peers: every system does the same work in every round, so that what the machine does besides
//! strikes all alike. CPU time is that of the system's own processes.

mod installed;
mod report;
mod setting;
mod systems;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::command::{line, run, say};
use crate::workspace::{host_cargo, is_root, target_dir};
use crate::{apt, build};
use report::Sample;
use setting::Setting;
use systems::System;

/// Seconds that requests follow each other.
const SECONDS: &str = "1.5";
/// Idle connections of one user, and the first of these users.
const EACH: u32 = 1000;
const FIRST_USER: u32 = 47_000;
/// Connections that follow each other.
const CONNECTIONS: u64 = 400;
const CONNECTIONS_WORD: &str = "400";
/// For memory to settle.
const SETTLE: Duration = Duration::from_millis(1500);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each visits every system once
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Only these systems (the first is what ratios are taken to); all when left out
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these works: bulk (with peak), small, streams, api, fresh, first-seen, idle
    #[arg(long, value_delimiter = ',')]
    work: Vec<String>,
    /// Also over HTTP/2
    #[arg(long)]
    h2: bool,
    /// Idle connections that are opened to read memory; each takes three descriptors of the machine's
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=7000))]
    idle: u32,
    /// The agent's binary; built when left out
    #[arg(long)]
    agent: Option<std::path::PathBuf>,
}

impl Arguments {
    /// All works of one agent but those that wait.
    pub(super) fn training(agent: &Path) -> Self {
        Self {
            rounds: 2,
            only: vec!["agent".to_owned()],
            work: works().map(|(work, ..)| work.to_owned()).into(),
            h2: true,
            idle: 1,
            agent: Some(agent.to_owned()),
        }
    }
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    ensure!(is_root(), "a private /etc/hosts takes root: run it with sudo");
    ensure!(arguments.rounds > 0, "--rounds 0 measures nothing");
    // nginx is the origin, too.
    let mut packages = vec!["nginx-light", "openssl", "util-linux"];
    let needed: [(&str, &[&str]); 3] = [
        ("haproxy", &["haproxy"]),
        ("squid", &["squid-openssl"]),
        ("mitmproxy", &["python3", "python3-venv"]),
    ];
    for (system, needed) in needed {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only.starts_with(system)) {
            packages.extend(needed);
        }
    }
    apt::ensure(
        &packages,
        "run the peers",
        "Remedy: install haproxy, nginx, squid with OpenSSL, openssl and unshare by hand.",
    )?;
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => build::agent()?,
    };
    run(host_cargo().args(["build", "--locked", "--release", "--package", "portcullis-peers"]))?;
    let setting = Setting::create(agent)?;
    let origin = systems::origin(&setting)?;
    let mut systems = systems::all(&setting, &arguments.only)?;
    // Fails here, by name, and not as a number that is missing from a table.
    for system in &systems {
        load(&setting, &system.reach, "h1", "/1k", &["once"]).with_context(|| {
            format!("{}: its log is {}", system.name, setting.log(&system.name).display())
        })?;
    }
    let mut samples = Vec::new();
    let mut names = 0;
    for round in 0..arguments.rounds {
        let by = 1.min(systems.len().saturating_sub(1));
        systems.rotate_left(by);
        for system in &systems {
            for (work, protocol, path, command) in works() {
                let wanted = arguments.work.is_empty() || arguments.work.iter().any(|name| name == work);
                let spoken = protocol == "h1" || (arguments.h2 && system.speaks_h2);
                let able =
                    if system.bulk_only { work == "bulk" } else { work != "first-seen" || system.any_name };
                if !wanted || !spoken || !able {
                    continue;
                }
                let reach = match work {
                    "first-seen" => {
                        names += CONNECTIONS;
                        system.reach_first_seen(names)
                    }
                    _ => system.reach.clone(),
                };
                if work == "bulk" {
                    system.forget_peak()?;
                }
                let memory = system.resident_kib("VmRSS:")?;
                let sample = measure(&setting, (system, &reach), (work, protocol, path), &command)
                    .with_context(|| format!("{}, {work} over {protocol}", system.name))?;
                say(format_args!("round {round}: {sample}"));
                if work == "bulk" {
                    let value = (system.resident_kib("VmHWM:")? - memory) / 1024.0;
                    samples.push(Sample { work: "peak", value, unit: "MiB", ..sample.clone() });
                }
                samples.push(sample);
            }
        }
    }
    if arguments.work.is_empty() || arguments.work.iter().any(|work| work == "idle") {
        for system in std::mem::take(&mut systems) {
            if system.child.is_none() || system.bulk_only {
                continue;
            }
            let (name, speaks_h2) = (system.name.clone(), system.speaks_h2);
            drop(system);
            for protocol in ["h1", "h2"] {
                if protocol == "h2" && !(arguments.h2 && speaks_h2) {
                    continue;
                }
                // One that has done nothing yet: memory that was needed before is not given back.
                let fresh = systems::all(&setting, std::slice::from_ref(&name))?;
                for system in &fresh {
                    let sample = idle(&setting, system, protocol, arguments.idle)
                        .with_context(|| format!("{name}, idle over {protocol}"))?;
                    say(&sample);
                    samples.push(sample);
                }
            }
        }
    }
    drop(systems);
    drop(origin);
    report::write(&samples, &target_dir()?.join("bench"))
}

/// Work, protocol, path, and the load generator's words for it.
fn works() -> [(&'static str, &'static str, &'static str, Vec<&'static str>); 9] {
    let fresh = vec!["fresh", CONNECTIONS_WORD, "4"];
    [
        ("bulk", "h1", "/1g", vec!["once"]),
        ("bulk", "h2", "/1g", vec!["once"]),
        ("small", "h1", "/m365", vec!["closed", "16", SECONDS]),
        ("small", "h2", "/m365", vec!["closed", "16", SECONDS]),
        ("streams", "h2", "/m365", vec!["closed", "4", SECONDS, "8"]),
        ("api", "h1", "/m365/api", vec!["closed", "16", SECONDS]),
        ("api", "h2", "/m365/api", vec!["closed", "16", SECONDS]),
        ("fresh", "h1", "/1k", fresh.clone()),
        ("first-seen", "h1", "/1k", fresh),
    ]
}

fn command(
    setting: &Setting,
    reach: &[String],
    protocol: &str,
    path: &str,
    work: &[&str],
) -> Result<Command> {
    let mut command = Command::new(target_dir()?.join("release/peers-load"));
    command.args(reach).args(["--protocol", protocol, "--path", path]);
    for authority in setting.trusted() {
        command.arg("--trust").arg(authority);
    }
    command.args(work);
    Ok(command)
}

fn load(setting: &Setting, reach: &[String], protocol: &str, path: &str, work: &[&str]) -> Result<Value> {
    let mut command = command(setting, reach, protocol, path, work)?;
    let output = command.output().with_context(|| line(&command))?;
    if !output.status.success() {
        bail!("`{}`: {}", line(&command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure(
    setting: &Setting,
    (system, reach): (&System, &[String]),
    (work, protocol, path): (&'static str, &'static str, &'static str),
    words: &[&str],
) -> Result<Sample> {
    let before = system.cpu_seconds()?;
    let done = load(setting, reach, protocol, path, words)?;
    let cpu = system.cpu_seconds()? - before;
    let number = |name: &str| done.get(name).and_then(Value::as_f64).unwrap_or_default();
    let (value, unit) = match work {
        "bulk" => (cpu / (number("bytes") / f64::from(1 << 30)), "CPU-s/GiB"),
        "small" | "streams" | "api" => (cpu / number("exchanges") * 1e6, "CPU-us/request"),
        _ => (cpu / number("exchanges") * 1e3, "CPU-ms/connection"),
    };
    Ok(Sample { system: system.name.clone(), work, protocol, value, unit, p50_us: number("p50_us") })
}

/// Memory of a system with many connections that made one request each and wait. No user holds more than [`EACH`]: the
/// agent grants none more than a share.
fn idle(setting: &Setting, system: &System, protocol: &'static str, count: u32) -> Result<Sample> {
    load(setting, &system.reach, protocol, "/1k", &["once"])?;
    let before = system.memory_kib()?;
    let mut clients = Vec::new();
    let held = (|| {
        for (uid, from) in (FIRST_USER..).zip((0..count).step_by(EACH as usize)) {
            let connections = EACH.min(count - from).to_string();
            let load = command(setting, &system.reach, protocol, "/1k", &["idle", &connections])?;
            let mut client = Command::new("setpriv")
                .args(["--reuid", &uid.to_string(), "--clear-groups", "--"])
                .arg(load.get_program())
                .args(load.get_args())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("setpriv")?;
            let mut output = BufReader::new(client.stdout.take().context("no output")?);
            let mut said = String::new();
            let read = output.read_line(&mut said);
            // Its report at the end has somewhere to go.
            clients.push((client, output));
            read?;
            ensure!(said.starts_with("READY"), "the connections could not be opened");
        }
        sleep(SETTLE);
        system.memory_kib()
    })();
    for (mut client, _output) in clients {
        drop(client.stdin.take());
        client.wait()?;
    }
    let value = (held? - before) / f64::from(count);
    Ok(Sample {
        system: system.name.clone(),
        work: "idle",
        protocol,
        value,
        unit: "KiB/connection",
        p50_us: 0.0,
    })
}
