//! The systems that are measured: how each is started, reached, and what it costs the machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::installed;
use super::setting::{FIRST_SEEN, NAME, ORIGIN_PORT, OTHER_NAME, Setting};
use crate::workspace::target_dir;

/// For a system to listen.
const START: Duration = Duration::from_secs(20);
/// For a system to end when asked to.
const STOP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

pub(super) struct System {
    pub(super) name: String,
    /// The load generator's arguments to reach the origin through it.
    pub(super) reach: Vec<String>,
    pub(super) speaks_h2: bool,
    pub(super) bulk_only: bool,
    /// Reaches the origin by any name below [`FIRST_SEEN`].
    pub(super) any_name: bool,
    /// Absent where clients go to the origin themselves, or where the agent is that of another row.
    pub(super) child: Option<Running>,
    /// The process whose cost counts.
    pid: Option<u32>,
}

/// A process with its children, ended with this value.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let by = Instant::now() + STOP;
        while Instant::now() < by {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(POLL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program with the bench's own /etc/hosts, and waits until it listens.
fn start(setting: &Setting, name: &str, port: u16, program: &[String]) -> Result<Running> {
    if TcpStream::connect(("127.0.0.1", port)).is_ok() {
        bail!("port {port} of 127.0.0.1, which {name} is to have, is taken");
    }
    let log = File::create(setting.log(name))?;
    let script = format!("mount --bind '{}' /etc/hosts && exec \"$@\"", setting.path("hosts").display());
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .args(program)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("unshare")?;
    let mut running = Running(child);
    let by = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > by || running.0.try_wait()?.is_some() {
            bail!("{name} does not listen: see {}", setting.log(name).display());
        }
        sleep(POLL);
    }
    Ok(running)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn origin(setting: &Setting) -> Result<Running> {
    setting.write("origin.conf", &setting.template("origin.conf", &[])?)?;
    start(
        setting,
        "origin",
        ORIGIN_PORT,
        &words(&format!("nginx -c {}", setting.path("origin.conf").display())),
    )
}

/// Every system, or those named, in that order.
pub(super) fn all(setting: &Setting, only: &[String]) -> Result<Vec<System>> {
    const ALL: [&str; 11] = [
        "relay",
        "agent",
        "direct",
        "nginx",
        "haproxy",
        "haproxy-64k",
        "squid",
        "mitmproxy",
        "hudsucker",
        "agent-untouched",
        "tcp-copy",
    ];
    let names: Vec<&str> =
        if only.is_empty() { ALL.to_vec() } else { only.iter().map(String::as_str).collect() };
    if let Some(unknown) = names.iter().find(|name| !ALL.contains(name)) {
        bail!("unknown system {unknown}: {}", ALL.join(", "));
    }
    names.into_iter().map(|name| system(setting, name)).collect()
}

fn system(setting: &Setting, name: &str) -> Result<System> {
    let dir = setting.directory().display();
    let relay = target_dir()?.join("release/peers-relay");
    let relay = |port: u16, more: &str| {
        words(&format!(
            "{} --listen 127.0.0.1:{port} --origin 127.0.0.1:{ORIGIN_PORT} --name {NAME} --trust {dir}/ca.pem \
             --certificate {dir}/site.pem --key {dir}/site.key {more}",
            relay.display()
        ))
    };
    let reverse = |port: u16| words(&format!("--target 127.0.0.1:{port} --name {NAME}"));
    let tunnel = |port: u16, name: &str| {
        words(&format!("--target 127.0.0.1:{port} --name {name} --connect {name}:{ORIGIN_PORT}"))
    };
    let (port, program, reach) = match name {
        "direct" => (ORIGIN_PORT, Vec::new(), reverse(ORIGIN_PORT)),
        "relay" => (24001, relay(24001, ""), reverse(24001)),
        "tcp-copy" => (24002, relay(24002, "--plain"), reverse(24002)),
        "nginx" => {
            setting.write("nginx.conf", &setting.template("nginx.conf", &[("PORT", "24003")])?)?;
            (24003, words(&format!("nginx -c {dir}/nginx.conf")), reverse(24003))
        }
        "haproxy" | "haproxy-64k" => {
            let (port, buffer) = if name == "haproxy" { (24004, "16384") } else { (24005, "65536") };
            let places = [("PORT", port.to_string()), ("BUFFER", buffer.to_owned())];
            let places = places.each_ref().map(|(place, value)| (*place, value.as_str()));
            setting.write(&format!("{name}.cfg"), &setting.template("haproxy.cfg", &places)?)?;
            (port, words(&format!("haproxy -db -f {dir}/{name}.cfg")), reverse(port))
        }
        "squid" => {
            setting.write("squid.conf", &setting.template("squid.conf", &[("PORT", "24006")])?)?;
            squid_database(setting)?;
            (24006, words(&format!("squid -N -f {dir}/squid.conf")), tunnel(24006, NAME))
        }
        "mitmproxy" => {
            setting.write("mitmproxy.py", &setting.template("mitmproxy.py", &[])?)?;
            let home = setting.path("mitmproxy");
            fs::create_dir_all(&home)?;
            // Its authority, as it keeps one.
            let (certificate, key) = (fs::read(setting.path("ca.pem"))?, fs::read(setting.path("ca.key"))?);
            fs::write(home.join("mitmproxy-ca.pem"), [key, certificate].concat())?;
            let program = format!(
                "{} --quiet --listen-host 127.0.0.1 --listen-port 24009 --scripts {dir}/mitmproxy.py --set confdir={} \
                 --set ssl_verify_upstream_trusted_ca={dir}/ca.pem --set connection_strategy=lazy",
                installed::mitmdump()?.display(),
                home.display()
            );
            (24009, words(&program), tunnel(24009, NAME))
        }
        "hudsucker" => {
            let program = format!(
                "{} --listen 127.0.0.1:24010 --authority {dir}/ca.pem --key {dir}/ca.key",
                installed::hudsucker()?.display()
            );
            (24010, words(&program), tunnel(24010, NAME))
        }
        "agent" | "agent-untouched" => {
            let port: u16 = if name == "agent" { 24007 } else { 24008 };
            let metrics = (port + 100).to_string();
            let places = [("PORT", port.to_string()), ("METRICS", metrics), ("AGENT", name.to_owned())];
            let places = places.each_ref().map(|(place, value)| (*place, value.as_str()));
            setting
                .write(&format!("{name}/portcullis.toml"), &setting.template("portcullis.toml", &places)?)?;
            setting.write(&format!("{name}/apps.d/bench.toml"), &setting.template("app.toml", &[])?)?;
            setting
                .write(&format!("{name}/policies.d/bench.toml"), &setting.template("policy.toml", &[])?)?;
            let program = format!("{} run --config {dir}/{name}/portcullis.toml", setting.agent.display());
            (port, words(&program), tunnel(port, if name == "agent" { NAME } else { OTHER_NAME }))
        }
        _ => bail!("unknown system {name}"),
    };
    let child = if program.is_empty() { None } else { Some(start(setting, name, port, &program)?) };
    Ok(System {
        name: name.to_owned(),
        reach,
        speaks_h2: name != "squid",
        bulk_only: matches!(name, "agent-untouched" | "tcp-copy"),
        any_name: matches!(name, "direct" | "relay" | "agent"),
        pid: child.as_ref().map(|running| running.0.id()),
        child,
    })
}

/// Where squid keeps the certificates it makes.
fn squid_database(setting: &Setting) -> Result<()> {
    fs::create_dir_all(setting.path("squid"))?;
    let database = setting.path("squid/certificates");
    let made = Command::new("/usr/lib/squid/security_file_certgen")
        .args(["-c", "-M", "16MB", "-s"])
        .arg(&database)
        .stdout(Stdio::null())
        .status()
        .context("/usr/lib/squid/security_file_certgen")?;
    let owned = Command::new("chown").args(["-R", "proxy"]).arg(setting.path("squid")).status()?;
    if !made.success() || !owned.success() {
        bail!("squid's store of certificates could not be made");
    }
    Ok(())
}

impl System {
    /// Processes of this system: the one that was started, and what came of it.
    fn processes(&self) -> Result<Vec<u32>> {
        let Some(root) = self.pid else { return Ok(Vec::new()) };
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
            // It may have ended meanwhile.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            children.entry(parent.unwrap_or_default()).or_default().push(pid);
        }
        let mut found = vec![root];
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        Ok(found)
    }

    /// The load generator's arguments for connections of which each is for another name, `from` on.
    pub(super) fn reach_first_seen(&self, from: u64) -> Vec<String> {
        let mut reach = self.reach.clone();
        reach.extend(words(&format!("--name {FIRST_SEEN} --names-from {from}")));
        if reach.iter().any(|word| word == "--connect") {
            // The client has resolved the name itself: what a resolver takes is no part of the work.
            reach.extend(words(&format!("--connect 127.0.0.1:{ORIGIN_PORT}")));
        }
        reach
    }

    /// Seconds its threads have run (proc_pid_schedstat: nanoseconds on the CPU).
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for pid in self.processes()? {
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for thread in threads {
                let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
                nanoseconds += text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
            }
        }
        Ok(nanoseconds / 1e9)
    }

    /// From here on the most memory it had is what it has now (proc(5), clear_refs).
    pub(super) fn forget_peak(&self) -> Result<()> {
        for pid in self.processes()? {
            fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// A line of its processes' status: `VmRSS:` what they have in memory, `VmHWM:` the most they had.
    pub(super) fn resident_kib(&self, line: &str) -> Result<f64> {
        let mut kib = 0.0;
        for pid in self.processes()? {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let value = text.lines().find_map(|text| text.strip_prefix(line));
            kib += value
                .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
                .unwrap_or_default();
        }
        Ok(kib)
    }

    /// Its share of memory: pages that several processes have count in parts.
    pub(super) fn memory_kib(&self) -> Result<f64> {
        let mut kib = 0.0;
        for pid in self.processes()? {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            kib += pss.and_then(|pss| pss.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default();
        }
        Ok(kib)
    }
}
