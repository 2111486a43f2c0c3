//! Looks at this host for the doctor. Opens, binds and asks, and leaves everything as it was.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::admin::client::{AskError, ask};
use crate::admin::control::Command;
use crate::admin::health::Condition;
use crate::admin::status::Status;
use crate::app::CONTROL_SOCKET;
use crate::config::{Config, Mode};
use crate::diagnostic::Diagnostic;
use crate::doctor::{
    Answer, Authority, Capabilities, Daemon, Directory, Entry, Facts, KernelTls, Port, PortState, Program,
};
use crate::steering::{cgroup2_root, probe};
use crate::tls::{self, AuthorityError, Certificates};
use crate::trust::{Place, own_stores};

/// A daemon that is well answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// As sysusers.d/portcullis.conf makes it.
const SERVICE_USER: &str = "portcullis";

pub(super) fn facts(config: &Config, faults: &[Diagnostic]) -> Facts {
    let capabilities = capabilities();
    Facts {
        gateway: config.steering.mode == Mode::Gateway,
        now: Timestamp::now(),
        built: built(),
        release: read("/proc/sys/kernel/osrelease"),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        lockdown: lockdown(&read("/sys/kernel/security/lockdown")),
        capabilities,
        is_root: nix::unistd::geteuid().is_root(),
        service_uid: nix::unistd::User::from_name(SERVICE_USER).ok().flatten().map(|user| user.uid.as_raw()),
        cgroup: cgroup(config.steering.cgroup.as_deref()),
        features: probe::features(capabilities.can_load()),
        programs: programs(capabilities),
        namespace_cookie: probe::has_namespace_cookie(),
        socket_destroy: probe::has_socket_destroy(),
        kernel_tls: config.tls.kernel.then(|| kernel_tls(config.steering.mode)),
        ipv6: TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
        locked_memory: locked_memory(),
        ports: [
            Some(port("metrics.listen", config.metrics.listen)),
            Some(port("steering.listen", config.steering.listen)),
            config.console.listen.map(|listen| port("console.listen", listen)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        configuration: faults.iter().map(ToString::to_string).collect(),
        state: directory(&config.paths.state),
        run: directory(&config.paths.run),
        authority: authority(&config.paths.state.join("ca")),
        own_stores: own_stores(&Place::new("/")),
        daemon: daemon(&config.paths.run.join(CONTROL_SOCKET)),
    }
}

/// The whole of a small file of the kernel, empty when it cannot be read.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn built() -> Option<Timestamp> {
    let written = fs::metadata("/proc/self/exe").ok()?.modified().ok()?;
    Timestamp::try_from(written).ok()
}

/// The mode in brackets: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn capabilities() -> Capabilities {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Capabilities(line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default())
}

fn cgroup(named: Option<&Path>) -> Result<PathBuf, String> {
    let root = cgroup2_root().map_err(|error| format!("{error:#}"))?;
    let Some(path) = named else { return Ok(root) };
    if path.join("cgroup.procs").is_file() && path.starts_with(&root) {
        Ok(path.to_owned())
    } else {
        Err(format!("{} is no cgroup below {}", path.display(), root.display()))
    }
}

fn programs(capabilities: Capabilities) -> Answer<Vec<Program>> {
    if !capabilities.can_load() {
        return Answer::NeedsRoot;
    }
    match probe::programs() {
        Ok(programs) => Answer::Found(programs),
        Err(error) => Answer::Broken(format!("{error:#}")),
    }
}

/// Asks nothing of the kernel that would load the module.
fn kernel_tls(mode: Mode) -> KernelTls {
    // Its counters are in every network namespace; the list of protocols, tcp_available_ulp, is in the first alone.
    if Path::new("/proc/net/tls_stat").exists() {
        return KernelTls::Ready;
    }
    // One line for each module: its file, a colon, what it needs.
    let modules = read(&format!("/lib/modules/{}/modules.dep", read("/proc/sys/kernel/osrelease")));
    let has_module = modules.lines().any(|line| {
        let file = line.split_once(':').map_or(line, |(file, _)| file);
        file.rsplit('/').next().is_some_and(|name| name.starts_with("tls.ko"))
    });
    match mode {
        _ if !has_module => KernelTls::Absent,
        Mode::Host | Mode::Gateway => KernelTls::Loadable,
        Mode::Explicit => KernelTls::Unloaded,
    }
}

