//! A TLS connection as a stream: rustls shakes hands and keeps the key schedule, records are opened and sealed here.
//!
//! The library's own buffered streams copy every octet twice more and read one record at a time. Here a read takes
//! many records at once from the kernel and opens each straight into the reader's buffer; a write seals straight into
//! the buffer that goes out. What TLS demands beside that is kept: key updates both ways, alerts, the limits of keys and
//! records (`control`). An idle connection holds no buffer.

mod buffers;
mod control;
mod handshake;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod kernel_key_tests;
#[cfg(test)]
mod kernel_model;
#[cfg(test)]
mod kernel_pass_tests;
#[cfg(test)]
mod kernel_tests;
mod pass;
#[cfg(test)]
mod pass_tests;
mod plaintext;
mod record;
mod sending;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unsaid_tests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ClientConfig, Error, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::buffers::Queue;
use self::control::{Control, Tickets};
use self::handshake::{Handshake, Shaken, Turn, shake};
use self::pass::Sealing;
use self::record::{HEADER, MAX_PLAINTEXT, RecordHeader, RecordKey, kind};
use self::sending::Sending;
use super::kernel::KernelSealing;
use super::negotiated::Negotiated;
use super::socket::Socket;
pub use pass::{PassError, Stream};

/// A verified stream to an origin.
pub type OriginStream<S> = TlsStream<S, ClientConnectionData>;
/// The agent's side of a client's connection.
pub type ClientStream<S> = TlsStream<S, ServerConnectionData>;

/// A connection behind its handshake. `Role` is the agent's end in it, as rustls has them apart.
pub struct TlsStream<S, Role> {
    stream: S,
    negotiated: Negotiated,
    kernel: Box<KernelConnection<Role>>,
    opener: RecordKey,
    sending: Sending,
    /// Read from the kernel, not yet opened.
    input: Queue,
    /// Plaintext that did not fit into the reader's buffer.
    opened: Option<Opened>,
    control: Control,
    /// The end of the handshake may still wait in `sending`.
    has_unsaid: bool,
}

/// Plaintext that waits for a reader.
#[derive(Debug)]
struct Opened {
    plaintext: Vec<u8>,
    taken: usize,
}

impl<S: Socket> OriginStream<S> {
    /// Shakes hands with an origin. Sending is offered to `kernel`; where there is none, what ends the handshake may go out with
    /// the first data, or a flush, or once a read has to wait.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        mut stream: S,
        kernel: Option<&Arc<KernelSealing>>,
    ) -> io::Result<Self> {
        // Making it makes the keys that are offered.
        let turn = Turn::begin().await?;
        let mut connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let shaken = shake(&mut connection, &mut stream, Some(turn), kernel.is_none()).await?;
        Self::behind(connection, stream, shaken, kernel)
    }
}

impl<S: Socket> ClientStream<S> {
    /// Shakes hands with a client. Sending is offered to `kernel`; where there is none, session tickets may go out with the first
    /// data, or a flush.
    pub(super) async fn accept(
        config: Arc<ServerConfig>,
        mut stream: S,
        kernel: Option<&Arc<KernelSealing>>,
    ) -> io::Result<Self> {
        let mut connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let shaken = shake(&mut connection, &mut stream, None, kernel.is_none()).await?;
        Self::behind(connection, stream, shaken, kernel)
    }
}

impl<S: Socket, Role> TlsStream<S, Role> {
    /// The handshake has written everything that was sealed in it, but for what it left unsaid: nothing where a kernel is offered.
    fn behind(
        connection: impl Handshake<Role = Role>,
        stream: S,
        Shaken { input, unsaid }: Shaken,
        offered: Option<&Arc<KernelSealing>>,
    ) -> io::Result<Self> {
        let negotiated = Negotiated::of(connection.state());
        let (secrets, kernel) = connection.finish().map_err(io::Error::other)?;
        let version = kernel.protocol_version();
        let opener = RecordKey::new(secrets.rx, version).map_err(io::Error::other)?;
        let mut sending = Sending::offer(secrets.tx, version, &stream, offered).map_err(io::Error::other)?;
        let has_unsaid = !unsaid.is_empty();
        sending.begin_with(unsaid);
        Ok(Self {
            stream,
            negotiated,
            opener,
            sending,
            control: Control::new(&kernel),
            kernel: Box::new(kernel),
            input: Queue::with(input),
            opened: None,
            has_unsaid,
        })
    }
}

impl<S, Role> TlsStream<S, Role> {
    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What the handshake agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Whether the kernel seals what is sent.
    pub fn is_sealed_by_kernel(&self) -> bool {
        matches!(self.sending, Sending::ByKernel(_))
    }
}

