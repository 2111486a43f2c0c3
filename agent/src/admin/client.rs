//! The commands' side of the control socket: one question, one answer, blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::admin::control::{Answer, Command};
use crate::admin::denied;

/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "the agent is not running (nobody answers at {}): `systemctl start portcullis` starts it, `portcullis doctor` says what it lacks",
        .0.display()
    )]
    NotRunning(PathBuf),
    #[error("no permission to ask the agent at {}: be root or in the group portcullis", .0.display())]
    Denied(PathBuf),
    #[error("the agent did not answer in time")]
    Silent,
    #[error("the agent refused: {0}")]
    Refused(String),
    #[error("the agent's answer cannot be understood: {0}")]
    Garbled(String),
    #[error("cannot ask the agent: {0}")]
    Io(io::Error),
}

/// Sends one command and waits for its answer, each step at most `timeout`.
pub fn ask<T: DeserializeOwned>(socket: &Path, command: &Command, timeout: Duration) -> Result<T, AskError> {
    let mut stream = connect(socket, timeout)?;
    let mut line = serde_json::to_vec(command).map_err(|e| AskError::Io(e.into()))?;
    line.push(b'\n');
    // A daemon that refuses may close before it has read; its answer is there all the same.
    let sent = stream.write_all(&line);
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut answer).map_err(during)?;
    if answer.is_empty() {
        sent.map_err(during)?;
        return Err(AskError::Garbled("it closed the connection".to_owned()));
    }
    match serde_json::from_str(&answer).map_err(|e| AskError::Garbled(e.to_string()))? {
        Answer::Ok(value) => serde_json::from_value(value).map_err(|e| AskError::Garbled(e.to_string())),
        Answer::Error(reason) => Err(AskError::Refused(reason)),
    }
}

fn connect(path: &Path, timeout: Duration) -> Result<UnixStream, AskError> {
    let open = || -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Also bounds connect(): a daemon that hangs has a full backlog.
        socket.set_write_timeout(Some(timeout))?;
        socket.set_read_timeout(Some(timeout))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(OwnedFd::from(socket).into())
    };
    open().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(path.to_owned()),
        io::ErrorKind::PermissionDenied => {
            denied::note(path);
            AskError::Denied(path.to_owned())
        }
        _ => during(error),
    })
}

fn during(error: io::Error) -> AskError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent,
        _ => AskError::Io(error),
    }
}