fn locked_memory() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

fn port(setting: &'static str, address: SocketAddr) -> Port {
    let state = match TcpListener::bind(address) {
        Ok(_) => Answer::Found(PortState::Free),
        Err(error) => match error.kind() {
            io::ErrorKind::AddrInUse => Answer::Found(PortState::InUse),
            io::ErrorKind::PermissionDenied => Answer::NeedsRoot,
            _ => Answer::Found(PortState::Impossible(error.to_string())),
        },
    };
    Port { setting, address, state }
}

fn directory(path: &Path) -> Directory {
    let entry = fs::metadata(path).ok().map(|found| Entry {
        is_directory: found.is_dir(),
        owner: found.uid(),
        mode: found.mode() & 0o7777,
    });
    // What is not there yet is made on the file system of the nearest directory above.
    let standing = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    let free = match nix::sys::statvfs::statvfs(standing) {
        Ok(found) => Answer::Found(found.blocks_available().saturating_mul(found.fragment_size())),
        Err(error) => Answer::Unknown(error.to_string()),
    };
    Directory { path: path.to_owned(), entry, free }
}

fn authority(directory: &Path) -> Answer<Option<Authority>> {
    // The directory above is closed to ordinary users, so that even its being there is not told.
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Answer::Found(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Answer::NeedsRoot,
        _ => {}
    }
    let certificates = match Certificates::read(directory) {
        Ok(certificates) => certificates,
        Err(AuthorityError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Answer::Found(None);
        }
        Err(error) => return Answer::Broken(error.to_string()),
    };
    let time = |at: SystemTime| Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    Answer::Found(Some(Authority {
        subject: certificates.root_facts.subject.clone(),
        not_before: time(certificates.root_facts.not_before),
        // One that is to follow has been seen to.
        not_after: time(certificates.next.as_deref().unwrap_or(&certificates).not_after()),
        trusted: match tls::system_holds(&certificates) {
            Ok(held) => Answer::Found(held),
            Err(error) => Answer::Unknown(error.to_string()),
        },
    }))
}

fn daemon(socket: &Path) -> Answer<Daemon> {
    match ask::<Status>(socket, &Command::Status, TIMEOUT) {
        Ok(status) => Answer::Found(Daemon::Running {
            pid: status.pid,
            unwell: status
                .health
                .iter()
                .filter_map(|part| match &part.condition {
                    Condition::Ok => None,
                    Condition::Degraded(why) => Some(format!("{} degraded: {why}", part.part.name())),
                    Condition::Failed(why) => Some(format!("{} failed: {why}", part.part.name())),
                })
                .collect(),
        }),
        Err(AskError::NotRunning(_)) => Answer::Found(Daemon::NotRunning),
        Err(AskError::Denied(_)) => Answer::NeedsRoot,
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(lockdown("none [integrity] confidentiality").as_deref(), Some("integrity"));
        assert_eq!(lockdown("[none] integrity confidentiality").as_deref(), Some("none"));
        assert_eq!(lockdown(""), None);
    }

    #[test]
    fn a_taken_port_is_told_from_a_free_one_and_from_a_foreign_address() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = port("a", held.local_addr().unwrap());
        assert_eq!(taken.state, Answer::Found(PortState::InUse));
        assert_eq!(port("a", "127.0.0.1:0".parse().unwrap()).state, Answer::Found(PortState::Free));
        let foreign = port("a", "192.0.2.1:0".parse().unwrap()).state;
        assert!(matches!(foreign, Answer::Found(PortState::Impossible(_))), "{foreign:?}");
    }

    #[test]
    fn a_directory_is_seen_as_it_is_and_space_also_before_it_is_made() {
        let base = tempfile::tempdir().unwrap();
        let absent = directory(&base.path().join("a/b"));
        assert_eq!(absent.entry, None);
        assert!(matches!(absent.free, Answer::Found(free) if free > 0), "{absent:?}");
        assert!(directory(base.path()).entry.is_some_and(|entry| entry.is_directory));
        assert_eq!(authority(&base.path().join("ca")), Answer::Found(None));
    }
}
