//! The agent as a process of the lab: its configuration, its start and end, and what it says about itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::bpf::Objects;
use crate::client::page;
use crate::process::{Daemon, Finished, Place, run, signal};
use crate::{Lab, wait};

/// Names the agent's binary; without it, the newest build beside the running program is taken.
pub const BINARY_VARIABLE: &str = "PORTCULLIS_BIN";
/// Port of /metrics, /healthz and /readyz inside the clients' namespace.
pub const METRICS_PORT: u16 = 9464;
/// How long a start may take: programs are verified and the log of a killed agent is recovered, on a machine whose
/// processors others use. One that ends is noticed at once.
const START: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
const STOP: Duration = Duration::from_secs(15);

/// The apps of the lab.
pub const APPS: &str = r#"[[app]]
id = "corp-files"
name = "Corp Files"
suite = "corp"
category = "file-hosting"
domains = ["files.corp.test", "*.corp.test"]

[[app]]
id = "memo"
name = "Memo"
category = "notes"
domains = ["notes.memo.test"]
"#;

/// Blocks downloads of Corp Files on devices that are not compliant, for all but the group `breakglass`.
pub const BLOCK_UNMANAGED: &str = r#"[[policy]]
name = "Prevent downloads from unmanaged devices"
state = "enabled"
[policy.users]
include = ["all"]
exclude = ["group:breakglass"]
[policy.apps]
include = ["corp-files"]
[policy.conditions]
devices = { include = ["all"], exclude = ["compliant"] }
[policy.session]
control = "block-downloads"
"#;

/// Lets everything of Memo pass and records it.
pub const MONITOR_MEMO: &str = r#"[[policy]]
name = "Watch Memo"
state = "enabled"
[policy.users]
include = ["all"]
[policy.apps]
include = ["memo"]
[policy.session]
control = "monitor-only"
"#;

/// What a new agent starts with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub apps: String,
    /// File name in policies.d and its text.
    pub policies: Vec<(String, String)>,
    pub compliant: bool,
    /// `[steering] guard`.
    pub guard: &'static str,
    /// `[steering] fail`.
    pub fail: &'static str,
    /// Further lines of `[steering]` on the lab's cgroup.
    pub further: String,
    /// All lines of `[steering]`; host mode on the lab's cgroup when left out.
    pub steering: Option<String>,
    /// Further lines of `[tls]`.
    pub tls: String,
    /// Further lines of `[identity]`.
    pub identity: String,
    /// The agent runs as this user, and owns its directory; as root when left out.
    pub uid: Option<u32>,
    /// The agent's binary; when left out [`BINARY_VARIABLE`] names it, else the newest build is taken.
    pub binary: Option<PathBuf>,
}

impl Default for Settings {
    /// Both policies of the lab, on a device that is not compliant.
    fn default() -> Self {
        Self {
            apps: APPS.to_owned(),
            policies: vec![
                ("10-downloads.toml".to_owned(), BLOCK_UNMANAGED.to_owned()),
                ("20-memo.toml".to_owned(), MONITOR_MEMO.to_owned()),
            ],
            compliant: false,
            guard: "peek",
            fail: "closed",
            further: String::new(),
            steering: None,
            tls: String::new(),
            identity: String::new(),
            uid: None,
            binary: None,
        }
    }
}

/// A running agent. It ends with SIGTERM on drop.
pub struct Agent<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    directory: PathBuf,
    uid: Option<u32>,
    daemon: Daemon,
}

