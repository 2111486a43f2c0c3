//! The lab with a gateway: hosts behind a bridge, as containers on a host are, and one behind an interface of its own.
//!
//! ```text
//!  pcINSA<id>  10.77.0.2 fd77::2 ──┐ br0              pcHOST<id>             pc0
//!  pcINSB<id>  10.77.0.3 fd77::3 ──┴──── 10.77.0.1 fd77::1  agent  198.18.0.2 ──── pcORIG<id>
//!  pcINSC<id>  10.78.0.2 fd78::2 ─────── 10.78.0.1 fd78::1 in1
//! ```

use std::fs;

use anyhow::{Context as _, Result};

use crate::netns::{NetNs, inside};
use crate::process::{Daemon, Finished, Place, must, run, tool};
use crate::{Lab, wait};

/// The bridge, and the interface that is none.
pub const BRIDGE: &str = "br0";
pub const LAN: &str = "in1";
/// Where a tunnel ends on the gateway.
pub const TUNNEL: &str = "vpn0";
/// Address of the gateway towards the bridge.
pub const GATEWAY: [&str; 2] = ["10.77.0.1", "fd77::1"];

/// Hosts behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    A,
    B,
    /// Not on the bridge.
    C,
}

impl Inside {
    const ALL: [Inside; 3] = [Inside::A, Inside::B, Inside::C];

    /// Its addresses.
    pub const fn address(self) -> [&'static str; 2] {
        match self {
            Inside::A => ["10.77.0.2", "fd77::2"],
            Inside::B => ["10.77.0.3", "fd77::3"],
            Inside::C => ["10.78.0.2", "fd78::2"],
        }
    }

    const fn letter(self) -> char {
        match self {
            Inside::A => 'A',
            Inside::B => 'B',
            Inside::C => 'C',
        }
    }
}

/// The lab, whose clients' namespace is the gateway here.
pub struct GatewayLab {
    // Dropped before the lab, whose namespace holds the other ends.
    hosts: Vec<NetNs>,
    pub lab: Lab,
}

impl GatewayLab {
    pub fn start() -> Result<Self> {
        let lab = Lab::start()?;
        let (gateway, origin) = lab.namespaces();
        let mut hosts = Vec::new();
        for host in Inside::ALL {
            hosts.push(NetNs::create(format!("pcINS{}{}", host.letter(), lab.id()))?);
        }
        for (host, number) in hosts.iter().zip(0..) {
            let near = if number == 2 { LAN.to_owned() } else { format!("port{number}") };
            gateway.connect(&near, host, "eth0")?;
        }
        gateway.address(LAN, &["10.78.0.1/24", "fd78::1/64"])?;
        for (host, place) in hosts.iter().zip(Inside::ALL) {
            let [v4, v6] = place.address();
            host.address("eth0", &[&format!("{v4}/24"), &format!("{v6}/64")])?;
            let [via4, via6] = if place == Inside::C { ["10.78.0.1", "fd78::1"] } else { GATEWAY };
            host.ip(&["route", "add", "default", "via", via4])?;
            host.ip(&["-6", "route", "add", "default", "via", via6])?;
        }
        for (net4, net6) in [("10.77.0.0/24", "fd77::/64"), ("10.78.0.0/24", "fd78::/64")] {
            origin.ip(&["route", "add", net4, "via", "198.18.0.2"])?;
            origin.ip(&["-6", "route", "add", net6, "via", "fd18::2"])?;
        }
        inside(&gateway.path(), || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        })?
        .context("cannot switch forwarding on")?;
        let made = Self { hosts, lab };
        made.make_bridge()?;
        Ok(made)
    }

    /// The bridge with both hosts on it.
    pub fn make_bridge(&self) -> Result<()> {
        let (gateway, _) = self.lab.namespaces();
        gateway.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        gateway.ip(&["link", "set", BRIDGE, "up"])?;
        for port in ["port0", "port1"] {
            gateway.ip(&["link", "set", port, "master", BRIDGE])?;
        }
        let [v4, v6] = GATEWAY;
        gateway.address(BRIDGE, &[&format!("{v4}/24"), &format!("{v6}/64")])
    }

    /// Has a host reach the gateway by a tunnel that has no link layer, until what is returned ends.
    pub fn make_tunnel(&self, host: Inside) -> Result<Daemon> {
        let namespace = self.hosts[host as usize].path();
        let namespace = namespace.to_str().context("a path in UTF-8")?;
        let [v4, v6] = host.address();
        let place = self.lab.client();
        let tunnel = self.python_daemon(
            &place,
            "tunnel",
            include_str!("tunnel.py"),
            &[namespace, TUNNEL, "tun0", v4, v6],
        )?;
        wait::until("the tunnel", wait::PATIENCE, || Ok(tunnel.log().contains("open").then_some(())))?;
        Ok(tunnel)
    }

    /// As when the network of containers is removed.
    pub fn remove_bridge(&self) -> Result<()> {
        self.lab.namespaces().0.ip(&["link", "delete", BRIDGE])
    }

    /// Where a client behind the gateway runs; its names come from the lab's resolver, through the gateway.
    pub fn host(&self, host: Inside) -> Place {
        self.lab.client_in(self.hosts[host as usize].path())
    }

    /// Among the origin's servers.
    pub fn outside(&self) -> Place {
        self.lab.client_in(self.lab.namespaces().1.path())
    }

    /// A Python program, given as text.
    pub fn python(&self, place: &Place, program: &str, arguments: &[&str]) -> Result<Finished> {
        let mut command = place.command("/usr/bin/python3", None)?;
        command.args(["-I", "-c", program]).args(arguments);
        run(command, wait::PATIENCE * 3)
    }

    /// The same, left running; what it says is in its log.
    pub fn python_daemon(
        &self,
        place: &Place,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> Result<Daemon> {
        let mut command = place.command("/usr/bin/python3", None)?;
        command.args(["-I", "-u", "-c", program]).args(arguments);
        Daemon::spawn(name, command, self.lab.directory().join(format!("{name}.log")))
    }

    /// Everything that routes by marks on the gateway: rules that are not the system's own, and routes of their table.
    pub fn marked_routing(&self) -> Result<Vec<String>> {
        let name = self.lab.namespace();
        let mut found = Vec::new();
        for family in ["-4", "-6"] {
            let rules = must(tool("ip").args(["-netns", name, family, "rule", "show"]))?;
            found.extend(rules.lines().filter(|line| line.contains("fwmark")).map(str::to_owned));
            let routes = must(tool("ip").args(["-netns", name, family, "route", "show", "table", "all"]))?;
            found.extend(routes.lines().filter(|line| line.contains("proto 80")).map(str::to_owned));
        }
        Ok(found)
    }

    /// Queueing disciplines that filters were put into, on one of the gateway's interfaces.
    pub fn disciplines(&self, interface: &str) -> Result<Vec<String>> {
        let shown = must(tool("tc").args(["-n", self.lab.namespace(), "qdisc", "show", "dev", interface]))?;
        Ok(shown.lines().filter(|line| line.contains("clsact")).map(str::to_owned).collect())
    }

    /// `ip` on the gateway.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        self.lab.namespaces().0.ip(arguments)
    }
}