impl<S, Role> TlsStream<S, Role>
where
    S: Socket,
    KernelConnection<Role>: Tickets,
{
    /// Opens the next record, application data straight into `into` where it fits. `false` when no whole record is there,
    /// or when the next one does not fit and the reader `has_some` already: it comes again, with more room.
    fn open_next(&mut self, into: &mut ReadBuf<'_>, has_some: bool) -> Result<bool, Error> {
        let front = self.input.front();
        let Some(header) = RecordHeader::read(front) else { return Ok(false) };
        self.opener.admit(header)?;
        let Some(body) = front.get(HEADER..HEADER + header.length) else { return Ok(false) };
        let room = self.opener.room_for(header);
        if into.remaining() >= room {
            let to = into.initialize_unfilled_to(room);
            let (kind, length) = self.opener.open(header, body, to)?;
            if kind == kind::APPLICATION_DATA {
                self.control.application_data(length)?;
                into.advance(length);
            } else {
                let message: Box<[u8]> = to.get(..length).unwrap_or_default().into();
                self.control.message(kind, &message, &mut self.kernel, &mut self.opener)?;
            }
        } else if has_some {
            return Ok(false);
        } else {
            let mut plaintext = vec![0; room];
            let (kind, length) = self.opener.open(header, body, &mut plaintext)?;
            plaintext.truncate(length);
            if kind == kind::APPLICATION_DATA {
                self.control.application_data(length)?;
                self.opened = Some(Opened { plaintext, taken: 0 });
                self.hand_out(into);
            } else {
                self.control.message(kind, &plaintext, &mut self.kernel, &mut self.opener)?;
            }
        }
        self.input.consume(HEADER + header.length);
        Ok(true)
    }

    /// Gives what was opened before.
    fn hand_out(&mut self, into: &mut ReadBuf<'_>) {
        let Some(opened) = &mut self.opened else { return };
        let rest = opened.plaintext.get(opened.taken..).unwrap_or_default();
        let now = rest.get(..rest.len().min(into.remaining())).unwrap_or_default();
        into.put_slice(now);
        opened.taken += now.len();
        if opened.taken == opened.plaintext.len() {
            self.opened = None;
        }
    }

    /// Takes what the kernel has. 0 is its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.input.whole_room());
        let state = Pin::new(&mut self.stream).poll_read(cx, &mut room);
        let count = room.filled().len();
        self.input.filled(count);
        if state.is_pending() {
            self.input.settle();
        }
        ready!(state)?;
        Poll::Ready(Ok(count))
    }

    /// Gives the kernel what waits.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pushed = self.sending.poll_push(&mut self.stream, cx);
        self.has_unsaid &= pushed.is_pending();
        pushed
    }

    /// Says what has to be said before the next record of data. Where there can be none the peer may be told why.
    fn speak(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let spoken = self.control.before_sealing(&mut self.kernel, &mut self.sending, &self.stream);
        if spoken.is_err() {
            // What does not go out now would not change the end.
            let _ = self.poll_push(cx);
        }
        spoken
    }

    /// Seals one record behind what waits. The caller made sure of the room.
    fn seal(&mut self, cx: &mut Context<'_>, kind: u8, plaintext: &[u8]) -> Result<(), Error> {
        self.speak(cx)?;
        self.sending.say(kind, plaintext)
    }

    /// Ends a connection whose peer broke the protocol: says so, once, if the kernel takes it now.
    fn fail(&mut self, cx: &mut Context<'_>, error: &Error) {
        self.control.seal_fatal(error, &mut self.sending);
        // What does not go out now would not change the end.
        let _ = self.poll_push(cx);
    }

    fn poll_opened(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        self.hand_out(into);
        loop {
            while into.remaining() > 0 && self.opened.is_none() && !self.control.has_ended() {
                match self.open_next(into, into.filled().len() > before) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        self.fail(cx, &error);
                        self.control.end(error);
                    }
                }
            }
            if self.control.owes_answer()
                && (self.sending.is_empty() || self.has_unsaid && self.sending.has_room())
            {
                // A peer that only sends must get its new keys acknowledged, too. Where that fails, the next write fails
                // as well; what has arrived is no worse for it.
                if self.speak(cx).is_ok() {
                    let _ = self.poll_push(cx);
                }
            }
            if self.control.has_ended() {
                // What stands behind the end is never read.
                self.input = Queue::default();
            }
            if into.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if let Some(ended) = self.control.ended() {
                return Poll::Ready(ended);
            }
            let received = self.poll_receive(cx)?;
            if received.is_pending() && KernelConnection::<Role>::PEER_WAITS && self.has_unsaid {
                // Where that fails, so does whatever is done next.
                let _ = self.poll_push(cx);
            }
            if ready!(received) == 0 {
                return Poll::Ready(Err(truncated()));
            }
        }
    }

    fn poll_sealed(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Sending::ByKernel(_) = self.sending {
            return self.poll_unsealed(cx, pieces);
        }
        if !self.sending.has_room() {
            ready!(self.poll_push(cx))?;
        }
        if let [first, second] = pieces
            && (1..=GATHERED).contains(&first.len().saturating_add(second.len()))
        {
            return Poll::Ready(self.seal_gathered(cx, first, second).map_err(io::Error::other));
        }
        let mut taken = 0;
        for piece in pieces {
            for plaintext in piece.chunks(MAX_PLAINTEXT) {
                if !self.sending.has_room() {
                    // The rest comes again with the next call, which finds room or waits for it.
                    return Poll::Ready(Ok(taken));
                }
                self.seal(cx, kind::APPLICATION_DATA, plaintext).map_err(io::Error::other)?;
                taken += plaintext.len();
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// The same where the kernel seals: what is short waits for more, or for a flush; what is long goes out from where it
    /// lies, behind what waited.
    fn poll_unsealed(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = pieces.iter().fold(0, |length: usize, piece| length.saturating_add(piece.len()));
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            if self.control.has_to_speak(self.sending.records()) {
                self.speak(cx).map_err(io::Error::other)?;
            }
            let left = self.control.records_left(self.sending.records());
            let Sending::ByKernel(kernel) = &mut self.sending else {
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            };
            if kernel.has_said() || kernel.waiting() > MAX_PLAINTEXT {
                ready!(self.poll_push(cx))?;
                continue;
            }
            if length < GATHERED {
                if kernel.append(pieces) {
                    return Poll::Ready(Ok(length));
                }
                ready!(self.poll_push(cx))?;
                continue;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(MAX_PLAINTEXT);
            let sent = kernel.poll_plaintext(&mut self.stream, cx, pieces, most);
            if sent.is_pending() {
                self.sending.settle();
            }
            match ready!(sent)? {
                0 => {}
                taken => return Poll::Ready(Ok(taken)),
            }
        }
    }

    /// A short head and the short body behind it travel in one record.
    fn seal_gathered(&mut self, cx: &mut Context<'_>, first: &[u8], second: &[u8]) -> Result<usize, Error> {
        let mut both = [0; GATHERED];
        let (to_first, rest) = both.split_at_mut_checked(first.len()).ok_or(Error::EncryptError)?;
        to_first.copy_from_slice(first);
        rest.get_mut(..second.len()).ok_or(Error::EncryptError)?.copy_from_slice(second);
        let length = first.len() + second.len();
        self.seal(cx, kind::APPLICATION_DATA, both.get(..length).unwrap_or_default())?;
        Ok(length)
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed without close_notify")
}

/// Most octets of two pieces that are put together for one record.
const GATHERED: usize = 4096;

impl<S, Role> AsyncRead for TlsStream<S, Role>
where
    S: Socket,
    Role: Unpin,
    KernelConnection<Role>: Tickets,
{
    /// `Ok` without octets only behind the peer's close_notify: an end without it is an error, as a truncated body must
    /// not look whole.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.get_mut().poll_opened(cx, buf)
    }
}

impl<S, Role> AsyncWrite for TlsStream<S, Role>
where
    S: Socket,
    Role: Unpin,
    KernelConnection<Role>: Tickets,
{
    /// Takes octets as long as there is room for their records; they go to the kernel once it is full or with a flush.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_sealed(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_sealed(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_push(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// close_notify, then the end of the stream below.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.sending.has_room() {
            ready!(this.poll_push(cx))?;
        }
        this.control.seal_close(&mut this.sending).map_err(io::Error::other)?;
        ready!(this.poll_push(cx))?;
        ready!(this.sending.poll_handed_on(&this.stream, cx));
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl<S, Role> Stream for TlsStream<S, Role>
where
    S: Socket,
    Role: Unpin,
    KernelConnection<Role>: Tickets,
{
    fn poll_pass<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut T,
        most: u64,
    ) -> Poll<Result<Option<usize>, PassError>> {
        match to.sealing() {
            Some(to) => self.poll_pass_records(cx, to, most),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn rest(&mut self) {
        self.input.settle();
        self.sending.settle();
    }

    fn taken(&self) -> Option<u64> {
        self.stream.acknowledged()
    }

    fn has_unsaid(&self) -> bool {
        self.has_unsaid
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.input.is_empty() {
            return Poll::Ready(());
        }
        self.poll_receive(cx).map(drop)
    }

    fn sealing(&mut self) -> Option<&mut dyn Sealing> {
        Some(self)
    }
}

impl<S: std::fmt::Debug, Role> std::fmt::Debug for TlsStream<S, Role> {
    /// Without the octets: they are the user's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream")
            .field("stream", &self.stream)
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}