impl<'lab> Agent<'lab> {
    /// Writes the configuration, starts the agent, and waits until it says that it is ready.
    pub fn start(lab: &'lab Lab, settings: &Settings) -> Result<Self> {
        let directory = lab.directory().join("agent");
        let binary = settings.binary.clone().map_or_else(binary, Ok)?;
        configure(lab, &directory, settings)?;
        if let Some(uid) = settings.uid {
            std::os::unix::fs::chown(&directory, Some(uid), Some(uid))?;
        }
        let daemon = spawn(lab, &binary, &directory, settings.uid)?;
        let mut agent = Self { lab, binary, directory, uid: settings.uid, daemon };
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts it again, with what it has on disk, after it ended or was killed.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.daemon.ended().is_some(), "the agent is still running");
        self.daemon = spawn(self.lab, &self.binary, &self.directory, self.uid)?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let lab = self.lab;
        self.daemon.wait_within(START, "/readyz", || {
            page(lab, METRICS_PORT, "/readyz").is_ok_and(|reply| reply.status == 200)
        })?;
        self.lab.trust_also(&self.ca())
    }

    /// PEM of the host's own CA.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("state/ca/ca.pem")
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub fn config(&self) -> PathBuf {
        self.directory.join("portcullis.toml")
    }

    /// Writes a policy file in one step, as an editor that replaces files does.
    pub fn write_policy(&self, file: &str, text: &str) -> Result<()> {
        replace(&self.directory.join("policies.d").join(file), text)
    }

    /// Writes a file of apps in the same way.
    pub fn write_app(&self, file: &str, text: &str) -> Result<()> {
        replace(&self.directory.join("apps.d").join(file), text)
    }

    pub fn remove_policy(&self, file: &str) -> Result<()> {
        Ok(fs::remove_file(self.directory.join("policies.d").join(file))?)
    }

    /// Reports the device as compliant or not and waits until the agent has taken notice.
    pub fn set_compliant(&self, compliant: bool) -> Result<()> {
        replace(&self.directory.join("compliance.json"), &posture(compliant))?;
        let wanted = if compliant { 1.0 } else { 0.0 };
        wait::until("the agent to see the device's new state", wait::PATIENCE, || {
            Ok((self.metric("portcullis_device_compliant", &[])? == wanted).then_some(()))
        })
    }

    /// The page of metrics.
    pub fn metrics(&self) -> Result<String> {
        let reply = page(self.lab, METRICS_PORT, "/metrics")?;
        ensure!(reply.status == 200, "/metrics answered {}", reply.status);
        Ok(reply.text())
    }

    /// Sum of the series of a metric that carry these labels; zero when there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(sum(&self.metrics()?, name, labels))
    }

    /// Runs `portcullis COMMAND … --config` of this agent.
    pub fn command(&self, arguments: &[&str]) -> Result<Finished> {
        self.command_at(&self.lab.client(), arguments)
    }

    pub(crate) fn command_at(&self, place: &Place, arguments: &[&str]) -> Result<Finished> {
        let mut command = place.command(&self.binary, None)?;
        command.args(arguments).arg("--config").arg(self.config());
        run(command, wait::PATIENCE)
    }

    /// The activity log, newest or oldest first as the agent prints it, restricted by further arguments.
    pub fn activities(&self, filters: &[&str]) -> Result<Vec<Value>> {
        let mut arguments = vec!["activity", "--json"];
        arguments.extend(filters);
        let finished = self.command(&arguments)?.succeeded().context("portcullis activity")?;
        finished
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON record: {line}")))
            .collect()
    }

    /// Waits for a record for which `wanted` holds.
    pub fn wait_for_activity(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(&format!("the record of {what}"), wait::PATIENCE, || {
            Ok(self.activities(&[])?.into_iter().find(|record| wanted(record)))
        })
    }

    /// Runs a second agent with this one's configuration, changed by `edit`, until it ends.
    pub fn rival(&self, edit: impl Fn(&str) -> String) -> Result<Finished> {
        let config = self.directory.join("rival.toml");
        fs::write(&config, edit(&fs::read_to_string(self.config())?))?;
        let mut command = self.lab.agent().command(&self.binary, None)?;
        command.arg("run").arg("--config").arg(&config);
        run(command, wait::PATIENCE)
    }

    /// Changes the settings file; what takes a restart waits for one.
    pub fn edit_config(&self, edit: impl Fn(&str) -> String) -> Result<()> {
        replace(&self.config(), &edit(&fs::read_to_string(self.config())?))
    }

    /// Runs `portcullis cleanup` of this configuration, as a service manager does that saw the service end so.
    pub fn clean_up(&self, service_result: Option<&str>, arguments: &[&str]) -> Result<Finished> {
        let mut command = self.lab.agent().command(&self.binary, None)?;
        command.arg("cleanup").args(arguments).arg("--config").arg(self.config());
        if let Some(result) = service_result {
            command.env("SERVICE_RESULT", result);
        }
        run(command, wait::PATIENCE)
    }

    /// Ends it, and has a service manager that stores descriptors start it, kill it, connect to `host` for `path` while no
    /// agent is there, start it again, restart it under load and stop it. Returns what that saw, and the agents' `log`.
    pub fn under_service_manager(&mut self, host: &str, path: &str) -> Result<Value> {
        self.stop()?;
        let mut command = self.service_manager(include_str!("killed_and_restarted.py"))?;
        command.args([host, path]).arg(self.lab.pins());
        let finished = run(command, wait::PATIENCE * 3)?.succeeded()?;
        let text = finished.text();
        let last = text.lines().last().with_context(|| format!("nothing was said: {}", finished.stderr))?;
        let mut seen: Value = serde_json::from_str(last).with_context(|| format!("no JSON: {text}"))?;
        seen["log"] = finished.stderr.into();
        Ok(seen)
    }

    /// Ends it, and has a service manager that stores descriptors restart it again and again until `during` returns. Gives
    /// what that gave, and how often it was restarted.
    pub fn restarted_during<T>(&mut self, during: impl FnOnce() -> T) -> Result<(T, u64)> {
        self.stop()?;
        let command = self.service_manager(include_str!("restarts.py"))?;
        let log = self.lab.directory().join("service-manager.log");
        let mut manager = Daemon::spawn("service manager", command, log.clone())?;
        manager.wait_until("the first agent", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("service manager: ready"))
        })?;
        let given = during();
        // To it alone: the agent is in its process group, and has a restart to end first.
        signal(manager.pid(), libc::SIGTERM);
        let ended = wait::until("the end of the service manager", STOP * 2, || Ok(manager.ended()))?;
        let said = manager.log();
        ensure!(ended.success(), "the service manager ended with {ended}:\n{said}");
        let last = said.lines().last().context("the service manager said nothing")?;
        let seen: Value = serde_json::from_str(last).with_context(|| format!("no JSON: {last}"))?;
        ensure!(seen["failed"] == json!([]) && seen["ended"] == 0, "ends of agents: {seen}\n{said}");
        Ok((given, seen["restarts"].as_u64().context("no number of restarts")?))
    }

    /// A service manager of this agent, which does what the program says.
    fn service_manager(&self, program: &str) -> Result<Command> {
        let mut command = self.lab.agent().command("/usr/bin/python3", None)?;
        command.args(["-I", "-c", &[include_str!("service_manager.py"), program].concat()]);
        command.arg(&self.binary).arg(self.config()).arg(&self.directory);
        Ok(command)
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.daemon.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.daemon.signal(libc::SIGCONT);
    }

    /// The kernel objects it holds.
    pub fn kernel_objects(&self) -> Objects {
        Objects::held_by(self.pid())
    }

    /// SIGTERM, and the orderly end it must lead to.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.daemon.stop(STOP)
    }

    /// SIGUSR1, with which a service manager ends it for a restart.
    pub fn end_for_restart(&mut self) -> Result<ExitStatus> {
        self.daemon.end_by(libc::SIGUSR1, STOP)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }
}

