//! Starting programs in a place of the lab (network namespace, cgroup, files of their own), as a user, and ending them.
#![allow(unsafe_code, reason = "namespaces, users and memory files are beyond the standard library")]

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::wait;

/// Where programs are looked for: the system's own, never those of the developer's shell.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One of the system's programs, run where we are.
pub(crate) fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PATH);
    command
}

/// Runs one of the system's programs to its end; an error when that is not 0.
pub(crate) fn must(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Clients of other users read what the lab writes, whatever the mask of the shell that started us.
pub(crate) fn new_files_are_readable() {
    // SAFETY: sets a number of this process and cannot fail.
    unsafe {
        libc::umask(0o022);
    }
}

/// Where a program runs.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) netns: PathBuf,
    pub(crate) cgroup: PathBuf,
    /// Files that the program sees in place of the system's: (what it sees, path it sees it at).
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
    /// HOME of what runs here.
    pub(crate) home: PathBuf,
}

impl Place {
    /// A command that will run here, as root or as the user with this uid (and the gid of the same number).
    pub fn command(&self, program: impl AsRef<OsStr>, uid: Option<u32>) -> Result<Command> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            // Out of the terminal's group: Ctrl-C reaches us, and we end what we started in good order.
            .process_group(0);
        let entry = self.entry(uid)?;
        // SAFETY: the closure only makes system calls on what was prepared before the fork; it neither allocates nor
        // takes locks.
        unsafe {
            command.pre_exec(move || entry.enter());
        }
        Ok(command)
    }

    fn entry(&self, uid: Option<u32>) -> Result<Entry> {
        let procs = self.cgroup.join("cgroup.procs");
        let mut binds = Vec::new();
        for (source, target) in &self.files {
            binds.push((
                CString::new(source.as_os_str().as_bytes())?,
                CString::new(target.as_os_str().as_bytes())?,
            ));
        }
        Ok(Entry {
            netns: File::open(&self.netns)
                .with_context(|| format!("cannot open {}", self.netns.display()))?,
            procs: OpenOptions::new()
                .write(true)
                .open(&procs)
                .with_context(|| format!("cannot open {}", procs.display()))?,
            binds,
            uid,
        })
    }
}

/// What a child does between fork and exec, with everything it takes opened before.
struct Entry {
    netns: File,
    procs: File,
    binds: Vec<(CString, CString)>,
    uid: Option<u32>,
}

impl Entry {
    fn enter(&self) -> io::Result<()> {
        // SAFETY: plain system calls with valid descriptors and NUL-terminated strings that live in `self`.
        unsafe {
            check(libc::write(self.procs.as_raw_fd(), c"0".as_ptr().cast(), 1))?;
            check(libc::setns(self.netns.as_raw_fd(), libc::CLONE_NEWNET) as isize)?;
            check(libc::unshare(libc::CLONE_NEWNS) as isize)?;
            let none = std::ptr::null();
            check(
                libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) as isize
            )?;
            for (source, target) in &self.binds {
                check(
                    libc::mount(source.as_ptr(), target.as_ptr(), none, libc::MS_BIND, none.cast()) as isize
                )?;
            }
            if let Some(uid) = self.uid {
                check(libc::setgroups(0, std::ptr::null()) as isize)?;
                check(libc::setresgid(uid, uid, uid) as isize)?;
                check(libc::setresuid(uid, uid, uid) as isize)?;
            }
            // Last, because a change of user resets it: nothing outlives us, even when we are killed.
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) as isize)?;
        }
        Ok(())
    }
}

fn check(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// Exit status; absent after a signal.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless the program ended with 0.
    pub fn succeeded(self) -> Result<Self> {
        match self.code {
            Some(0) => Ok(self),
            code => bail!("ended with {code:?}: {}{}", self.stderr, self.text()),
        }
    }
}

