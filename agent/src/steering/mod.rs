//! The kernel side from userspace: load and attach the programs, tell them what to steer, learn where a steered
//! connection was going. The only place that knows aya.

#[cfg(test)]
mod agreement;
mod arrival;
mod bpf;
mod counters;
mod events;
mod flow;
pub mod gateway;
mod heart;
mod learned;
mod led;
mod links;
mod load;
mod namespace;
mod patterns;
mod peeked;
mod pins;
pub mod probe;
mod readers;
pub mod sock_diag;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::abi::{
    ABI_VERSION, Address, EXISTING_CLOSE, EXISTING_LEAVE, EXISTING_REPORT, FAIL_CLOSED, FAIL_OPEN, GUARD_ALL,
    GUARD_OFF, GUARD_PEEK, GUARD_SNI, Heartbeat, Settings,
};
use agent_common::limits::STEERED_PORTS;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use aya::Ebpf;
use aya::maps::{Array, MapData};

use crate::catalog::HostPattern;
use crate::config::{Existing, Guard};

pub use arrival::{Arrival, Arrivals};
pub use counters::KernelCounters;
pub use events::{Events, Stopped, Why};
pub use flow::{FlowMiss, Flows, OwnSockets};
pub use gateway::GatewayOptions;
pub use heart::{Heart, is_fresh, is_handed_over, now_ns};
pub use learned::Learned;
pub use led::LedNames;
pub use peeked::Peeked;
pub use pins::{PinFault, check_base, clean_up};

/// What steering needs to know to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the programs attach; everything in this cgroup and below is steered. `None`: the cgroup v2 root.
    pub cgroup: Option<PathBuf>,
    pub listener_v4: SocketAddr,
    pub listener_v6: Option<SocketAddr>,
    pub refuse_quic: bool,
    pub guard: Guard,
    /// Whether connections to selected apps are refused while the agent does not live. Takes pins.
    pub fail_closed: bool,
    /// Directory on a BPF file system below which programs and maps are kept for the next agent. `None`: they go with
    /// this process, however it ends.
    pub pins: Option<PathBuf>,
}

/// The kernel's word for it. All but `Off` also watch the first words of connections that are left alone.
const fn guard_word(guard: Guard) -> u32 {
    match guard {
        Guard::Off => GUARD_OFF,
        Guard::Sni => GUARD_SNI,
        Guard::Peek => GUARD_PEEK,
        Guard::All => GUARD_ALL,
    }
}

const fn existing_word(existing: Existing) -> u32 {
    match existing {
        Existing::Leave => EXISTING_LEAVE,
        Existing::Report => EXISTING_REPORT,
        Existing::Close => EXISTING_CLOSE,
    }
}

/// What the kernel is to steer, from one snapshot of catalog and policies.
#[derive(Debug)]
pub struct Orders {
    /// Every pattern of the catalog with the id of its app: addresses are learned for all of them, so that a policy
    /// edit works for names that were resolved before it.
    pub patterns: Vec<(HostPattern, Arc<str>)>,
    /// Ids of the apps that a policy selects.
    pub selected: Vec<Arc<str>>,
    pub ports: Vec<u16>,
    /// What a gateway's programs do with connections from before. On a host it is done by their list.
    pub existing: Existing,
}

/// The loaded and attached programs, and the pins of both.
///
/// [`Steering::detach`] takes everything away. Dropping it does the same before [`Steering::settle`]; afterwards pinned
/// state stays for the next agent, because a process that ends in any other way has failed.
pub struct Steering {
    settings: Settings,
    settings_map: Array<MapData, Settings>,
    patterns: patterns::Patterns,
    app_bits: patterns::AppBits,
    /// What the last orders selected, for every handle.
    selected: Arc<ArcSwap<learned::Selected>>,
    kept_bits: patterns::KeptBits,
    heart: Heart,
    // Before the object: its programs are detached first.
    place: Place,
    ebpf: Ebpf,
}

/// Where the programs are attached.
enum Place {
    Cgroup(Box<Host>),
    Gateway(Box<gateway::Gateway>),
}

/// What host mode has beside the object.
struct Host {
    earlier: Option<Heartbeat>,
    cgroup: PathBuf,
    // Dropped in this order: the programs' links before the pins that hold them, and before what they jump to.
    links: Option<links::Links>,
    pins: Option<pins::Pins>,
    _readers: readers::Readers,
}