fn spawn(lab: &Lab, binary: &Path, directory: &Path, uid: Option<u32>) -> Result<Daemon> {
    let mut command = lab.agent().command(binary, uid)?;
    command.arg("run").arg("--config").arg(directory.join("portcullis.toml")).env("RUST_BACKTRACE", "1");
    if let Some(filter) = std::env::var_os("RUST_LOG") {
        command.env("RUST_LOG", filter);
    }
    Daemon::spawn("portcullis", command, directory.join("agent.log"))
}

fn configure(lab: &Lab, directory: &Path, settings: &Settings) -> Result<()> {
    for name in ["policies.d", "apps.d"] {
        fs::create_dir_all(directory.join(name))?;
    }
    fs::write(directory.join("apps.d/lab.toml"), &settings.apps)?;
    for (file, text) in &settings.policies {
        fs::write(directory.join("policies.d").join(file), text)?;
    }
    fs::write(directory.join("compliance.json"), posture(settings.compliant))?;
    let shown = directory.display();
    let steering = settings.steering.clone().unwrap_or_else(|| {
        format!(
            "mode = \"host\"\nguard = \"{}\"\nports = [443, 80]\nquic = \"refuse\"\nfail = \"{}\"\n\
             cgroup = \"{}\"\nlisten = \"127.0.0.1:0\"\n{}\n",
            settings.guard,
            settings.fail,
            lab.cgroup().display(),
            settings.further,
        )
    });
    fs::write(
        directory.join("portcullis.toml"),
        format!(
            "[steering]\n{steering}\
             [tls]\nupstream_roots = \"{}\"\n{}\n\
             [device]\nposture = \"file\"\nfile = \"{shown}/compliance.json\"\n\
             [identity]\ngroups = {{ breakglass = [\"nobody\"] }}\n{}\n\
             [networks]\nlab = [\"198.18.0.0/15\", \"fd18::/16\"]\n\
             [metrics]\nlisten = \"127.0.0.1:{METRICS_PORT}\"\n\
             [paths]\nstate = \"{shown}/state\"\nrun = \"{shown}/run\"\npins = \"{}\"\n",
            lab.origin_ca().display(),
            settings.tls,
            settings.identity,
            lab.pins().display(),
        ),
    )?;
    Ok(())
}

fn posture(compliant: bool) -> String {
    let reason = if compliant { "managed by the lab" } else { "not enrolled" };
    json!({ "compliant": compliant, "reason": reason }).to_string()
}

/// Replaces a file in one step; the name in between is none that the agent reads.
fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().context("no file name")?.to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.new"));
    fs::write(&draft, text)?;
    fs::rename(&draft, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// The agent that the tests are about.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    own.ancestors()
        .flat_map(|directory| [directory.join("release/portcullis"), directory.join("debug/portcullis")])
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("no agent to test: `cargo xtask build` first, or set {BINARY_VARIABLE}"))
}

fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    page.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            let (series, value) = rest.rsplit_once(' ')?;
            let wanted = labels.iter().all(|(key, value)| {
                let pair = format!("{key}=\"{value}\"");
                [format!("{{{pair}"), format!(",{pair}")].iter().any(|form| series.contains(form))
            });
            if wanted { value.parse::<f64>().ok() } else { None }
        })
        .fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let page = "# HELP a_total x\na_total{app=\"x\",path=\"p\"} 2\na_total{app=\"y\",path=\"p\"} 3\na_totals 9\nb 1\n";
        assert_eq!(sum(page, "a_total", &[]), 5.0);
        assert_eq!(sum(page, "a_total", &[("app", "y")]), 3.0);
        assert_eq!(sum(page, "a_total", &[("path", "p"), ("app", "x")]), 2.0);
        assert_eq!(sum(page, "a_total", &[("app", "z")]), 0.0);
        assert_eq!(sum(page, "b", &[]), 1.0);
    }
}
