//! The process behind a connection, from /proc: read at once, because short-lived programs are gone in milliseconds.

mod browser;
mod directory;
mod holder;
mod place;

use std::path::Path;

use agent_common::abi::Flow;

use crate::session::{ClientKind, Process};

pub use directory::Directory;
pub use holder::{holders, own_sockets};
pub use place::Place;

/// Everything known about the process that connected. What the process took with it when it ended is absent.
pub fn process_of(flow: &Flow) -> Process {
    let comm = flow.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut process = directory::process_of(flow.pid);
    process.name = process.name.or_else(|| Some(String::from_utf8_lossy(comm).into()));
    process
}

/// Everything /proc says about a process; nothing but its id when it has ended.
pub fn process(pid: u32) -> Process {
    Directory::open(pid)
        .map_or_else(|_| Process { pid: Some(pid), ..Process::default() }, |found| found.process())
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
