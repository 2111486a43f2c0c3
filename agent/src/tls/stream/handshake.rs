//! A handshake driven to its end: rustls says what to send and when to read, and is given no octet beyond its last
//! record, so that what follows is opened with the extracted keys.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use rustls::CommonState;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{Error, ExtractedSecrets, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::record::{HEADER, RecordHeader};

/// What a peer may send ahead of an answer: the largest handshake message that rustls reads, and a record more.
const MAX_INPUT: usize = 96 * 1024;
/// Asked of the kernel at a time.
const STEP: usize = 8 * 1024;
/// A length that no record has: what begins with it is no TLS, which rustls then says.
const IMPLAUSIBLE: usize = (1 << 14) + 2048;

/// Either end of a handshake, as rustls has them apart.
pub(super) trait Handshake {
    type Role;
    fn state(&self) -> &CommonState;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Role>;
    fn finish(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Role>), Error>;
}

impl Handshake for UnbufferedClientConnection {
    type Role = ClientConnectionData;

    fn state(&self) -> &CommonState {
        self
    }

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }

    fn finish(self) -> Result<(ExtractedSecrets, KernelConnection<ClientConnectionData>), Error> {
        self.dangerous_into_kernel_connection()
    }
}

impl Handshake for UnbufferedServerConnection {
    type Role = ServerConnectionData;

    fn state(&self) -> &CommonState {
        self
    }

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }

    fn finish(self) -> Result<(ExtractedSecrets, KernelConnection<ServerConnectionData>), Error> {
        self.dangerous_into_kernel_connection()
    }
}

/// What rustls asks for next.
enum Next {
    Go,
    Read,
    Done,
}

/// Leave for the arithmetic of one flight: a fraction of a millisecond. Once turns have taken a [`SLICE`], whoever has one lets
/// everybody else of the thread go on before the next one gets it ([`Turn::end`]), so that connections which carry data wait for
/// a slice and one flight at most, however many clients shake hands.
pub(super) struct Turn {
    begun: Instant,
    _permit: OwnedSemaphorePermit,
}

/// What turns take before the others go on: to look who they are takes a call of the kernel.
const SLICE: Duration = Duration::from_micros(200);

thread_local! {
    static TURNS: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    /// What turns took since the others went on.
    static TAKEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Turn {
    /// In the order of asking.
    pub(super) async fn begin() -> io::Result<Self> {
        let turns = TURNS.with(Arc::clone);
        let _permit = turns.acquire_owned().await.map_err(io::Error::other)?;
        Ok(Self { begun: Instant::now(), _permit })
    }

    /// Before anything that waits for the peer, who may take as long as he likes.
    async fn end(turn: &mut Option<Self>) {
        let Some(turn) = turn.take() else { return };
        let taken = TAKEN.get() + turn.begun.elapsed();
        if taken < SLICE {
            TAKEN.set(taken);
        } else {
            TAKEN.set(Duration::ZERO);
            tokio::task::yield_now().await;
        }
        drop(turn);
    }
}

/// What a handshake leaves behind.
#[derive(Debug)]
pub(super) struct Shaken {
    /// What arrived behind it.
    pub(super) input: Vec<u8>,
    /// Its last words of ours, sealed, to go out in front of the first data.
    pub(super) unsaid: Vec<u8>,
}

/// Shakes hands. `turn` is that in which the connection was made, if that took one. `holds`: the last words may be left for the
/// first data to take along, which saves both ends a packet and a wake-up: a client's Finished, a server's tickets. In TLS 1.2
/// nothing is left, as the last words may be what the peer waits for.
pub(super) async fn shake<H: Handshake, S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut H,
    stream: &mut S,
    mut turn: Option<Turn>,
    holds: bool,
) -> io::Result<Shaken> {
    let mut input = Vec::new();
    let mut output = Vec::new();
    // Octets at the front of the input that rustls was shown: a message in several records stays there until it is whole.
    let mut shown = 0;
    // A peer that closed may have said why before.
    let mut unsent = None;
    loop {
        let UnbufferedStatus { discard, state } = connection.step(input.get_mut(..shown).unwrap_or_default());
        let next = match state {
            Err(error) => {
                Turn::end(&mut turn).await;
                return Err(fail(connection, stream, output, error).await);
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut output, |out| data.encode(out)).map_err(io::Error::other)?;
                Next::Go
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Next::Go
            }
            Ok(ConnectionState::BlockedHandshake) => Next::Read,
            Ok(ConnectionState::WriteTraffic(_)) => Next::Done,
            // close_notify, or early data, which is never offered.
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let discard = discard.min(shown);
        input.drain(..discard);
        shown -= discard;
        match next {
            // What there is to say goes out at once, when there is nothing left to do without the peer.
            Next::Go => {}
            Next::Done if !connection.state().is_handshaking() => {
                Turn::end(&mut turn).await;
                if unsent.is_none() && !(holds && is_1_3(connection.state())) {
                    unsent = send(stream, &output, &mut input).await.err();
                    output.clear();
                }
                return unsent.map_or(Ok(Shaken { input, unsaid: output }), Err);
            }
            // Not before it asks: behind the peer's last record may stand data already, which is not for rustls. A server
            // may write before the client's last message is there.
            Next::Read | Next::Done => {
                let more = show_more(&input, shown);
                if more > shown {
                    if turn.is_none() {
                        turn = Some(Turn::begin().await?);
                    }
                    shown = more;
                } else if !output.is_empty() {
                    Turn::end(&mut turn).await;
                    if unsent.is_none() {
                        unsent = send(stream, &output, &mut input).await.err();
                    }
                    output.clear();
                } else {
                    Turn::end(&mut turn).await;
                    read(stream, &mut input).await.map_err(|error| unsent.take().unwrap_or(error))?;
                }
            }
        }
    }
}

