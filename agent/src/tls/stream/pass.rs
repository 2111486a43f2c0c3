//! Data of one TLS connection handed on to another: each record is opened and sealed again where it lies, and the buffer
//! that was read from one kernel socket is the one that is written to the other. Where the kernel seals for the other, it is
//! given the plaintext where it lies.

use std::io;
use std::task::{Context, Poll, ready};

use rustls::Error;
use rustls::kernel::KernelConnection;
use tokio::io::{AsyncRead, AsyncWrite};

use super::TlsStream;
use super::buffers::Queue;
use super::control::Tickets;
use super::plaintext::{Pieces, Plaintext};
use super::record::{HEADER, Layout, MAX_PLAINTEXT, RecordHeader, kind};
use super::sending::Sending;
use crate::tls::Socket;

/// Why data could not be handed on.
#[derive(Debug)]
pub enum PassError {
    From(io::Error),
    To(io::Error),
}

/// A stream that may hand on what it receives without giving it to a reader.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Hands up to `most` octets on to `to`. `None` where that cannot be done: what comes next is to be read and written.
    /// What the kernel did not take yet waits within `to`, for the next call or a flush.
    fn poll_pass<T: Stream>(
        &mut self,
        _: &mut Context<'_>,
        _to: &mut T,
        _most: u64,
    ) -> Poll<Result<Option<usize>, PassError>> {
        Poll::Ready(Ok(None))
    }

    /// Gives back buffers in which nothing waits.
    fn rest(&mut self) {}

    /// Octets that the peer has of what was sent below; see [`Socket::acknowledged`].
    fn taken(&self) -> Option<u64> {
        None
    }

    /// Whether the end of a handshake still waits for the first data.
    fn has_unsaid(&self) -> bool {
        false
    }

    /// Ready once anything has come from the peer, or his end: without a word to him, where a read may have to say what
    /// [`Self::has_unsaid`]. Takes nothing away from a reader. For a stream that has.
    fn poll_heard(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The sealing side, where the stream has one.
    fn sealing(&mut self) -> Option<&mut dyn Sealing> {
        None
    }
}

