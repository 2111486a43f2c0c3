//! Where records go: a TCP or TLS connection, or a file that others may rotate.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ExportTarget;
use crate::tls::{HANDSHAKE_DEADLINE, OriginConnector, SessionOwner};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A receiver that takes nothing for so long has failed.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("cannot connect to {to}: {why}")]
    Connect { to: String, why: String },
    #[error("the receiver closed the connection")]
    Closed,
    #[error("the receiver takes nothing")]
    Stalled,
    #[error("writing to the receiver: {0}")]
    Write(io::Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(super) enum Target {
    Stream(Box<dyn Stream>),
    File { path: PathBuf, file: File },
}

impl Target {
    pub(super) async fn open(
        to: &ExportTarget,
        connector: Option<&OriginConnector>,
    ) -> Result<Self, TargetError> {
        let (host, port) = match to {
            ExportTarget::File(path) => {
                return Ok(Self::File { path: path.clone(), file: open_file(path)? });
            }
            ExportTarget::Tcp { host, port } | ExportTarget::Tls { host, port } => (&**host, *port),
        };
        let failed = |why: String| TargetError::Connect { to: to.to_string(), why };
        let stream = match timeout(CONNECT_WITHIN, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("it did not answer in time".to_owned())),
        };
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
        // Without it a receiver whose host is gone is noticed when the next write fails.
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        match (to, connector) {
            (ExportTarget::Tls { .. }, Some(connector)) => {
                let own = SessionOwner::User(nix::unistd::geteuid().as_raw());
                let origin = connector.connect(stream, own, host, &[], HANDSHAKE_DEADLINE, None).await;
                let origin = origin.map_err(|failure| failed(failure.to_string()))?;
                Ok(Self::Stream(Box::new(origin.stream)))
            }
            (ExportTarget::Tls { .. }, None) => Err(failed("no trust anchors were loaded".to_owned())),
            _ => Ok(Self::Stream(Box::new(stream))),
        }
    }

    /// What a file has taken is there.
    pub(super) fn confirms_at_once(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Waits, and notices a receiver that goes away meanwhile.
    pub(super) async fn idle(&mut self, time: Duration) -> Result<(), TargetError> {
        let Self::Stream(stream) = self else {
            tokio::time::sleep(time).await;
            return Ok(());
        };
        match timeout(time, stream.read(&mut [0; 64])).await {
            Ok(Ok(0) | Err(_)) => Err(TargetError::Closed),
            // Receivers have nothing to say; what one says is not read any further.
            Ok(Ok(_)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        match self {
            Self::Stream(stream) => {
                let sent = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                };
                match timeout(WRITE_WITHIN, sent).await {
                    Ok(sent) => sent.map_err(TargetError::Write),
                    Err(_) => Err(TargetError::Stalled),
                }
            }
            Self::File { path, file } => {
                // Whoever rotates it moves it away: the rest goes into a new one.
                let there = std::fs::metadata(&*path).ok().map(|found| (found.dev(), found.ino()));
                let ours = file.metadata().ok().map(|ours| (ours.dev(), ours.ino()));
                if there != ours {
                    *file = open_file(path)?;
                }
                append(file, bytes).map_err(|source| TargetError::File { path: path.clone(), source })
            }
        }
    }
}

fn open_file(path: &Path) -> Result<File, TargetError> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    opened.map_err(|source| TargetError::File { path: path.to_owned(), source })
}

/// All of it, on disk, or nothing: half a line would run into the next.
fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}
