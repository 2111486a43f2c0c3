//! The control socket: one JSON object a line each way. Only root, the agent's own user and the group may speak here.

use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// Members of this group may ask and reload, as the mode of the socket says.
const GROUP: &str = "portcullis";
const SOCKET_MODE: u32 = 0o660;
/// Clients served at once.
const CLIENTS_MAX: usize = 16;
/// Longest request, in bytes.
const REQUEST_MAX: u64 = 64 << 10;
/// A client that is silent for this long is let go.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Answered with a [`super::status::Status`].
    Status,
    /// Answered with a list of [`super::apps::AppRow`].
    Apps,
    /// Answered with a list of [`crate::record::query::Discovered`].
    Discovered,
    /// Answered with the text that `/metrics` shows.
    Metrics,
    /// Answered once the files were read: with nothing, or with the reason why the last good set is kept.
    Reload,
    /// Answered with an address that opens the console once.
    Console,
    /// Answered with the [document](crate::policy::PolicySet::document) of the policy set in force.
    Policies,
}

/// What comes back: the value, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Ok(Value),
    Error(String),
}

/// Carries out commands.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, command: Command) -> impl Future<Output = Answer> + Send;
}

impl<F, A> Handler for F
where
    F: Fn(Command) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send,
{
    fn handle(&self, command: Command) -> impl Future<Output = Answer> + Send {
        self(command)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another agent answers at {}", .0.display())]
    InUse(PathBuf),
    #[error("cannot make the control socket {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The bound socket. Its name goes when this is dropped.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Takes over the name of an agent that died, never that of one that lives. Needs a runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { path: path.to_owned(), source };
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(BindError::InUse(path.to_owned())),
            // A file that is no socket refuses connections as well.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            // Nothing there; or something else, which bind will name.
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { listener, path: path.to_owned() };
        // The group before the mode, so that it is never open to the group of whoever started the agent. Under its own
        // user it has the group already, and may not give files away.
        let gid = std::fs::metadata(path).map_err(failed)?.gid();
        if let Ok(Some(group)) = Group::from_name(GROUP)
            && group.gid.as_raw() != gid
            && let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()))
        {
            warn!(%error, "the control socket cannot be given to the group {GROUP}");
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(socket)
    }

    /// Serves until `stop` resolves. Commands under way are cut off with it.
    pub async fn serve(self, handler: impl Handler, stop: impl Future<Output = ()>) {
        let handler = Arc::new(handler);
        let free = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = tokio::task::JoinSet::new();
        tokio::pin!(stop);
        loop {
            let next = async {
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => return,
                next = next => next,
                Some(_) = clients.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    clients.spawn(async move {
                        let _permit = permit;
                        if let Err(error) = attend(stream, &*handler).await {
                            debug!(%error, "a client of the control socket went away");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: give others the time to close some.
                    warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Failing leaves a name that refuses connections, which the next start takes over.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn attend(stream: UnixStream, handler: &impl Handler) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (input, mut output) = stream.into_split();
    if !may_command(&peer) {
        warn!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "refused a client of the control socket");
        return answer(&mut output, &Answer::Error("not permitted".to_owned())).await;
    }
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut input).take(REQUEST_MAX);
        let read = tokio::time::timeout(SILENCE_MAX, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return answer(&mut output, &Answer::Error("the request has no end or is too long".to_owned()))
                .await;
        }
        let said = match serde_json::from_slice(&line) {
            Ok(command) => handler.handle(command).await,
            Err(error) => Answer::Error(format!("not a command: {error}")),
        };
        answer(&mut output, &said).await?;
    }
}

async fn answer(output: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(SILENCE_MAX, output.write_all(&line)).await?
}

/// The mode of the socket lets in who may; this holds as well where someone widened it.
fn may_command(peer: &UCred) -> bool {
    let uid = Uid::from_raw(peer.uid());
    uid.is_root() || uid == geteuid() || is_member(uid, Gid::from_raw(peer.gid()))
}

fn is_member(uid: Uid, gid: Gid) -> bool {
    let Ok(Some(group)) = Group::from_name(GROUP) else { return false };
    if gid == group.gid {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = std::ffi::CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group.gid))
}

#[cfg(test)]
mod tests;
