//! For `dial = "client"`: the program that tells answers to the agent from those that are forwarded, on every interface of
//! the gateway that is not inside, and a routing rule for each.
//!
//! They are found, not named: an answer comes back by whatever way the origin's network takes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use agent_common::limits::OUTSIDE_INTERFACES;
use anyhow::Result;
use aya::Ebpf;
use aya::programs::TcAttachType;

use super::links::{Attached, attach};
use super::netlink::{Body, DUMP, Netlink, attribute, number};
use super::pins::Pins;
use super::routing;

const PROGRAMS: [(&str, TcAttachType); 1] = [("pc_gateway_back", TcAttachType::Ingress)];

const GET_LINK: u16 = 18;
/// struct ifinfomsg: its size, and offsets in it.
const LINK: usize = 16;
const INDEX: usize = 4;
const FLAGS: usize = 8;
const LOOPBACK: u32 = 8;
// linux/if_link.h
const NAME: u16 = 3;
const MASTER: u16 = 10;

/// The interfaces that are not inside, and what is attached to them.
#[derive(Debug)]
pub(super) struct Outside {
    netlink: Netlink,
    inside: Vec<Arc<str>>,
    tcx: bool,
    attached: BTreeMap<u32, (String, Attached)>,
    /// What could not be attached to, so that it is said once.
    trouble: BTreeMap<u32, String>,
}

/// An interface of this network namespace.
#[derive(Debug, PartialEq, Eq)]
struct Interface {
    index: u32,
    name: String,
    /// The bridge or bond that it is a port of.
    master: Option<u32>,
    loopback: bool,
}

impl Outside {
    pub(super) fn new(ebpf: &mut Ebpf, inside: &[Arc<str>], tcx: bool) -> Result<Self> {
        super::links::load_programs(ebpf, &PROGRAMS)?;
        Ok(Self {
            netlink: Netlink::open()?,
            inside: inside.to_vec(),
            tcx,
            attached: BTreeMap::new(),
            trouble: BTreeMap::new(),
        })
    }

    /// Attaches to interfaces that came and forgets those that went.
    pub(super) fn look_after(&mut self, ebpf: &mut Ebpf, pins: Option<&Pins>) {
        let found = match interfaces(&mut self.netlink) {
            Ok(found) => outside(found, &self.inside),
            Err(error) => {
                tracing::warn!("the interfaces cannot be listed: {error}");
                return;
            }
        };
        let gone: Vec<u32> = self
            .attached
            .iter()
            .filter(|(index, (name, _))| found.get(index) != Some(name))
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            self.let_go(index);
        }
        self.trouble.retain(|index, _| found.contains_key(index));
        for (index, name) in found {
            if self.attached.contains_key(&index) {
                continue;
            }
            match self.take(ebpf, pins, index, &name) {
                Ok(attached) => {
                    tracing::info!(interface = name, index, "answers to the agent are told apart");
                    self.trouble.remove(&index);
                    self.attached.insert(index, (name, attached));
                }
                Err(error) => {
                    let trouble = format!("{name}: {error:#}");
                    if self.trouble.get(&index) != Some(&trouble) {
                        tracing::warn!("[steering] dial: answers by {trouble} do not reach the agent");
                        self.trouble.insert(index, trouble);
                    }
                }
            }
        }
    }

    fn take(&mut self, ebpf: &mut Ebpf, pins: Option<&Pins>, index: u32, name: &str) -> Result<Attached> {
        // The rule first: a marked packet without one would be forwarded.
        routing::add_steered(&mut self.netlink, name)?;
        attach(ebpf, &PROGRAMS, name, index, self.tcx, pins)
    }

    fn let_go(&mut self, index: u32) {
        let Some((name, attached)) = self.attached.remove(&index) else { return };
        attached.detach(&mut self.netlink, index);
        routing::remove_steered(&mut self.netlink, &name);
    }

    /// Where answers are not told apart, and why.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> + '_ {
        self.trouble.values().map(|trouble| format!("outside: {trouble}"))
    }

    /// What is attached where, for people.
    pub(super) fn hooks(&self) -> impl Iterator<Item = String> + '_ {
        self.attached.values().map(|(name, _)| format!("{} on {name}", PROGRAMS[0].0))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        while let Some(index) = self.attached.keys().next().copied() {
            self.let_go(index);
        }
    }
}

/// Those that are neither inside, nor ports of what is inside, nor loopback, by their index.
fn outside(found: Vec<Interface>, inside: &[Arc<str>]) -> BTreeMap<u32, String> {
    let is_inside = |name: &str| inside.iter().any(|inside| **inside == *name);
    let masters: Vec<u32> =
        found.iter().filter(|one| is_inside(&one.name)).map(|inside| inside.index).collect();
    let is_port = |one: &Interface| one.master.is_some_and(|master| masters.contains(&master));
    found
        .into_iter()
        .filter(|one| !one.loopback && !is_inside(&one.name) && !is_port(one))
        .take(OUTSIDE_INTERFACES)
        .map(|one| (one.index, one.name))
        .collect()
}

fn interfaces(netlink: &mut Netlink) -> io::Result<Vec<Interface>> {
    let mut found = Vec::new();
    netlink.ask(GET_LINK, DUMP, &Body::new(&[0; LINK]), |link| found.extend(read(link)))?;
    Ok(found)
}

fn read(link: &[u8]) -> Option<Interface> {
    let attributes = link.get(LINK..)?;
    let name = attribute(attributes, NAME)?;
    let name = name.split(|&octet| octet == 0).next()?;
    Some(Interface {
        index: number(link, INDEX)?,
        name: String::from_utf8(name.to_vec()).ok()?,
        master: attribute(attributes, MASTER).and_then(|value| number(value, 0)),
        loopback: number(link, FLAGS)? & LOOPBACK != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_its_ports_and_loopback_are_not_outside() {
        let one = |index, name: &str, master, loopback| Interface {
            index,
            name: name.to_owned(),
            master,
            loopback,
        };
        let found = vec![
            one(1, "lo", None, true),
            one(2, "eth0", None, false),
            one(3, "br0", None, false),
            one(4, "port0", Some(3), false),
            one(5, "in1", None, false),
            one(6, "eth1", Some(7), false),
            one(7, "bond0", None, false),
        ];
        let outside = outside(found, &["br0".into(), "in1".into()]);
        assert_eq!(outside.into_values().collect::<Vec<_>>(), ["eth0", "eth1", "bond0"]);
    }

    #[test]
    fn this_hosts_interfaces_are_read() {
        let found = interfaces(&mut Netlink::open().unwrap()).unwrap();
        let lo = found.iter().find(|one| one.name == "lo").expect("every namespace has it");
        assert!(lo.loopback && lo.index == 1 && lo.master.is_none(), "{lo:?}");
    }

    #[test]
    fn a_link_that_is_cut_is_none() {
        let mut link = vec![0u8; LINK];
        link[INDEX] = 7;
        link.extend([8, 0, 3, 0, b'b', b'r', b'0', 0]);
        link.extend([8, 0, 10, 0, 9, 0, 0, 0]);
        let whole = read(&link).unwrap();
        assert_eq!((whole.index, &*whole.name, whole.master), (7, "br0", Some(9)));
        for end in 0..LINK + 8 {
            assert!(read(&link[..end]).is_none(), "{end}");
        }
    }
}
