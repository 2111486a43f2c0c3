//! The sending half of a connection: records that the agent seals, or plaintext that the kernel seals below.
//!
//! Plaintext goes out in one place, [`ByKernel::poll_plaintext`], and a [`ByKernel`] is made in one place,
//! [`Sending::offer`], once the kernel has said that it has the key. There is no way back from it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::{ConnectionTrafficSecrets, Error, ProtocolVersion};
use tokio::time::{Sleep, sleep};

use super::buffers::Queue;
use super::plaintext::Plaintext;
use super::record::{Layout, MAX_PLAINTEXT, RecordKey};
use crate::tls::kernel::{KernelKey, KernelSealing, Kind};
use crate::tls::socket::Socket;

/// Before the end of a connection the kernel is asked again after this time whether all of it went from TLS to TCP: nobody
/// says so when it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Looks in a row at which TCP has nothing to do: then nothing more comes.
const IDLE_LOOKS: u8 = 3;
/// Most pieces of a writer that go out at once.
const GIVEN: usize = 4;

#[derive(Debug)]
pub(super) enum Sending {
    /// Sealed, and not yet taken by the kernel: `output`.
    ByAgent {
        sealer: RecordKey,
        output: Queue,
    },
    ByKernel(Box<ByKernel>),
}

/// What the kernel seals, as far as it is not with it yet.
#[derive(Debug)]
pub(super) struct ByKernel {
    shared: Arc<KernelSealing>,
    kind: Kind,
    /// What a record adds to its plaintext.
    layout: Layout,
    /// Records that the kernel made with the key that it has.
    sequence: u64,
    plaintext: Plaintext,
    /// Said behind the plaintext. While something is here no plaintext is added.
    said: VecDeque<Said>,
    /// Octets that TCP has been given once the kernel is done with what it took.
    given: Option<u64>,
    idle_looks: u8,
    wait: Option<Pin<Box<Sleep>>>,
    /// The peer expects another key than the kernel has.
    is_lost: bool,
}

#[derive(Debug)]
enum Said {
    Record(u8, Box<[u8]>),
    NewKey(KernelKey),
}

impl Sending {
    /// Hands the key to the kernel below where that is asked for and can be done. Everything that was sealed before has to
    /// have been written.
    pub(super) fn offer<S: Socket>(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        version: ProtocolVersion,
        stream: &S,
        kernel: Option<&Arc<KernelSealing>>,
    ) -> Result<Self, Error> {
        let offered = kernel.and_then(|shared| Some((shared, KernelKey::new(sequence, &secrets, version)?)));
        // Made in any case: what it says of secrets and layout holds for both.
        let sealer = RecordKey::new((sequence, secrets), version)?;
        let Some((shared, key)) = offered else { return Ok(Self::by_agent(sealer)) };
        let given = stream.progress().map(|progress| progress.given);
        if !shared.hand_over(stream, &key) {
            return Ok(Self::by_agent(sealer));
        }
        Ok(Self::ByKernel(Box::new(ByKernel {
            shared: shared.clone(),
            kind: key.kind(),
            layout: sealer.layout(),
            sequence,
            plaintext: Plaintext::default(),
            said: VecDeque::new(),
            given,
            idle_looks: 0,
            wait: None,
            is_lost: false,
        })))
    }

    fn by_agent(sealer: RecordKey) -> Self {
        Self::ByAgent { sealer, output: Queue::default() }
    }

    /// Puts what was sealed already in front of everything: nothing waits yet, and the agent seals.
    pub(super) fn begin_with(&mut self, sealed: Vec<u8>) {
        match self {
            Self::ByAgent { output, .. } => *output = Queue::with(sealed),
            Self::ByKernel(_) => {
                debug_assert!(sealed.is_empty(), "what the kernel seals follows on what was written")
            }
        }
    }

    /// Records under the present key, those that will be made of what waits included.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::ByAgent { sealer, .. } => sealer.sequence(),
            Self::ByKernel(kernel) => kernel.records(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::ByAgent { output, .. } => output.is_empty(),
            Self::ByKernel(kernel) => kernel.plaintext.is_empty() && kernel.said.is_empty(),
        }
    }

    /// Whether a record can be added before anything is pushed.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::ByAgent { output, .. } => output.has_room_for_record(),
            Self::ByKernel(_) => true,
        }
    }

    /// Puts one record behind what waits.
    pub(super) fn say(&mut self, kind: u8, content: &[u8]) -> Result<(), Error> {
        match self {
            Self::ByAgent { sealer, output } => {
                let length = sealer.seal(kind, content, output.room())?;
                output.filled(length);
            }
            Self::ByKernel(kernel) => kernel.said.push_back(Said::Record(kind, content.into())),
        }
        Ok(())
    }

    /// Whether another key can follow the present one.
    pub(super) fn takes_new_key<S: Socket>(&self, stream: &S) -> bool {
        match self {
            Self::ByAgent { .. } => true,
            Self::ByKernel(kernel) => stream.takes_new_key(kernel.kind),
        }
    }

    /// A connection ends because none can.
    pub(super) fn end(&self, why: &str) {
        if let Self::ByKernel(kernel) = self {
            kernel.shared.end(why);
        }
    }

    /// Another key for everything behind what waits.
    pub(super) fn renew(
        &mut self,
        secrets: (u64, ConnectionTrafficSecrets),
        version: ProtocolVersion,
    ) -> Result<(), Error> {
        match self {
            Self::ByAgent { sealer, .. } => *sealer = RecordKey::new(secrets, version)?,
            Self::ByKernel(kernel) => {
                let (sequence, secrets) = secrets;
                let key = KernelKey::new(sequence, &secrets, version).ok_or(Error::EncryptError)?;
                kernel.said.push_back(Said::NewKey(key));
            }
        }
        Ok(())
    }

    /// Gives the kernel what waits.
    pub(super) fn poll_push<S: Socket>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let pushed = match self {
            Self::ByAgent { output, .. } => poll_write_all(output, stream, cx),
            Self::ByKernel(kernel) => kernel.poll_push(stream, cx),
        };
        self.settle();
        pushed
    }

    /// Ready once the kernel has handed everything on to TCP, whose end may then follow.
    pub(super) fn poll_handed_on<S: Socket>(&mut self, stream: &S, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::ByAgent { .. } => Poll::Ready(()),
            Self::ByKernel(kernel) => kernel.poll_handed_on(stream, cx),
        }
    }

    /// Before a wait; see [`Queue::settle`].
    pub(super) fn settle(&mut self) {
        match self {
            Self::ByAgent { output, .. } => output.settle(),
            Self::ByKernel(kernel) => kernel.plaintext.settle(),
        }
    }

    /// Octets of memory it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match self {
            Self::ByAgent { output, .. } => output.held(),
            Self::ByKernel(kernel) => kernel.plaintext.held(),
        }
    }
}

