//! Loading the kernel object and attaching its programs, in the order in which they may become live.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use agent_common::abi::ABI_TAG;
use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Map, MapData};
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, SockOps};
use aya::{Ebpf, EbpfLoader};

static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.o"));

/// How a program is attached.
#[derive(Debug, Clone, Copy)]
enum Hook {
    SockOps,
    SockAddr,
    SkbIngress,
}

/// Every program with its hook, in the order of attaching: what answers questions about steered sockets first, what
/// steers last.
const ATTACH_ORDER: [(&str, Hook); 8] = [
    ("pc_tcp_connect", Hook::SockOps),
    ("pc_peername4", Hook::SockAddr),
    ("pc_peername6", Hook::SockAddr),
    ("pc_dns_in", Hook::SkbIngress),
    ("pc_sendmsg4", Hook::SockAddr),
    ("pc_sendmsg6", Hook::SockAddr),
    ("pc_connect4", Hook::SockAddr),
    ("pc_connect6", Hook::SockAddr),
];

/// Names of the attached programs, for `status`.
pub const PROGRAMS: [&str; 8] = {
    let mut names = [""; 8];
    let mut i = 0;
    while i < names.len() {
        names[i] = ATTACH_ORDER[i].0;
        i += 1;
    }
    names
};

/// The kernel object of this build, if it has one that fits this agent.
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

pub(super) fn load() -> Result<Ebpf> {
    EbpfLoader::new()
        .load(object()?)
        .context("loading the kernel object (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)")
}

pub(super) fn attach(ebpf: &mut Ebpf, cgroup: &Path) -> Result<()> {
    let directory = File::open(cgroup).with_context(|| format!("opening the cgroup {}", cgroup.display()))?;
    for (name, hook) in ATTACH_ORDER {
        attach_one(ebpf, name, hook, &directory)
            .with_context(|| format!("attaching {name} to {}", cgroup.display()))?;
    }
    Ok(())
}

fn attach_one(ebpf: &mut Ebpf, name: &str, hook: Hook, cgroup: &File) -> Result<()> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("the kernel object has no program {name}"))?;
    // `Single` means no flags; links of several owners coexist on a cgroup anyway, and the kernel refuses
    // BPF_F_ALLOW_MULTI for links.
    let mode = CgroupAttachMode::Single;
    match hook {
        Hook::SockOps => {
            let program: &mut SockOps = program.try_into()?;
            program.load()?;
            program.attach(cgroup.as_fd(), mode)?;
        }
        Hook::SockAddr => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            program.attach(cgroup.as_fd(), mode)?;
        }
        Hook::SkbIngress => {
            let program: &mut CgroupSkb = program.try_into()?;
            program.load()?;
            program.attach(cgroup.as_fd(), CgroupSkbAttachType::Ingress, mode)?;
        }
    }
    if let Some(program) = ebpf.program(name)
        && let Ok(info) = program.info()
    {
        tracing::debug!(name, instructions = info.verified_instruction_count(), "attached");
    }
    Ok(())
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).ok_or_else(|| anyhow!("the kernel object has no map {name}"))
}

/// A second descriptor of a map, so that each worker thread has its own.
pub(super) fn map_data(ebpf: &Ebpf, name: &str) -> Result<MapData> {
    let map = ebpf.map(name).ok_or_else(|| anyhow!("the kernel object has no map {name}"))?;
    let data = match map {
        Map::LruHashMap(data) | Map::SkStorage(data) | Map::PerCpuArray(data) => data,
        other => bail!("map {name} has an unexpected type: {other:?}"),
    };
    let descriptor = data.fd().as_fd().try_clone_to_owned().with_context(|| format!("duplicating {name}"))?;
    Ok(MapData::from_fd(descriptor)?)
}
