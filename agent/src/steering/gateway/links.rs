//! The programs on the inside interfaces: TCX where the kernel has it (6.6), below it filters of a clsact queueing
//! discipline. Interfaces come and go; whoever asks often enough sees them attached again.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, ProgramFd, SchedClassifier, TcAttachType};
use aya::util::KernelVersion;

use super::netlink::{Body, DUMP, Netlink, number};
use super::pins::Pins;
use crate::steering::load;

/// Programs with their direction, in the order of attaching.
pub(super) type Programs = [(&'static str, TcAttachType)];
/// Those of an inside interface, what learns before what steers.
const PROGRAMS: [(&str, TcAttachType); 2] =
    [("pc_gateway_dns", TcAttachType::Egress), ("pc_gateway_in", TcAttachType::Ingress)];

const GET_LINK: u16 = 18;
const DELETE_QDISC: u16 = 37;
const GET_FILTER: u16 = 46;
const LINK_NAME: u16 = 3;
const QDISC_KIND: u16 = 1;
/// Offset of the index in struct ifinfomsg.
const LINK_INDEX: usize = 4;
// linux/pkt_sched.h
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// The inside interfaces and what is attached to them.
#[derive(Debug)]
pub(super) struct Links {
    interfaces: Vec<Interface>,
    inside: HashMap<MapData, u32, u32>,
    netlink: Netlink,
    tcx: bool,
}

#[derive(Debug)]
struct Interface {
    name: Arc<str>,
    /// With the interface's index.
    attached: Option<(u32, Attached)>,
    /// Why it could not be attached, so that it is said once.
    trouble: Option<String>,
}

#[derive(Debug)]
pub(super) struct Attached {
    links: Vec<Held>,
    /// Whether the queueing discipline was not there before.
    added_clsact: bool,
}

/// A program's hold on an interface.
#[derive(Debug)]
enum Held {
    /// Goes with this process.
    Link(#[expect(dead_code, reason = "held for its drop")] SchedClassifierLink),
    /// Stays when this process is killed.
    Pinned(PinnedLink),
}

impl Links {
    pub(super) fn new(
        ebpf: &mut Ebpf,
        names: &[Arc<str>],
        inside: HashMap<MapData, u32, u32>,
    ) -> Result<Self> {
        load_programs(ebpf, &PROGRAMS)?;
        let interfaces = names
            .iter()
            .map(|name| Interface { name: name.clone(), attached: None, trouble: None })
            .collect();
        Ok(Self {
            interfaces,
            inside,
            netlink: Netlink::open().context("opening a netlink socket")?,
            tcx: has_tcx(),
        })
    }

    /// Attaches to interfaces that are new or were made anew, and forgets those that are gone.
    pub(super) fn look_after(&mut self, ebpf: &mut Ebpf, pins: Option<&Pins>) {
        let Self { interfaces, inside, netlink, tcx } = self;
        for interface in interfaces {
            let now = match index_of(netlink, &interface.name) {
                Ok(now) => now,
                Err(error) => {
                    interface.say(format!("cannot be looked up: {error}"));
                    continue;
                }
            };
            let before = interface.attached.as_ref().map(|(index, _)| *index);
            if now == before && before.is_some() {
                continue;
            }
            if let Some((index, gone)) = interface.attached.take() {
                tracing::warn!(interface = %interface.name, "the inside interface is gone");
                gone.detach(netlink, index);
                let _ = inside.remove(&index);
            }
            let Some(index) = now else {
                interface.say("is not there".into());
                continue;
            };
            let noted = inside.insert(index, 1, 0).context("noting the interface");
            match noted.and_then(|()| attach(ebpf, &PROGRAMS, &interface.name, index, *tcx, pins)) {
                Ok(attached) => {
                    tracing::info!(interface = %interface.name, index, tcx, "attached");
                    interface.attached = Some((index, attached));
                    interface.trouble = None;
                }
                Err(error) => interface.say(format!("{error:#}")),
            }
        }
    }

    /// The interfaces that nothing is attached to, each with the reason.
    pub(super) fn missing(&self) -> Vec<String> {
        let unattached = self.interfaces.iter().filter(|interface| interface.attached.is_none());
        unattached
            .map(|interface| {
                format!("{} {}", interface.name, interface.trouble.as_deref().unwrap_or("waits"))
            })
            .collect()
    }

    /// Whether at least one interface is attached.
    pub(super) fn any(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.attached.is_some())
    }

    /// Names of the interfaces that are attached.
    pub(super) fn interfaces(&self) -> Vec<&str> {
        let attached = self.interfaces.iter().filter(|interface| interface.attached.is_some());
        attached.map(|interface| &*interface.name).collect()
    }

    /// What is attached where, for people.
    pub(super) fn hooks(&self) -> Vec<String> {
        let attached = self.interfaces.iter().filter(|interface| interface.attached.is_some());
        attached
            .flat_map(|interface| PROGRAMS.map(|(program, _)| format!("{program} on {}", interface.name)))
            .collect()
    }
}

/// Whether this kernel has links of programs on interfaces; below 6.6 they are filters.
pub(super) fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

impl Interface {
    fn say(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(interface = %self.name, "[steering] interfaces: {} {trouble}", self.name);
            self.trouble = Some(trouble);
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for interface in &mut self.interfaces {
            if let Some((index, attached)) = interface.attached.take() {
                attached.detach(&mut self.netlink, index);
                let _ = self.inside.remove(&index);
            }
        }
    }
}

impl Attached {
    pub(super) fn detach(self, netlink: &mut Netlink, index: u32) {
        // An interface that is gone took its programs along.
        for held in self.links {
            match held {
                Held::Link(_) => {}
                Held::Pinned(link) => drop(link.unpin()),
            }
        }
        if self.added_clsact
            && let Err(error) = remove_clsact(netlink, index)
        {
            tracing::debug!(index, "clsact stays: {error}");
        }
    }
}

/// Has the kernel verify programs, once.
pub(super) fn load_programs(ebpf: &mut Ebpf, programs: &Programs) -> Result<()> {
    for (name, _) in programs {
        program(ebpf, name)?.load().with_context(|| format!("loading {name}"))?;
    }
    Ok(())
}

/// Has the kernel verify a program that is not attached by itself.
pub(super) fn loaded<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e ProgramFd> {
    let program = program(ebpf, name)?;
    program.load().with_context(|| format!("loading {name}"))?;
    Ok(program.fd()?)
}

/// Attaches programs to an interface; what an earlier agent left there is replaced.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    programs: &Programs,
    name: &str,
    index: u32,
    tcx: bool,
    pins: Option<&Pins>,
) -> Result<Attached> {
    let mut attached = Attached { links: Vec::new(), added_clsact: false };
    if !tcx {
        attached.added_clsact = qdisc_add_clsact(name).is_ok();
        for &(program, direction) in programs {
            // What a killed agent left, its queueing discipline included; nothing is the rule.
            attached.added_clsact |= qdisc_detach_program(name, direction, program).is_ok();
        }
    }
    for &(program_name, direction) in programs {
        let program = program(ebpf, program_name)?;
        let options = || match tcx {
            true => TcAttachOptions::TcxOrder(LinkOrder::default()),
            false => TcAttachOptions::Netlink(NlOptions::default()),
        };
        let link = program
            .attach_with_options(name, direction, options())
            .and_then(|id| program.take_link(id))
            .map_err(|error| explained(error, name))
            .with_context(|| format!("attaching {program_name}"))?;
        attached.links.push(match pins {
            // Filters of a queueing discipline stay by themselves.
            Some(pins) if tcx => {
                let path = pins.path(index, program_name);
                let pinned = FdLink::try_from(link)?.pin(&path);
                Held::Pinned(pinned.with_context(|| format!("pinning {}", path.display()))?)
            }
            _ => Held::Link(link),
        });
    }
    Ok(attached)
}

fn explained(error: ProgramError, name: &str) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("{name} (needs CAP_NET_ADMIN and CAP_BPF)"))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(load::program(ebpf, name)?.try_into()?)
}