fn is_1_3(state: &CommonState) -> bool {
    state.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

/// Says why, where rustls has an alert for it. No input is shown again: it was not made for reading on.
async fn fail<H: Handshake, S: AsyncWrite + Unpin>(
    connection: &mut H,
    stream: &mut S,
    mut output: Vec<u8>,
    error: Error,
) -> io::Error {
    while connection.state().wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.step(&mut []).state else { break };
        if encode(&mut output, |out| data.encode(out)).is_err() {
            break;
        }
    }
    // The reason stands; whether the alert arrives changes nothing.
    if stream.write_all(&output).await.is_ok() {
        let _ = stream.flush().await;
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How much of the input rustls may see: one whole record more than before.
fn show_more(input: &[u8], shown: usize) -> usize {
    let rest = input.get(shown..).unwrap_or_default();
    match RecordHeader::read(rest) {
        Some(header) if header.length > IMPLAUSIBLE => input.len(),
        Some(header) if rest.len() >= HEADER + header.length => shown + HEADER + header.length,
        _ => shown,
    }
}

fn encode(
    output: &mut Vec<u8>,
    mut into: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), EncodeError> {
    let used = output.len();
    let mut room = 0;
    loop {
        output.resize(used + room, 0);
        match into(output.get_mut(used..).unwrap_or_default()) {
            Ok(count) => {
                output.truncate(used + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sends, and takes in meanwhile what a peer says that sends before it reads.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    output: &[u8],
    input: &mut Vec<u8>,
) -> io::Result<()> {
    let (mut rest, mut has_ended) = (output, false);
    poll_fn(|cx| {
        while !rest.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Pending if has_ended || input.len() >= MAX_INPUT => return Poll::Pending,
                Poll::Pending => {
                    let mut piece = [0; 512];
                    let mut piece = ReadBuf::new(&mut piece);
                    ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece))?;
                    has_ended = piece.filled().is_empty();
                    input.extend_from_slice(piece.filled());
                }
            }
        }
        Pin::new(&mut *stream).poll_flush(cx)
    })
    .await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<()> {
    if input.len() >= MAX_INPUT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, Error::PeerSentOversizedRecord));
    }
    input.reserve(STEP);
    match stream.read_buf(input).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed during the handshake")),
        _ => Ok(()),
    }
}
