//! Gateway mode from userspace: programs on the inside interfaces, listeners in the socket map, routing rules, and where a
//! steered connection was going.

mod links;
mod netlink;
mod outside;
mod pins;
mod routing;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_common::abi::{Address, Heartbeat};
use agent_common::limits::GATEWAY_LISTENERS;
use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::maps::{HashMap, MapData, ProgramArray, SockMap};

use super::flow::FlowMiss;
use super::learned::Learned;
use super::load;
use links::Links;
use outside::Outside;
use pins::Pins;
use routing::Routing;

/// Reads first words; the one on the inside interfaces jumps to it.
const NET: &str = "pc_gateway_net";

/// What gateway mode needs to know to start.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Names of the inside interfaces. At least one must be there; the others may come later.
    pub interfaces: Vec<Arc<str>>,
    pub refuse_quic: bool,
    pub guard: super::Guard,
    /// Whether origins are dialled with the clients' addresses.
    pub dial_as_client: bool,
    /// For `fail = "closed"`: a directory on a BPF file system, where the programs stay when the agent is killed.
    pub pins: Option<PathBuf>,
}

/// What stands in the way of forwarding, which is the administrator's to change.
pub fn forwarding_faults() -> Vec<String> {
    [("net.ipv4.ip_forward", "ipv4/ip_forward"), ("net.ipv6.conf.all.forwarding", "ipv6/conf/all/forwarding")]
        .into_iter()
        .filter(|(_, file)| {
            std::fs::read_to_string(format!("/proc/sys/net/{file}")).is_ok_and(|value| value.trim() == "0")
        })
        .map(|(name, _)| {
            format!("{name} is 0: this host forwards nothing of that family; `sysctl -w {name}=1` changes it")
        })
        .collect()
}

/// Everything of gateway mode that must be taken down again. Dropping it does.
pub(super) struct Gateway {
    // Dropped in this order: programs go before the rules that their marks rely on.
    links: Links,
    /// Where answers come in that are for clients' addresses.
    outside: Option<Outside>,
    pins: Option<Pins>,
    earlier: Option<Heartbeat>,
    routing: Routing,
    _listeners: SockMap<MapData>,
    _net: ProgramArray<MapData>,
}

impl Gateway {
    /// Puts the listeners into the socket map, makes the rules, attaches to the interfaces that are there.
    pub(super) fn start<'a>(
        ebpf: &mut Ebpf,
        options: &GatewayOptions,
        listeners: impl Iterator<Item = (&'a TcpListener, Option<&'a TcpListener>)>,
    ) -> Result<(Self, u32)> {
        let mut map: SockMap<MapData> = SockMap::try_from(load::take_map(ebpf, "PC_LISTENERS")?)?;
        let mut pairs = 0;
        for (v4, v6) in listeners {
            if pairs * 2 + 1 >= GATEWAY_LISTENERS {
                bail!("the kernel takes {GATEWAY_LISTENERS} listeners, this host has more cores");
            }
            map.set(pairs * 2, &v4.as_raw_fd(), 0).context("handing a listener to the kernel")?;
            if let Some(v6) = v6 {
                map.set(pairs * 2 + 1, &v6.as_raw_fd(), 0)
                    .context("handing an IPv6 listener to the kernel")?;
            }
            pairs += 1;
        }
        let inside = HashMap::try_from(load::take_map(ebpf, "PC_INSIDE")?)?;
        let interfaces = &options.interfaces;
        let pins = options.pins.as_deref().map(Pins::claim).transpose();
        let pins = pins.context("[steering] fail = \"closed\" needs [paths] pins")?;
        let earlier = pins.as_ref().and_then(Pins::last_heartbeat);
        if let Some(pins) = &pins {
            pins.keep_heartbeat(&load::map_data(ebpf, "PC_HEARTBEAT")?)?;
        }
        let routing = Routing::install(interfaces, pins.as_ref().is_some_and(Pins::has_earlier))?;
        let mut outside =
            options.dial_as_client.then(|| Outside::new(ebpf, interfaces, links::has_tcx())).transpose()?;
        // Before anything is steered: an agent that dials hears the answers.
        if let Some(outside) = &mut outside {
            outside.look_after(ebpf, pins.as_ref());
        }
        let mut links = Links::new(ebpf, interfaces, inside)?;
        // Before anything can jump there.
        let mut net = ProgramArray::try_from(load::take_map(ebpf, "PC_NET")?)?;
        net.set(0, links::loaded(ebpf, NET)?, 0)
            .context("handing over the program that reads first words")?;
        links.look_after(ebpf, pins.as_ref());
        if !links.any() {
            bail!(
                "[steering] interfaces: none of the inside interfaces can be attached to: {}",
                links.missing().join("; ")
            );
        }
        Ok((Self { links, outside, pins, earlier, routing, _listeners: map, _net: net }, pairs))
    }

    pub(super) fn look_after(&mut self, ebpf: &mut Ebpf) {
        self.links.look_after(ebpf, self.pins.as_ref());
        if let Some(outside) = &mut self.outside {
            outside.look_after(ebpf, self.pins.as_ref());
        }
    }

    /// This agent serves: an earlier one's programs may go.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(pins) = &mut self.pins {
            pins.remove_earlier()?;
        }
        self.routing.settle();
        Ok(())
    }

    pub(super) fn missing(&self) -> Vec<String> {
        let outside = self.outside.iter().flat_map(Outside::missing);
        self.links.missing().into_iter().chain(outside).collect()
    }

    pub(super) fn interfaces(&self) -> Vec<&str> {
        self.links.interfaces()
    }

    /// The last heartbeat of an agent whose programs were here when this one came.
    pub(super) fn earlier(&self) -> Option<Heartbeat> {
        self.earlier
    }

    pub(super) fn pin_directory(&self) -> Option<&Path> {
        self.pins.as_ref().map(Pins::directory)
    }

    pub(super) fn hooks(&self) -> Vec<String> {
        let outside = self.outside.iter().flat_map(Outside::hooks);
        self.links.hooks().into_iter().chain(outside).collect()
    }
}

/// Removes what a killed agent left in this network namespace: pinned programs below `pins`, routing rules. `Ok(false)`
/// when there was nothing.
pub fn remove_leftovers(pins: &Path) -> std::io::Result<bool> {
    let pinned = pins::remove(pins)?;
    Ok(routing::remove()? || pinned)
}

/// Per worker: where a connection that the transparent listener accepted was going, and whether the address is an app's.
pub struct Destinations {
    learned: Learned,
}

impl Destinations {
    pub(super) fn new(learned: Learned) -> Self {
        Self { learned }
    }

    /// The original destination is the accepted socket's own address, and whether nothing explains it. The listener's own
    /// address means that somebody connected to it by hand.
    pub(super) fn of(&self, local: SocketAddr) -> Result<(SocketAddr, bool), FlowMiss> {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        if !Address::from_ip(local.ip()).is_reachable_from_afar() {
            return Err(FlowMiss::NotSteered);
        }
        Ok((local, !self.learned.is_selected(local.ip()).unwrap_or(false)))
    }
}