/// The interface's index; `None` when there is no interface of this name.
fn index_of(netlink: &mut Netlink, name: &str) -> io::Result<Option<u32>> {
    let mut index = None;
    let body = Body::new(&[0; 16]).text(LINK_NAME, name);
    match netlink.ask(GET_LINK, 0, &body, |link| index = number(link, LINK_INDEX)) {
        Ok(()) => Ok(index),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the queueing discipline that was added, unless somebody else has filters there by now.
fn remove_clsact(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    for parent in [CLSACT_INGRESS, CLSACT_EGRESS] {
        let mut filters = 0;
        netlink.ask(GET_FILTER, DUMP, &Body::new(&tc_message(index, 0, parent)), |_| filters += 1)?;
        if filters > 0 {
            return Err(io::Error::other("it has filters of somebody else"));
        }
    }
    let body = Body::new(&tc_message(index, CLSACT_HANDLE, CLSACT)).text(QDISC_KIND, "clsact");
    netlink.ask(DELETE_QDISC, 0, &body, |_| ())
}

/// struct tcmsg.
fn tc_message(index: u32, handle: u32, parent: u32) -> [u8; 20] {
    let mut message = [0; 20];
    for (at, value) in [(4, index), (8, handle), (12, parent)] {
        for (to, octet) in message.iter_mut().skip(at).zip(value.to_ne_bytes()) {
            *to = octet;
        }
    }
    message
}