impl Steering {
    /// Loads and attaches everything, or takes over what an earlier agent left; steering by this agent begins with the
    /// first [`Steering::apply`].
    ///
    /// Fails when another agent holds the cgroup, when the kernel refuses a program, or when no cgroup v2 hierarchy is
    /// mounted. Nothing new stays behind then; what an earlier agent left stays as it is.
    pub fn start(options: &Options) -> Result<Self> {
        let cgroup = match &options.cgroup {
            Some(path) => path.clone(),
            None => cgroup2_root().context("looking for the cgroup v2 hierarchy")?,
        };
        let pins = options.pins.as_deref().map(|base| pins::Pins::claim(base, &cgroup)).transpose()?;
        let adopted = pins.as_ref().is_some_and(pins::Pins::adopted);
        let mut ebpf = load::load(pins.as_ref())?;
        let settings_map = Array::try_from(load::take_map(&mut ebpf, "PC_SETTINGS")?)?;
        let patterns = patterns::Patterns::new(load::take_map(&mut ebpf, "PC_PATTERNS")?)?;
        let (kept_bits, app_bits) = patterns::KeptBits::open(load::take_map(&mut ebpf, "PC_APPS")?)?;
        let heart = Heart::new(load::map_data(&ebpf, "PC_HEARTBEAT")?)?;
        let settings = Settings {
            abi_version: ABI_VERSION,
            network_namespace: namespace::own_cookie().context("reading the network namespace's cookie")?,
            listener_v4: Address::from_ip(options.listener_v4.ip()).words()[3],
            listener_port_v4: options.listener_v4.port(),
            listener_v6: options.listener_v6.map(|a| Address::from_ip(a.ip()).words()).unwrap_or_default(),
            listener_port_v6: options.listener_v6.map(|a| a.port()).unwrap_or_default(),
            refuse_quic: options.refuse_quic.into(),
            guard: guard_word(options.guard),
            fail: if options.fail_closed { FAIL_CLOSED } else { FAIL_OPEN },
            ..Settings::default()
        };
        // Before anything can jump there.
        let readers = readers::Readers::install(&mut ebpf)?;
        let mut steering = Self {
            settings,
            settings_map,
            patterns,
            app_bits,
            kept_bits,
            selected: Arc::default(),
            place: Place::Cgroup(Box::new(Host {
                earlier: if adopted { heart.last() } else { None },
                cgroup,
                links: None,
                pins,
                _readers: readers,
            })),
            heart,
            ebpf,
        };
        // New programs are disabled until the orders are in: they are attached one after the other and must not
        // half-work. Programs that were there go on as they were told, which is to do without an agent.
        if !adopted {
            steering.write_settings()?;
        }
        if let Place::Cgroup(host) = &mut steering.place {
            let pins = host.pins.as_ref();
            host.links =
                Some(links::Links::attach(&mut steering.ebpf, load::HOST_PROGRAMS, &host.cgroup, pins)?);
        }
        Ok(steering)
    }

