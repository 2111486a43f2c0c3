//! The process behind a connection, from /proc: read at once, because short-lived programs are gone in milliseconds.

mod browser;
mod holder;
mod place;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use agent_common::abi::Flow;

use crate::session::{ClientKind, Process};

pub use holder::{holders, own_sockets};
pub use place::Place;

/// Longest text that is read of a file in /proc: a line for each of a dozen hierarchies, each with a path.
const LONGEST: usize = 64 * 1024;

/// Everything known about the process that connected. What the process took with it when it ended is absent.
pub fn process_of(flow: &Flow) -> Process {
    let comm = flow.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut process = process(flow.pid);
    process.name = process.name.or_else(|| Some(String::from_utf8_lossy(comm).into()));
    process
}

/// Everything /proc says about a process; nothing but its id when it has ended.
pub fn process(pid: u32) -> Process {
    let directory = Path::new("/proc").join(pid.to_string());
    let exe = fs::read_link(directory.join("exe")).ok().map(|path| {
        let path = path.to_string_lossy();
        // The kernel adds this to the name of a replaced file, as after an upgrade of a running program.
        Arc::from(path.strip_suffix(" (deleted)").unwrap_or(&path))
    });
    let name = text(&directory.join("comm")).map(|name| name.trim_end().into());
    let cgroup = text(&directory.join("cgroup"))
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::").map(Arc::from)));
    let place = cgroup.as_deref().map(Place::of).unwrap_or_default();
    Process { pid: Some(pid), exe, name, cgroup, unit: place.unit, container: place.container }
}

/// What a file of /proc says. These have no size that could be asked for, and nearly all fit into one read.
fn text(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut piece = [0; 4096];
    let mut octets = Vec::new();
    while octets.len() < LONGEST {
        let count = file.read(&mut piece).ok()?;
        octets.extend_from_slice(piece.get(..count)?);
        if count < piece.len() {
            break;
        }
    }
    String::from_utf8(octets).ok()
}

/// Browser or native by the executable.
pub fn kind_of(process: &Process) -> ClientKind {
    browser::kind_of(process, |file| Path::new(file).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_executable() {
        let flow = Flow { pid: std::process::id(), comm: *b"thread-name\0\0\0\0\0", ..Flow::default() };
        let process = process_of(&flow);
        let own = std::env::current_exe().unwrap();
        assert_eq!(process.exe.as_deref(), own.to_str());
        assert_eq!(kind_of(&process), ClientKind::Native);
    }

    #[test]
    fn a_process_that_ended_keeps_what_the_kernel_noted() {
        let flow = Flow { pid: u32::MAX, comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0", ..Flow::default() };
        let process = process_of(&flow);
        assert_eq!((process.exe.as_deref(), process.name.as_deref()), (None, Some("curl")));
        assert_eq!(kind_of(&process), ClientKind::Native);
    }
}
