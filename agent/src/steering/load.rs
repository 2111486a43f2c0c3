//! The kernel object: what it must hold, its programs with their hooks, its maps.

use std::os::fd::{AsFd, BorrowedFd};

use agent_common::abi::ABI_TAG;
use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Map, MapData};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader};

use super::pins::Pins;

static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.o"));

/// Where a program attaches on a cgroup: `enum bpf_attach_type` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Hook {
    SkbIngress = 0,
    SkbEgress = 1,
    Connect4 = 10,
    Connect6 = 11,
    SendMsg4 = 14,
    SendMsg6 = 15,
    PeerName4 = 29,
    PeerName6 = 30,
}

/// A program of the object and where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupProgram {
    pub(super) name: &'static str,
    pub(super) hook: Hook,
}

const fn row(name: &'static str, hook: Hook) -> CgroupProgram {
    CgroupProgram { name, hook }
}

/// The programs of host mode in the order of attaching: what answers questions about steered sockets first, what steers
/// last. Detaching goes the other way.
pub(super) const HOST_PROGRAMS: &[CgroupProgram] = &[
    row("pc_peername4", Hook::PeerName4),
    row("pc_peername6", Hook::PeerName6),
    row("pc_dns_in", Hook::SkbIngress),
    row("pc_out", Hook::SkbEgress),
    row("pc_sendmsg4", Hook::SendMsg4),
    row("pc_sendmsg6", Hook::SendMsg6),
    row("pc_connect4", Hook::Connect4),
    row("pc_connect6", Hook::Connect6),
];

/// Names of the attached programs, for `status`.
pub(super) fn program_names() -> impl Iterator<Item = &'static str> {
    HOST_PROGRAMS.iter().map(|program| program.name)
}

/// The object, once it is sure that it is there and of this agent's version.
pub(super) fn object() -> Result<&'static [u8]> {
    if EMBEDDED.is_empty() {
        bail!(
            "this build has no kernel programs, so it cannot steer: build with `cargo xtask build`, or set \
             PORTCULLIS_EBPF_OBJECT to the object when building"
        );
    }
    if memchr::memmem::find(EMBEDDED, ABI_TAG).is_none() {
        bail!(
            "the kernel programs in this build are of another version than the agent ({} is not in them): build both \
             with `cargo xtask build`",
            String::from_utf8_lossy(ABI_TAG)
        );
    }
    Ok(EMBEDDED)
}

/// Our maps, as opposed to those that a compiler makes for constants, which are never shared.
const OURS: &str = "PC_";

/// What a map must be like to be shared with another agent's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: String,
    /// `enum bpf_map_type`.
    pub(super) kind: u32,
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) entries: u32,
}

/// Maps of gateway mode alone. On a host they take no memory, and are not shared.
const GATEWAY_MAPS: [&str; 6] =
    ["PC_LISTENERS", "PC_INSIDE", "PC_QUESTIONS", "PC_PASSAGES", "PC_SAID", "PC_NET"];

/// Every map of the object that host mode uses.
pub(super) fn shapes() -> Result<Vec<Shape>> {
    let object = aya_obj::Object::parse(object()?).context("reading the kernel object")?;
    let ours = object
        .maps
        .iter()
        .filter(|(name, _)| name.starts_with(OURS) && !GATEWAY_MAPS.contains(&name.as_str()));
    Ok(ours
        .map(|(name, map)| Shape {
            name: name.clone(),
            kind: map.map_type(),
            key: map.key_size(),
            value: map.value_size(),
            entries: map.max_entries(),
        })
        .collect())
}

/// For host mode: makes the maps, or takes over those that are pinned. The programs are verified one by one, when they are attached.
pub(super) fn load(pins: Option<&Pins>) -> Result<Ebpf> {
    let shapes = shapes()?;
    let mut loader = EbpfLoader::new();
    for map in GATEWAY_MAPS {
        loader.map_max_entries(map, 1);
    }
    for shape in shapes.iter().filter_map(|shape| Some((shape, pins?))) {
        let (shape, pins) = shape;
        loader.map_pin_path(&shape.name, pins.path(&shape.name));
    }
    loader.load(object()?).context(LOADING)
}

/// The same for gateway mode, where nothing is taken over.
pub(super) fn load_for_gateway() -> Result<Ebpf> {
    EbpfLoader::new().load(object()?).context(LOADING)
}

const LOADING: &str = "loading the kernel object (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)";

/// Has the kernel verify one program, and gives its descriptor.
pub(super) fn verified<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<BorrowedFd<'e>> {
    let program = program(ebpf, name)?;
    match program {
        Program::CgroupSockAddr(program) => program.load()?,
        Program::CgroupSkb(program) => program.load()?,
        other => bail!("{name} is no program for a cgroup: {other:?}"),
    }
    if let Ok(info) = program.info() {
        tracing::debug!(name, instructions = info.verified_instruction_count(), "verified");
    }
    Ok(program.fd()?.as_fd())
}

pub(super) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Program> {
    ebpf.program_mut(name).ok_or_else(|| anyhow!("the kernel object has no program {name}"))
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).ok_or_else(|| anyhow!("the kernel object has no map {name}"))
}

/// A second descriptor of a map, so that each worker thread has its own.
pub(super) fn map_data(ebpf: &Ebpf, name: &str) -> Result<MapData> {
    let map = ebpf.map(name).ok_or_else(|| anyhow!("the kernel object has no map {name}"))?;
    let data = match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data) => data,
        other => bail!("map {name} has an unexpected type: {other:?}"),
    };
    let descriptor = data.fd().as_fd().try_clone_to_owned().with_context(|| format!("duplicating {name}"))?;
    Ok(MapData::from_fd(descriptor)?)
}