    /// The same for a gateway: programs on its inside interfaces, and routing rules. `listeners` are transparent ones, a
    /// pair for each worker.
    ///
    /// Fails when the kernel refuses a program or a rule, or when no inside interface is there; nothing stays behind then.
    pub fn start_gateway<'a>(
        options: &GatewayOptions,
        listeners: impl Iterator<Item = (&'a TcpListener, Option<&'a TcpListener>)>,
    ) -> Result<Self> {
        let mut ebpf = load::load_for_gateway()?;
        let mut settings_map = Array::try_from(load::take_map(&mut ebpf, "PC_SETTINGS")?)?;
        let patterns = patterns::Patterns::new(load::take_map(&mut ebpf, "PC_PATTERNS")?)?;
        let (kept_bits, app_bits) = patterns::KeptBits::open(load::take_map(&mut ebpf, "PC_APPS")?)?;
        let mut settings = Settings {
            abi_version: ABI_VERSION,
            refuse_quic: options.refuse_quic.into(),
            guard: guard_word(options.guard),
            fail: if options.pins.is_some() { FAIL_CLOSED } else { FAIL_OPEN },
            gateway_dials_as_client: options.dial_as_client.into(),
            ..Settings::default()
        };
        // Disabled until the orders are in, as on a host.
        settings_map.set(0, settings, 0).context("writing the settings map")?;
        let heart = Heart::new(load::map_data(&ebpf, "PC_HEARTBEAT")?)?;
        let (gateway, pairs) = gateway::Gateway::start(&mut ebpf, options, listeners)?;
        settings.gateway_listeners = pairs;
        Ok(Self {
            settings,
            settings_map,
            patterns,
            app_bits,
            kept_bits,
            selected: Arc::default(),
            heart,
            place: Place::Gateway(Box::new(gateway)),
            ebpf,
        })
    }

    /// Attaches to interfaces of a gateway that came or came back; says which are missing, and why.
    pub fn look_after(&mut self) -> Vec<String> {
        match &mut self.place {
            Place::Cgroup(_) => Vec::new(),
            Place::Gateway(gateway) => {
                gateway.look_after(&mut self.ebpf);
                gateway.missing()
            }
        }
    }

    /// New connections go direct from here on. `Some`: what running connections still need, to be detached after them. On
    /// a host that is nothing; on a gateway their packets reach the agent only as long as the programs are attached.
    pub fn wind_down(mut self) -> Result<Option<Self>> {
        if let Place::Cgroup(_) = self.place {
            return self.detach().map(|()| None);
        }
        self.settings.steer_apps = 0;
        self.write_settings()?;
        Ok(Some(self))
    }

    /// Makes the kernel steer what one snapshot of catalog and policies asks for. On a host the listening sockets must
    /// bear their mark ([`OwnSockets::mark_listener`]) by now.
    pub fn apply(&mut self, orders: &Orders) -> Result<()> {
        for (_, app) in &orders.patterns {
            self.app_bits.bit_of(app);
        }
        let selected = learned::Selected {
            apps: orders.selected.iter().map(|app| (app.clone(), self.app_bits.bit_of(app))).collect(),
            ports: orders.ports.iter().take(STEERED_PORTS).copied().collect(),
        };
        self.kept_bits.keep(&self.app_bits)?;
        self.patterns.replace(&orders.patterns, &mut self.app_bits)?;
        self.settings.steer_apps = selected.bits();
        self.settings.ports = [0; STEERED_PORTS];
        for (to, port) in self.settings.ports.iter_mut().zip(&selected.ports) {
            *to = *port;
        }
        let before = self.selected.swap(Arc::new(selected));
        let now = self.selected.load();
        if !now.apps.iter().all(|(app, _)| before.apps.iter().any(|(known, _)| known == app)) {
            self.settings.selection = self.settings.selection.wrapping_add(1);
        }
        self.settings.existing = existing_word(orders.existing);
        let first = self.settings.enabled == 0;
        self.settings.enabled = 1;
        if first {
            // The sockets listen: what is steered from here on waits there for the workers.
            self.heart.beat(now_ns())?;
        }
        // Port and switch in one write. Should a program read half of it, it finds no listener of ours at the port.
        self.write_settings()?;
        if first {
            match &mut self.place {
                Place::Cgroup(host) => host.pins.as_ref().map_or(Ok(()), pins::Pins::remove_left_overs)?,
                Place::Gateway(gateway) => gateway.settle()?,
            }
        }
        Ok(())
    }

    fn write_settings(&mut self) -> Result<()> {
        self.settings_map.set(0, self.settings, 0).context("writing the settings map")
    }

    /// From here on the pinned state of a host outlives this process, unless it is taken away by [`Steering::detach`].
    pub fn settle(&mut self) {
        if let Place::Cgroup(host) = &mut self.place
            && let Some(pins) = &mut host.pins
        {
            pins.keep();
        }
    }

    /// Takes everything away, in an order that leaves nothing half-working: new connections go direct at once, then
    /// programs, links, maps and pins go.
    pub fn detach(mut self) -> Result<()> {
        self.disable();
        let Place::Cgroup(host) = &mut self.place else { return Ok(()) };
        drop(host.links.take());
        match host.pins.take() {
            Some(pins) => pins.remove(),
            None => Ok(()),
        }
    }

    /// Whether programs and maps would outlive this process, so that the next agent can take its place without a gap.
    pub fn can_be_left(&self) -> bool {
        match &self.place {
            Place::Cgroup(host) => host.pins.as_ref().is_some_and(pins::Pins::is_kept),
            Place::Gateway(gateway) => gateway.pin_directory().is_some(),
        }
    }

    /// Leaves everything that can be left as it is for the next agent, as a process that is killed does.
    pub fn leave(self) {
        if let Place::Gateway(_) = self.place
            && self.can_be_left()
        {
            // What holds its links, rules and directory would take them down. A host's are not taken down once settled.
            std::mem::forget(self);
        }
    }

    fn disable(&mut self) {
        self.settings.enabled = 0;
        if let Err(error) = self.write_settings() {
            tracing::warn!("steering could not be disabled before detaching: {error:#}");
        }
    }

    /// A handle for one worker thread: where accepted connections were going.
    pub fn arrivals(&self) -> Result<Arrivals> {
        Ok(match self.place {
            Place::Cgroup(_) => Arrivals::Host(Flows::new(load::map_data(&self.ebpf, "PC_FLOWS")?)?),
            Place::Gateway(_) => Arrivals::Gateway(gateway::Destinations::new(self.learned()?)),
        })
    }

    /// A handle for one worker thread: marks the agent's own sockets.
    pub fn own_sockets(&self) -> Result<OwnSockets> {
        OwnSockets::new(load::map_data(&self.ebpf, "PC_OWN")?)
    }

    /// A handle for one thread: which apps an address was learned for.
    pub fn learned(&self) -> Result<Learned> {
        Learned::new(load::map_data(&self.ebpf, "PC_TARGETS")?, self.selected.clone())
    }

    /// A handle on the names that apps lead to.
    pub fn led_names(&self) -> Result<LedNames> {
        LedNames::new(self.patterns.data()?, self.selected.clone())
    }

    /// A handle for one worker thread: remembers what was peeked at.
    pub fn peeked(&self) -> Result<Peeked> {
        Peeked::new(load::map_data(&self.ebpf, "PC_PEEKED")?)
    }

    /// What the kernel wants done. For one reader, within a runtime.
    pub fn events(&self) -> Result<Events> {
        Events::new(load::map_data(&self.ebpf, "PC_EVENTS")?)
    }

    /// A handle for the metrics.
    pub fn counters(&self) -> Result<KernelCounters> {
        KernelCounters::new(load::map_data(&self.ebpf, "PC_COUNTERS")?)
    }

    /// A handle for the thread that says that the agent lives.
    pub fn heart(&self) -> Result<Heart> {
        Heart::new(load::map_data(&self.ebpf, "PC_HEARTBEAT")?)
    }

    /// Where the programs are attached, for people.
    pub fn place(&self) -> String {
        match &self.place {
            Place::Cgroup(host) => host.cgroup.display().to_string(),
            Place::Gateway(gateway) => gateway.interfaces().join(", "),
        }
    }

    /// The attached programs and where they are, for people.
    pub fn hooks(&self) -> Vec<String> {
        match &self.place {
            Place::Cgroup(host) => {
                let cgroup = host.cgroup.display();
                load::program_names().map(|program| format!("{program} on {cgroup}")).collect()
            }
            Place::Gateway(gateway) => gateway.hooks(),
        }
    }

    /// Where they are pinned.
    pub fn pin_directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Cgroup(host) => host.pins.as_ref().map(pins::Pins::directory),
            Place::Gateway(gateway) => gateway.pin_directory(),
        }
    }

    /// Whether an earlier agent's programs and maps were taken over. A gateway's are replaced.
    pub fn adopted(&self) -> bool {
        match &self.place {
            Place::Cgroup(host) => host.pins.as_ref().is_some_and(pins::Pins::adopted),
            Place::Gateway(_) => false,
        }
    }

    /// The last heartbeat of the agent whose state was taken over, or replaced.
    pub fn earlier(&self) -> Option<Heartbeat> {
        match &self.place {
            Place::Cgroup(host) => host.earlier,
            Place::Gateway(gateway) => gateway.earlier(),
        }
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        let stays = match &self.place {
            Place::Cgroup(_) => self.can_be_left(),
            Place::Gateway(_) => false,
        };
        // New connections go direct before the first program is detached: none meets a half-attached set.
        if !stays {
            self.disable();
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