/// Runs to the end and collects the output; kills it when the deadline passes.
pub fn run(mut command: Command, deadline: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Memory files and not pipes: nobody has to read along, and a straggling grandchild cannot hold us up.
    let (mut stdout, mut stderr) = (memory_file()?, memory_file()?);
    command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let ended = wait::until(&format!("the end of {name}"), deadline, || Ok(child.try_wait()?));
    if ended.is_err() {
        signal_group(child.id(), libc::SIGKILL);
        let _ = child.wait();
    }
    let mut said = String::new();
    stderr.rewind()?;
    let _ = stderr.read_to_string(&mut said);
    let status = ended.with_context(|| format!("{name} said \"{}\"", tail(&said)))?;
    let mut output = Vec::new();
    stdout.rewind()?;
    stdout.read_to_end(&mut output)?;
    Ok(Finished { code: status.code(), stdout: output, stderr: said })
}

/// The end of what a program said, short enough for a message.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn memory_file() -> Result<File> {
    // SAFETY: a constant name; the descriptor that comes back is ours alone.
    let fd: RawFd = unsafe { libc::memfd_create(c"lab".as_ptr(), libc::MFD_CLOEXEC) };
    check(fd as isize).context("cannot make a memory file")?;
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Every command starts a process group of its own, so its helpers can be signalled with it.
pub(crate) fn signal_group(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill has no memory effects; the group is that of a child we have not waited for yet.
        unsafe {
            libc::kill(-pid, signal);
        }
    }
}

/// Signals one process.
pub fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill has no memory effects. A number that went to another process meanwhile is the test's mistake.
        unsafe {
            libc::kill(pid, signal);
        }
    }
}

/// A program that runs until it is told to stop; stopped on drop. Its output goes to a log file.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    pub(crate) fn spawn(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name} ({command:?})"))?;
        Ok(Self { name: name.to_owned(), child, log, ended: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed since the lab began.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Asks until `ready` says yes; fails at once, with the log, when the program ends before that.
    pub(crate) fn wait_until(&mut self, what: &str, ready: impl FnMut() -> bool) -> Result<()> {
        self.wait_within(wait::PATIENCE, what, ready)
    }

    /// The same for what takes a deadline of its own.
    pub(crate) fn wait_within(
        &mut self,
        deadline: Duration,
        what: &str,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let name = self.name.clone();
        let result = wait::until(&format!("{name} ({what})"), deadline, || {
            if let Some(status) = self.ended() {
                bail!("{name} ended with {status}");
            }
            Ok(ready().then_some(()))
        });
        result.with_context(|| format!("{name} said:\n{}", self.log()))
    }

    /// SIGTERM, then SIGKILL when it has not ended by the deadline.
    pub fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.end_by(libc::SIGTERM, deadline)
    }

    /// The same by another signal.
    pub(crate) fn end_by(&mut self, signal: libc::c_int, deadline: Duration) -> Result<ExitStatus> {
        if self.ended().is_none() {
            signal_group(self.pid(), signal);
        }
        let end = Instant::now() + wait::scaled(deadline);
        while self.ended().is_none() {
            if Instant::now() > end {
                self.kill()?;
                bail!(
                    "{} did not stop within {} s of signal {signal}; it said:\n{}",
                    self.name,
                    deadline.as_secs(),
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ended().with_context(|| format!("{} has no exit status", self.name))
    }

    /// Sends a signal to its process group.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        signal_group(self.child.id(), signal);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended().is_none() {
            signal_group(self.pid(), libc::SIGKILL);
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.stop(Duration::from_secs(10)) {
            eprintln!("lab: {error:#}");
        }
        if std::thread::panicking() {
            /// Enough of a log to see how it ended.
            const END: usize = 4000;
            let log = self.log();
            let from = log.floor_char_boundary(log.len().saturating_sub(END));
            eprintln!("lab: the end of what {} said:\n{}", self.name, &log[from..]);
        }
    }
}
