//! What this kernel can do, asked by trying: every program loaded and dropped again, features tried one by one.
//! Nothing is attached, nothing stays.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use aya::maps::MapType;
use aya::programs::{Program as Loaded, ProgramError, ProgramInfo, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};
use aya::{Ebpf, EbpfLoader};
use socket2::{Domain, Protocol, Socket, Type};

use super::{load, namespace};
use crate::doctor::{Answer, Feature, Need, Program};

/// Loads every program of this build's object; the outcome of each, by name.
///
/// Fails when there is no object or when the kernel refuses its maps or BTF.
pub fn programs() -> Result<Vec<Program>> {
    let mut ebpf: Ebpf = EbpfLoader::new().load(load::object()?)?;
    let mut found: Vec<Program> =
        ebpf.programs_mut().map(|(name, program)| try_one(name.to_owned(), program)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn try_one(name: String, program: &mut Loaded) -> Program {
    let start = Instant::now();
    let result = load_one(program);
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    match result {
        Ok(info) => Program { name, instructions: info.verified_instruction_count(), micros, refusal: None },
        Err(error) => Program { name, instructions: None, micros, refusal: Some(refusal(&error)) },
    }
}

fn load_one(program: &mut Loaded) -> Result<ProgramInfo, ProgramError> {
    match program {
        Loaded::CgroupSockAddr(program) => program.load()?,
        Loaded::CgroupSkb(program) => program.load()?,
        Loaded::CgroupSock(program) => program.load()?,
        Loaded::CgroupSockopt(program) => program.load()?,
        Loaded::SchedClassifier(program) => program.load()?,
        _ => return Err(ProgramError::UnexpectedProgramType),
    }
    program.info()
}

/// The error with the verifier's log, which `Display` leaves out of a chain.
fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => format!("{io_error}\n{verifier_log}"),
        other => format!("{:#}", anyhow::anyhow!("{other}")),
    }
}

/// What the kernel programs are made of. Without the rights to load programs nothing is asked.
pub fn features(may_load: bool) -> Vec<Feature> {
    let mut found = Vec::new();
    let mut add = |name, since, need, ask: &dyn Fn() -> Answer<bool>| {
        let present = if may_load { ask() } else { Answer::NeedsRoot };
        found.push(Feature { name, since, need, present });
    };
    for (name, since, need, kind) in [
        ("program cgroup_sock_addr", "4.17, CONFIG_CGROUP_BPF", Need::Host, ProgramType::CgroupSockAddr),
        ("program cgroup_skb", "4.10, CONFIG_CGROUP_BPF", Need::Host, ProgramType::CgroupSkb),
        ("program sched_cls", "4.1, CONFIG_NET_CLS_BPF", Need::Gateway, ProgramType::SchedClassifier),
    ] {
        add(name, since, need, &|| answer(is_program_supported(kind)));
    }
    for (name, since, kind) in [
        ("map array", "3.19", MapType::Array),
        ("map percpu_array", "4.6", MapType::PerCpuArray),
        ("map lru_hash", "4.10", MapType::LruHash),
        ("map lpm_trie", "4.11", MapType::LpmTrie),
        ("map sk_storage", "5.2", MapType::SkStorage),
        ("map ringbuf", "5.8", MapType::RingBuf),
        ("map prog_array", "4.2", MapType::ProgramArray),
    ] {
        add(name, since, Need::Host, &|| answer(is_map_supported(kind)));
    }
    for (name, since, need, kind, helper) in [
        (
            "helper bpf_sk_storage_get",
            "5.8 in cgroup_sock_addr",
            Need::Host,
            ProgramType::CgroupSockAddr,
            BpfHelper::BPF_FUNC_sk_storage_get,
        ),
        (
            "helper bpf_get_netns_cookie",
            "5.7 in cgroup_sock_addr",
            Need::Host,
            ProgramType::CgroupSockAddr,
            BpfHelper::BPF_FUNC_get_netns_cookie,
        ),
        (
            "helper bpf_setsockopt",
            "5.8 in cgroup_sock_addr",
            Need::Host,
            ProgramType::CgroupSockAddr,
            BpfHelper::BPF_FUNC_setsockopt,
        ),
        (
            "helper bpf_get_current_comm",
            "5.10 in cgroup_sock_addr",
            Need::Host,
            ProgramType::CgroupSockAddr,
            BpfHelper::BPF_FUNC_get_current_comm,
        ),
        (
            "helper bpf_sk_assign",
            "5.7 in sched_cls",
            Need::Gateway,
            ProgramType::SchedClassifier,
            BpfHelper::BPF_FUNC_sk_assign,
        ),
    ] {
        add(name, since, need, &|| answer(is_helper_supported(kind, helper)));
    }
    found
}

fn answer<E: std::fmt::Display>(result: Result<bool, E>) -> Answer<bool> {
    match result {
        Ok(present) => Answer::Found(present),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// Whether the kernel tells network namespaces apart.
pub fn has_namespace_cookie() -> Answer<bool> {
    match namespace::own_cookie() {
        Ok(_) => Answer::Found(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Answer::Found(false),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// Whether the kernel ends connections on request: asks it to end one of our own, made for this.
///
/// A connection that does not exist would not do: a kernel without the module answers the same as one that has looked.
pub fn has_socket_destroy() -> Answer<bool> {
    match ask_to_destroy() {
        // Done, or found and not ours to end.
        Ok(0 | libc::EPERM) => Answer::Found(true),
        // Without the option, or without tcp_diag.
        Ok(libc::EOPNOTSUPP | libc::ENOENT) => Answer::Found(false),
        Ok(other) => Answer::Unknown(io::Error::from_raw_os_error(other).to_string()),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// SOCK_DESTROY of linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;
/// nlmsghdr, then inet_diag_req_v2.
const REQUEST: usize = 16 + 56;
/// The kernel answers at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The error number in the kernel's answer, positive.
fn ask_to_destroy() -> io::Result<i32> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let connection = TcpStream::connect(listener.local_addr()?)?;
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.send(&request(connection.local_addr()?.port(), connection.peer_addr()?.port()))?;
    let mut answer = [0_u8; 256];
    let length = io::Read::read(&mut &socket, &mut answer)?;
    // nlmsghdr, then nlmsgerr, which begins with the negated number.
    match answer.get(16..20).filter(|_| length >= 20).map(<[u8; 4]>::try_from) {
        Some(Ok(number)) => Ok(i32::from_ne_bytes(number).saturating_neg()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short")),
    }
}

/// Names the TCP connection between these ports of 127.0.0.1.
fn request(source: u16, destination: u16) -> [u8; REQUEST] {
    let mut request = [0_u8; REQUEST];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DESTROY.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    // sdiag_family, sdiag_protocol, idiag_states.
    request[16] = libc::AF_INET as u8;
    request[17] = libc::IPPROTO_TCP as u8;
    request[20..24].fill(0xff);
    // idiag_sport, idiag_dport, idiag_src, idiag_dst in network order; any interface.
    request[24..26].copy_from_slice(&source.to_be_bytes());
    request[26..28].copy_from_slice(&destination.to_be_bytes());
    request[28..32].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    request[44..48].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    // INET_DIAG_NOCOOKIE, twice.
    request[64..].fill(0xff);
    request
}
