//! The kernel side from userspace: load and attach the programs, tell them what to steer, learn where a steered
//! connection was going. The only place that knows aya.

#[cfg(test)]
mod agreement;
mod counters;
mod flow;
mod load;
mod namespace;
mod patterns;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::abi::{ABI_VERSION, Address, GUARD_ALL, GUARD_OFF, GUARD_PEEK, Settings};
use agent_common::limits::STEERED_PORTS;
use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, MapData};

use crate::catalog::HostPattern;

pub use counters::KernelCounters;
pub use flow::{FlowMiss, Flows, OwnSockets};
pub use load::PROGRAMS;

/// What steering needs to know to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the programs attach; everything in this cgroup and below is steered. `None`: the cgroup v2 root.
    pub cgroup: Option<PathBuf>,
    pub listener_v4: SocketAddr,
    pub listener_v6: Option<SocketAddr>,
    pub refuse_quic: bool,
    pub guard: Guard,
}

/// Which connections are steered besides those to addresses of selected apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Off,
    /// Those to addresses that no DNS answer explains.
    Unexplained,
    /// Every connection to the ports.
    All,
}

/// What the kernel is to steer, from one snapshot of catalog and policies.
#[derive(Debug, Default)]
pub struct Orders {
    /// Every pattern of the catalog with the id of its app: addresses are learned for all of them, so that a policy
    /// edit works for names that were resolved before it.
    pub patterns: Vec<(HostPattern, Arc<str>)>,
    /// Ids of the apps that a policy selects.
    pub selected: Vec<Arc<str>>,
    pub ports: Vec<u16>,
}

/// The loaded and attached programs. Dropping it detaches them and frees every map.
pub struct Steering {
    settings: Settings,
    settings_map: Array<MapData, Settings>,
    patterns: patterns::Patterns,
    app_bits: patterns::AppBits,
    cgroup: PathBuf,
    ebpf: Ebpf,
}

impl Steering {
    /// Loads and attaches everything; steering begins with the first [`Steering::apply`].
    ///
    /// Fails when the kernel refuses a program or when no cgroup v2 hierarchy is mounted; nothing stays behind then.
    pub fn start(options: &Options) -> Result<Self> {
        let cgroup = match &options.cgroup {
            Some(path) => path.clone(),
            None => cgroup2_root().context("looking for the cgroup v2 hierarchy")?,
        };
        let mut ebpf = load::load()?;
        let settings_map = Array::try_from(load::take_map(&mut ebpf, "PC_SETTINGS")?)?;
        let patterns = patterns::Patterns::new(load::take_map(&mut ebpf, "PC_PATTERNS")?)?;
        let settings = Settings {
            abi_version: ABI_VERSION,
            network_namespace: namespace::own_cookie().context("reading the network namespace's cookie")?,
            listener_v4: Address::from_ip(options.listener_v4.ip()).words()[3],
            listener_port_v4: options.listener_v4.port(),
            listener_v6: options.listener_v6.map(|a| Address::from_ip(a.ip()).words()).unwrap_or_default(),
            listener_port_v6: options.listener_v6.map(|a| a.port()).unwrap_or_default(),
            refuse_quic: options.refuse_quic.into(),
            guard: match options.guard {
                Guard::Off => GUARD_OFF,
                Guard::Unexplained => GUARD_PEEK,
                Guard::All => GUARD_ALL,
            },
            ..Settings::default()
        };
        let mut steering =
            Self { settings, settings_map, patterns, app_bits: patterns::AppBits::default(), cgroup, ebpf };
        // Disabled until the orders are in: the programs are attached one after the other and must not half-work.
        steering.write_settings()?;
        load::attach(&mut steering.ebpf, &steering.cgroup)?;
        Ok(steering)
    }

    /// Makes the kernel steer what one snapshot of catalog and policies asks for.
    pub fn apply(&mut self, orders: &Orders) -> Result<()> {
        self.patterns.replace(&orders.patterns, &mut self.app_bits)?;
        self.settings.steer_apps =
            orders.selected.iter().fold(0, |bits, app| bits | self.app_bits.bit_of(app));
        self.settings.ports = [0; STEERED_PORTS];
        for (to, port) in self.settings.ports.iter_mut().zip(&orders.ports) {
            *to = *port;
        }
        self.settings.enabled = 1;
        self.write_settings()
    }

    fn write_settings(&mut self) -> Result<()> {
        self.settings_map.set(0, self.settings, 0).context("writing the settings map")
    }

    /// A handle for one worker thread: records of steered connections.
    pub fn flows(&self) -> Result<Flows> {
        Flows::new(load::map_data(&self.ebpf, "PC_FLOWS")?)
    }

    /// A handle for one worker thread: marks the agent's own sockets.
    pub fn own_sockets(&self) -> Result<OwnSockets> {
        OwnSockets::new(load::map_data(&self.ebpf, "PC_OWN")?)
    }

    /// A handle for the metrics.
    pub fn counters(&self) -> Result<KernelCounters> {
        KernelCounters::new(load::map_data(&self.ebpf, "PC_COUNTERS")?)
    }

    /// Where the programs are attached.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        // New connections go direct before the first program is detached: none meets a half-attached set.
        self.settings.enabled = 0;
        if let Err(error) = self.write_settings() {
            tracing::warn!("steering could not be disabled before detaching: {error:#}");
        }
    }
}

/// Mount point of the cgroup v2 hierarchy: /sys/fs/cgroup, or elsewhere on hosts with both hierarchies.
pub fn cgroup2_root() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(path))
        })
        .next()
        .context("no cgroup2 file system is mounted: mount one, for example at /sys/fs/cgroup")
}
