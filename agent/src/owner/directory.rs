//! A process's directory in /proc, kept open: what is read through it is that process's, whoever has its number later.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use super::place::Place;
use crate::session::Process;

/// Longest text that is read of a file in /proc: a line for each of a dozen hierarchies, each with a path.
const LONGEST: usize = 64 * 1024;
/// How long a process's name and cgroup count as they were read: a session manager moves what it starts within moments. The
/// executable, by which policies tell browsers, is read each time.
const FRESH: Duration = Duration::from_secs(1);
/// Processes whose directories are kept: programs make several connections.
const KEPT: usize = 16;

/// The one that was opened last first.
static LAST: Mutex<VecDeque<Arc<Directory>>> = Mutex::new(VecDeque::new());

/// One process.
#[derive(Debug)]
pub struct Directory {
    pid: u32,
    handle: OwnedFd,
    facts: Mutex<Option<(Instant, Process)>>,
}

impl Directory {
    pub fn open(pid: u32) -> io::Result<Self> {
        Self::at(&format!("/proc/{pid}"), pid)
    }

    /// This process's own.
    pub fn own() -> io::Result<Self> {
        Self::at("/proc/self", std::process::id())
    }

    fn at(path: &str, pid: u32) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = open(path, flags, Mode::empty())?;
        Ok(Self { pid, handle, facts: Mutex::default() })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its effective user. That of a process that has ended is root.
    pub fn uid(&self) -> Option<u32> {
        fstat(&self.handle).ok().map(|stat: FileStat| stat.st_uid)
    }

    /// How many descriptors it holds: 0 where the kernel does not say (before 6.2).
    pub fn descriptors(&self) -> u64 {
        let stat = fstatat(&self.handle, "fd", AtFlags::empty());
        stat.map_or(0, |stat| stat.st_size.cast_unsigned())
    }

    /// At most so many descriptors that it holds, in their order.
    pub fn listed(&self, most: usize) -> io::Result<Vec<u32>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let entries = Dir::openat(&self.handle, "fd", flags, Mode::empty())?.into_iter().flatten();
        Ok(entries.filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).take(most).collect())
    }

    /// Inode of the socket that it holds under a descriptor. `None` too when it has ended, or must not be looked into.
    pub fn socket(&self, descriptor: u32) -> Option<u32> {
        inode_of(self.link(&format!("fd/{descriptor}"))?.to_str()?)
    }

    fn link(&self, name: &str) -> Option<OsString> {
        readlinkat(&self.handle, name).ok()
    }

    /// Everything /proc says about it; nothing but its number when it has ended.
    pub fn process(&self) -> Process {
        self.process_of(self.exe())
    }

    fn process_of(&self, exe: Option<String>) -> Process {
        self.as_known(exe.as_deref()).unwrap_or_else(|| self.read(exe))
    }

    /// What was read lately, if it is still the same program.
    fn as_known(&self, exe: Option<&str>) -> Option<Process> {
        let facts = self.facts();
        let (since, process) = facts.as_ref()?;
        let is_same = exe.is_some() && process.exe.as_deref() == exe;
        (is_same && since.elapsed() < FRESH).then(|| process.clone())
    }

    fn read(&self, exe: Option<String>) -> Process {
        let name = self.text("comm").map(|name| name.trim_end().into());
        let cgroup = self
            .text("cgroup")
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::").map(Arc::from)));
        let place = cgroup.as_deref().map(Place::of).unwrap_or_default();
        let exe = exe.map(Arc::from);
        let process =
            Process { pid: Some(self.pid), exe, name, cgroup, unit: place.unit, container: place.container };
        *self.facts() = Some((Instant::now(), process.clone()));
        process
    }

    fn exe(&self) -> Option<String> {
        let path = self.link("exe")?.to_string_lossy().into_owned();
        // The kernel adds this to the name of a replaced file, as after an upgrade of a running program.
        Some(path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path))
    }

    /// What one of its files says. These have no size that could be asked for, and nearly all fit into one read.
    fn text(&self, name: &str) -> Option<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.handle, name, flags, Mode::empty()).ok()?);
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

    fn facts(&self) -> MutexGuard<'_, Option<(Instant, Process)>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything /proc says about a process that made a connection just now; nothing but its number when it has ended.
pub(super) fn process_of(pid: u32) -> Process {
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = last().iter().find(|kept| kept.pid == pid).cloned();
    // A directory of a process that has ended leads nowhere.
    if let Some(kept) = kept
        && let Some(exe) = kept.exe()
    {
        return kept.process_of(Some(exe));
    }
    let Ok(directory) = Directory::open(pid) else {
        return Process { pid: Some(pid), ..Process::default() };
    };
    let process = directory.process();
    let mut last = last();
    last.retain(|kept| kept.pid != pid);
    last.push_front(Arc::new(directory));
    last.truncate(KEPT);
    process
}

/// `socket:[4711]`
fn inode_of(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// Behind fork and exec, which gives the name last.
    fn wait_for(child: &Child, name: &str) {
        let path = format!("/proc/{}/comm", child.id());
        let is_there = || std::fs::read_to_string(&path).is_ok_and(|comm| comm.trim_end() == name);
        (0..500).take_while(|_| !is_there()).for_each(|_| std::thread::sleep(Duration::from_millis(10)));
        assert!(is_there());
    }

    #[test]
    fn a_directory_is_one_process_to_its_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        wait_for(&child, "sleep");
        let directory = Directory::open(child.id()).unwrap();
        assert_eq!(directory.uid(), Some(nix::unistd::geteuid().as_raw()));
        let process = directory.process();
        assert_eq!((process.pid, process.name.as_deref()), (Some(child.id()), Some("sleep")));
        assert_eq!(process, process_of(child.id()));
        // Its name is believed for a while: the same text, not one that was read again.
        if let Some((since, _)) = directory.facts().as_mut() {
            *since = Instant::now();
        }
        let again = directory.process();
        assert!(Arc::ptr_eq(&again.name.unwrap(), process.name.as_ref().unwrap()));
        if let Some((since, _)) = directory.facts().as_mut() {
            *since -= FRESH;
        }
        let later = directory.process();
        assert!(!Arc::ptr_eq(later.name.as_ref().unwrap(), process.name.as_ref().unwrap()));
        assert_eq!(later, process);
        child.kill().unwrap();
        child.wait().unwrap();
        let nothing = Process { pid: Some(child.id()), ..Process::default() };
        assert_eq!(directory.process(), nothing);
        assert_eq!(process_of(child.id()), nothing);
        assert_eq!(directory.link("fd/0"), None);
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode_of("socket:[4711]"), Some(4711));
        for other in ["pipe:[4711]", "socket:[]", "socket:[4711", "socket:[99999999999]", "/dev/null"] {
            assert_eq!(inode_of(other), None, "{other}");
        }
    }

    #[test]
    fn another_program_of_the_same_process_is_told_at_once() {
        let mut child = Command::new("sh")
            .args(["-c", "read _; exec sleep 60"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(&child, "sh");
        let before = process_of(child.id());
        drop(child.stdin.take());
        wait_for(&child, "sleep");
        let after = process_of(child.id());
        assert!(after.exe.unwrap().ends_with("/sleep"));
        assert_eq!((before.name.as_deref(), after.name.as_deref()), (Some("sh"), Some("sleep")));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