impl Stream for tokio::net::TcpStream {
    fn taken(&self) -> Option<u64> {
        self.acknowledged()
    }
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {}

/// The half of a TLS connection that data is handed on to.
pub trait Sealing {
    /// Ready once nothing waits in front of what is sealed next.
    fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Something has to be said before the next record.
    fn has_to_speak(&self) -> bool;
    fn takes(&self) -> Takes;
    /// See [`super::record::RecordKey::seal_in_place`].
    fn seal_in_place(&mut self, record: &mut [u8], length: usize) -> Result<usize, Error>;
    /// Takes what was prepared, and writes what the kernel takes of it now. It has to be what this side [`Self::takes`].
    fn poll_send(&mut self, cx: &mut Context<'_>, prepared: Prepared) -> Poll<io::Result<()>>;
}

/// What the other side wants to be handed.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Records of this form, sealed by it.
    Sealed(Layout),
    /// At most so many octets of plaintext before it has to speak: the kernel seals.
    Plain(u64),
}

impl Takes {
    fn most(self) -> u64 {
        match self {
            Self::Sealed(_) => u64::MAX,
            Self::Plain(most) => most,
        }
    }
}

/// What is handed on.
#[derive(Debug)]
pub enum Prepared {
    Sealed(Queue),
    Plain(Plaintext),
}

/// What became of the records at the front of the input.
#[derive(Debug, Default)]
struct Resealed {
    /// Octets of plaintext handed on.
    moved: usize,
    /// Octets of the input that are sealed, and those that are done with: the last record may have become shorter, or have
    /// been no data.
    sealed: usize,
    used: usize,
    /// Where the plaintext lies that the other side's kernel seals.
    pieces: Pieces,
    fault: Option<Fault>,
}

#[derive(Debug)]
enum Fault {
    From(Error),
    To(Error),
}

/// What stands at the front of the input.
enum Front {
    /// A whole record that can be handed on.
    Record,
    Incomplete,
    /// A reader's.
    Other,
}

impl<S, Role> TlsStream<S, Role>
where
    S: Socket,
    KernelConnection<Role>: Tickets,
{
    fn front(&self, to: Takes, most: u64) -> Front {
        let front = self.input.front();
        match RecordHeader::read(front) {
            None => Front::Incomplete,
            Some(header) if !self.is_passable(header, to, most) => Front::Other,
            Some(header) if front.len() < HEADER + header.length => Front::Incomplete,
            Some(_) => Front::Record,
        }
    }

    /// All that may be in the record is data to be handed on, and it is as long for the other side.
    fn is_passable(&self, header: RecordHeader, to: Takes, most: u64) -> bool {
        let Layout { before, behind } = self.opener.layout();
        let data = (HEADER + header.length).checked_sub(before + behind);
        header.kind == kind::APPLICATION_DATA
            && self.opener.admit(header).is_ok()
            && data.is_some_and(|data| data as u64 <= most)
            && match to {
                Takes::Sealed(layout) => layout == self.opener.layout(),
                Takes::Plain(_) => true,
            }
    }

    /// Opens whole records at the front of the input, and seals them as long as they stay as they lie, if the agent does.
    fn reseal(&mut self, to: &mut dyn Sealing, most: u64) -> Resealed {
        let mut done = Resealed::default();
        let takes = to.takes();
        let most = most.min(takes.most());
        loop {
            let rest = self.input.front().get(done.used..).unwrap_or_default();
            let Some(header) = RecordHeader::read(rest) else { break };
            let length = HEADER + header.length;
            let left = most - done.moved as u64;
            if rest.len() < length
                || !self.is_passable(header, takes, left)
                || (done.used > 0 && to.has_to_speak())
                || done.pieces.is_full()
            {
                break;
            }
            let Some(record) = self.input.front_mut().get_mut(done.used..done.used + length) else { break };
            let (kind, data) = match self.opener.open_in_place(header, record) {
                Ok(opened) => opened,
                Err(error) => {
                    done.fault = Some(Fault::From(error));
                    break;
                }
            };
            let start = done.used;
            done.used += length;
            let before = self.opener.layout().before;
            let accepted = if kind == kind::APPLICATION_DATA {
                self.control.application_data(data)
            } else {
                let content = record.get(before..before + data).unwrap_or_default();
                self.control.message(kind, content, &mut self.kernel, &mut self.opener)
            };
            if let Err(error) = accepted {
                done.fault = Some(Fault::From(error));
                break;
            }
            if kind != kind::APPLICATION_DATA || data == 0 {
                break;
            }
            if let Takes::Plain(_) = takes {
                let at = start + before;
                done.pieces.push(self.input.front_mut(), at..at + data);
                done.moved += data;
                continue;
            }
            match to.seal_in_place(record, data) {
                Ok(sealed) => done.sealed = start + sealed,
                Err(error) => {
                    done.fault = Some(Fault::To(error));
                    break;
                }
            }
            done.moved += data;
            if done.sealed < done.used {
                break;
            }
        }
        done
    }

    pub(super) fn poll_pass_records(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut dyn Sealing,
        most: u64,
    ) -> Poll<Result<Option<usize>, PassError>> {
        loop {
            // Plaintext that waits, an end and an answer that is owed are a reader's.
            if self.opened.is_some() || self.control.has_ended() || self.control.owes_answer() {
                return Poll::Ready(Ok(None));
            }
            match self.front(to.takes(), most) {
                Front::Other => return Poll::Ready(Ok(None)),
                Front::Incomplete => match self.poll_receive(cx).map_err(PassError::From)? {
                    Poll::Ready(0) => return Poll::Ready(Err(PassError::From(super::truncated()))),
                    Poll::Ready(_) => continue,
                    Poll::Pending => {
                        // What arrived so far must not wait for what comes next.
                        return match to.poll_clear(cx) {
                            Poll::Ready(Err(error)) => Poll::Ready(Err(PassError::To(error))),
                            _ => Poll::Pending,
                        };
                    }
                },
                Front::Record => {}
            }
            ready!(to.poll_clear(cx)).map_err(PassError::To)?;
            let done = self.reseal(to, most);
            // What does not go out now waits there.
            let sent = if done.sealed > 0 {
                to.poll_send(cx, Prepared::Sealed(self.input.split_front(done.sealed, done.used)))
            } else if !done.pieces.is_empty() {
                let opened = self.input.split_front(done.used, done.used);
                to.poll_send(cx, Prepared::Plain(Plaintext::new(opened, done.pieces)))
            } else {
                self.input.consume(done.used);
                Poll::Pending
            };
            match done.fault {
                Some(Fault::From(error)) => {
                    self.fail(cx, &error);
                    self.control.end(error);
                }
                Some(Fault::To(error)) => return Poll::Ready(Err(PassError::To(io::Error::other(error)))),
                None => {}
            }
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(PassError::To(error)));
            }
            if done.moved > 0 {
                return Poll::Ready(Ok(Some(done.moved)));
            }
        }
    }
}

impl<S, Role> Sealing for TlsStream<S, Role>
where
    S: Socket,
    KernelConnection<Role>: Tickets,
{
    fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_push(cx))?;
            if !self.has_to_speak() {
                return Poll::Ready(Ok(()));
            }
            self.speak(cx).map_err(io::Error::other)?;
        }
    }

    fn has_to_speak(&self) -> bool {
        self.control.has_to_speak(self.sending.records())
    }

    fn takes(&self) -> Takes {
        match &self.sending {
            Sending::ByAgent { sealer, .. } => Takes::Sealed(sealer.layout()),
            Sending::ByKernel(_) => {
                let left = self.control.records_left(self.sending.records());
                Takes::Plain(left.saturating_mul(MAX_PLAINTEXT as u64))
            }
        }
    }

    fn seal_in_place(&mut self, record: &mut [u8], length: usize) -> Result<usize, Error> {
        match &mut self.sending {
            Sending::ByAgent { sealer, .. } => sealer.seal_in_place(record, length),
            Sending::ByKernel(_) => Err(Error::EncryptError),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, prepared: Prepared) -> Poll<io::Result<()>> {
        match (&mut self.sending, prepared) {
            (Sending::ByAgent { output, .. }, Prepared::Sealed(sealed)) => {
                debug_assert!(output.is_empty(), "it was clear");
                *output = sealed;
            }
            (Sending::ByKernel(kernel), Prepared::Plain(plaintext)) => kernel.hand(plaintext),
            // What is not sealed goes nowhere but to a kernel that seals it.
            (Sending::ByAgent { .. }, Prepared::Plain(_)) | (Sending::ByKernel(_), Prepared::Sealed(_)) => {
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            }
        }
        self.poll_push(cx)
    }
}