fn poll_write_all<S: Socket>(
    output: &mut Queue,
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !output.is_empty() {
        match ready!(Pin::new(&mut *stream).poll_write(cx, output.front()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => output.consume(count),
        }
    }
    Poll::Ready(Ok(()))
}

impl ByKernel {
    fn records(&self) -> u64 {
        self.sequence + records_of(self.plaintext.len())
    }

    /// Takes copies, to go out with what comes next; `false` where what waits has to be pushed first.
    pub(super) fn append(&mut self, octets: &[IoSlice<'_>]) -> bool {
        self.said.is_empty() && self.plaintext.append(octets)
    }

    /// Plaintext that waits.
    pub(super) fn waiting(&self) -> usize {
        self.plaintext.len()
    }

    pub(super) fn has_said(&self) -> bool {
        !self.said.is_empty()
    }

    /// Takes plaintext where it lies, to go out with a push. Nothing else waits.
    pub(super) fn hand(&mut self, plaintext: Plaintext) {
        debug_assert!(self.plaintext.is_empty() && self.said.is_empty(), "it was clear");
        self.plaintext = plaintext;
    }

    fn poll_push<S: Socket>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.is_lost {
                return Poll::Ready(Err(io::Error::other(Error::EncryptError)));
            }
            if !self.plaintext.is_empty() {
                ready!(self.poll_plaintext(stream, cx, &[], 0))?;
                continue;
            }
            match self.said.front() {
                None => return Poll::Ready(Ok(())),
                Some(Said::Record(kind, content)) => {
                    ready!(stream.poll_record(cx, *kind, content))?;
                    let length = content.len();
                    self.said.pop_front();
                    self.took(length);
                }
                Some(Said::NewKey(key)) => {
                    if let Err(error) = stream.renew(key) {
                        self.is_lost = true;
                        self.shared.end("the kernel did not take the new key");
                        return Poll::Ready(Err(error));
                    }
                    self.said.pop_front();
                    self.sequence = 0;
                }
            }
        }
    }

    /// Sends what waits, and at most `most` octets of `more` with it; gives how many of those were taken, which may be none.
    pub(super) fn poll_plaintext<S: Socket>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        more: &[IoSlice<'_>],
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); Plaintext::slices(GIVEN)];
        let count = self.plaintext.gather(&first_of(more, most), &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let sent = match ready!(Pin::new(stream).poll_write_vectored(cx, slices))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => sent,
        };
        let taken = self.plaintext.consume(sent);
        self.took(sent);
        Poll::Ready(Ok(taken))
    }

    /// The kernel makes records of what it takes at once, all but the last of them full.
    fn took(&mut self, octets: usize) {
        let records = records_of(octets);
        self.sequence = self.sequence.saturating_add(records);
        let added = records * (self.layout.before + self.layout.behind) as u64;
        self.given = self.given.map(|given| given + octets as u64 + added);
    }

    /// What the kernel took may still be with TLS, when TCP has no room for the whole of a record. An end of TCP would cut
    /// it off.
    fn poll_handed_on<S: Socket>(&mut self, stream: &S, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (Some(expected), Some(progress)) = (self.given, stream.progress()) else {
                return Poll::Ready(());
            };
            self.idle_looks = if progress.outstanding > 0 { 0 } else { self.idle_looks.saturating_add(1) };
            if progress.given >= expected || !progress.can_send || self.idle_looks > IDLE_LOOKS {
                return Poll::Ready(());
            }
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
    }
}

/// At most so many octets of them.
fn first_of<'a>(pieces: &'a [IoSlice<'a>], mut most: usize) -> [IoSlice<'a>; GIVEN] {
    let mut first = [IoSlice::new(&[]); GIVEN];
    for (to, piece) in first.iter_mut().zip(pieces) {
        *to = IoSlice::new(piece.get(..piece.len().min(most)).unwrap_or_default());
        most -= to.len();
    }
    first
}

fn records_of(octets: usize) -> u64 {
    octets.div_ceil(MAX_PLAINTEXT) as u64
}
