//! The programs that read what goes out of a host's sockets: not attached, but in the map that the attached one jumps through.

use agent_common::abi::{READERS, READS_DATAGRAMS, READS_FIRST_WORDS};
use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{CgroupSkb, ProgramFd};

use super::load;

/// Each with its place in the map.
const PROGRAMS: [(u32, &str); READERS as usize] =
    [(READS_FIRST_WORDS, "pc_net_out"), (READS_DATAGRAMS, "pc_udp_out")];

/// Holds the map: a kernel empties it with its last descriptor and pin, though programs that use it run on.
pub(super) struct Readers {
    _map: ProgramArray<MapData>,
}

impl Readers {
    /// Has the kernel verify the programs, then puts them in their places; an earlier agent's are exchanged, each in one step.
    pub(super) fn install(ebpf: &mut Ebpf) -> Result<Self> {
        let mut map = ProgramArray::try_from(load::take_map(ebpf, "PC_OUT")?)?;
        for (_, name) in PROGRAMS {
            load::verified(ebpf, name).with_context(|| format!("loading {name}"))?;
        }
        for (place, name) in PROGRAMS {
            // One map takes programs that were all translated to machine code, or all not: bpf_jit_enable may have changed.
            map.set(place, loaded(ebpf, name)?, 0).with_context(|| {
                format!(
                    "putting {name} in its place (`portcullis cleanup` removes what an earlier agent left)"
                )
            })?;
        }
        Ok(Self { _map: map })
    }
}

fn loaded<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e ProgramFd> {
    let program: &mut CgroupSkb = load::program(ebpf, name)?.try_into()?;
    Ok(program.fd()?)
}
