//! The facts about a host that the checks are made of, as values.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

/// What a probe brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    Found(T),
    /// The caller may not look.
    NeedsRoot,
    /// It could not be looked at for this reason.
    Unknown(String),
    /// It was looked at and is no good, for this reason.
    Broken(String),
}

/// A program of the kernel object, as the verifier took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    pub name: String,
    /// Instructions the verifier walked; its limit is a million. Absent where the kernel does not tell (before 5.16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u32>,
    /// How long loading it took, in microseconds.
    pub micros: u64,
    /// Why the kernel refused it, with the end of the verifier's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// Which mode needs a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Host,
    Gateway,
}

/// A program type, map type or helper, and whether the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `program cgroup_sock_addr`, `map lru_hash`, `helper bpf_sk_storage_get`.
    pub name: &'static str,
    /// Since which kernel, and which option switches it on.
    pub since: &'static str,
    pub need: Need,
    pub present: Answer<bool>,
}

/// A bit set as in the line `CapEff` of /proc/self/status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// The capabilities of the unit, with their numbers (linux/capability.h) and what they are for.
pub const CAPABILITIES: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attaching the programs"),
    ("CAP_SYS_PTRACE", 19, "the executables of other users' processes"),
    ("CAP_PERFMON", 38, "the verifier"),
    ("CAP_BPF", 39, "programs and maps"),
];

impl Capabilities {
    /// Those of [`CAPABILITIES`] that are not there.
    pub fn missing(self) -> Vec<&'static str> {
        CAPABILITIES.iter().filter(|(_, bit, _)| self.0 >> bit & 1 == 0).map(|(name, ..)| *name).collect()
    }

    /// Whether programs can be loaded: `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`.
    pub fn can_load(self) -> bool {
        let missing = self.missing();
        !["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"].iter().any(|name| missing.contains(name))
    }
}

/// A directory of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    /// Absent when there is none yet.
    pub entry: Option<Entry>,
    /// Bytes that are free on its file system, or on that of the nearest directory above it.
    pub free: Answer<u64>,
}

/// What stands at the path of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub is_directory: bool,
    pub owner: u32,
    /// Permission bits.
    pub mode: u32,
}

/// An address that the agent listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The setting that names it.
    pub setting: &'static str,
    pub address: SocketAddr,
    pub state: Answer<PortState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    Free,
    InUse,
    /// No interface of this host has the address, or the like.
    Impossible(String),
}

/// The host's own certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub subject: String,
    pub not_before: Timestamp,
    /// The earlier end of its two certificates.
    pub not_after: Timestamp,
    /// Whether the system's trust store holds it.
    pub trusted: Answer<bool>,
}

/// A program that trusts what it brought along, and nothing that the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnStore {
    /// Which, where, and what it trusts.
    pub what: String,
    pub remedy: String,
}

/// The kernel's TLS for what is sent (CONFIG_TLS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelTls {
    Ready,
    /// Its module is not loaded, but the kernel loads it for the agent.
    Loadable,
    /// Its module is not loaded, and an agent without privileges does not get it loaded.
    Unloaded,
    Absent,
}

/// Who answers at the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Daemon {
    NotRunning,
    /// With the parts that are not well.
    Running {
        pid: u32,
        unwell: Vec<String>,
    },
}

/// Everything that the checks ask about.
#[derive(Debug, Clone)]
pub struct Facts {
    pub gateway: bool,
    pub now: Timestamp,
    /// When the agent's own program was written: the present cannot be before it.
    pub built: Option<Timestamp>,
    /// As `uname -r` prints it.
    pub release: String,
    /// Whether /sys/kernel/btf/vmlinux is there.
    pub btf: bool,
    /// The mode in /sys/kernel/security/lockdown; absent where the kernel has none.
    pub lockdown: Option<String>,
    pub capabilities: Capabilities,
    pub is_root: bool,
    /// The user that the service runs as; absent where there is none.
    pub service_uid: Option<u32>,
    /// The cgroup that the programs would attach to, or why there is none.
    pub cgroup: Result<PathBuf, String>,
    pub features: Vec<Feature>,
    pub programs: Answer<Vec<Program>>,
    /// Whether the kernel names network namespaces (SO_NETNS_COOKIE).
    pub namespace_cookie: Answer<bool>,
    /// Whether the kernel ends other processes' connections (CONFIG_INET_DIAG_DESTROY).
    pub socket_destroy: Answer<bool>,
    /// Absent where the settings do not ask for it.
    pub kernel_tls: Option<KernelTls>,
    pub ipv6: bool,
    /// Soft limit of locked memory in bytes; `None` is without limit.
    pub locked_memory: Option<u64>,
    pub ports: Vec<Port>,
    /// What is wrong in settings, apps and policies, a line each.
    pub configuration: Vec<String>,
    pub state: Directory,
    pub run: Directory,
    /// Absent when none was made yet.
    pub authority: Answer<Option<Authority>>,
    /// Programs that the system's trust store does not reach.
    pub own_stores: Vec<OwnStore>,
    pub daemon: Answer<Daemon>,
}
