//! A signer that the agent starts itself, where no service manager does: the same program, started again when it ends.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Name of the socket below `[paths] run`.
const SOCKET: &str = "signer.sock";
/// Questions that wait to be accepted: one of each worker thread, and more.
const BACKLOG: i32 = 128;
/// Between the end of one signer and the start of the next; and where the one that ended had hardly begun.
const RESTART: Duration = Duration::from_millis(100);
const RESTART_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A running signer, kept running until this value goes.
pub struct Child {
    state: Arc<(Mutex<State>, Condvar)>,
    socket: PathBuf,
    watch: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    running: Option<u32>,
    ending: bool,
}

impl Child {
    /// Starts it with the authority in `ca`; it listens in `run`. The socket outlives the process, so that questions wait
    /// for the next one.
    pub fn start(run: &Path, ca: &Path) -> io::Result<Self> {
        let path = run.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        listener.bind(&SockAddr::unix(&path)?)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.listen(BACKLOG)?;
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let (kept, ca) = (state.clone(), ca.to_owned());
        let watch = std::thread::Builder::new()
            .name("signer".into())
            .spawn(move || keep_running(&kept, &listener, &ca))?;
        Ok(Self { state, socket: path, watch: Some(watch) })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Has it read the authority again: ends it, and the next one does.
    pub fn restart(&self) {
        let state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        end(&state);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        {
            let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.ending = true;
            end(&state);
        }
        self.state.1.notify_all();
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
        let _ = fs::remove_file(&self.socket);
    }
}

/// The state is locked meanwhile, and a process is waited for only after its number was taken out of it: the number is
/// still this process's.
fn end(state: &State) {
    if let Some(pid) = state.running {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// The thread that starts signers; they end with it (PR_SET_PDEATHSIG names a thread).
fn keep_running(state: &(Mutex<State>, Condvar), listener: &Socket, ca: &Path) {
    let (mutex, woken) = state;
    loop {
        let mut locked = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        if locked.ending {
            return;
        }
        let begun = Instant::now();
        match spawn(listener, ca) {
            Ok(mut child) => {
                locked.running = Some(child.id());
                drop(locked);
                let ended = wait_without_reaping(child.id());
                let mut locked = mutex.lock().unwrap_or_else(PoisonError::into_inner);
                locked.running = None;
                let (status, ending) = (child.wait(), locked.ending);
                drop(locked);
                match (ended, status) {
                    (Ok(()), Ok(_)) if ending => {}
                    (Ok(()), Ok(status)) => {
                        tracing::warn!("the signer ended ({status}) and is started again")
                    }
                    (Err(error), _) | (_, Err(error)) => tracing::error!("waiting for the signer: {error}"),
                }
            }
            Err(error) => {
                drop(locked);
                tracing::error!("the signer cannot be started: {error}");
            }
        }
        let locked = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = if begun.elapsed() < RESTART_AFTER_FAILURE { RESTART_AFTER_FAILURE } else { RESTART };
        drop(woken.wait_timeout_while(locked, pause, |state| !state.ending));
    }
}

fn wait_without_reaping(pid: u32) -> io::Result<()> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    loop {
        match waitid(Id::Pid(Pid::from_raw(pid.cast_signed())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same program, also when its file was replaced since.
fn spawn(listener: &Socket, ca: &Path) -> io::Result<std::process::Child> {
    let listener: OwnedFd = listener.try_clone()?.into();
    Command::new("/proc/self/exe")
        .arg0("portcullis")
        .arg("signer")
        .arg("--ca")
        .arg(ca)
        .arg("--child-of")
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(listener))
        // What the service manager is told is the agent's to say.
        .env_remove("NOTIFY_SOCKET")
        .stdout(Stdio::null())
        // Not in the terminal's group: the agent drains connections after Ctrl-C and still needs it.
        .process_group(0)
        .spawn()
}
