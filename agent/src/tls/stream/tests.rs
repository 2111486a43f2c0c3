//! Streams of ours against rustls' own and against each other, and peers that break the rules behind the handshake.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::catalog::HostPattern;
use crate::tls::authority::Authority;
use crate::tls::{ClientSide, SessionOwner, provider};

const OWNER: SessionOwner = SessionOwner::User(1000);
const NAME: &str = "files.corp.test";
pub(super) const V13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub(super) const V12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A CA, and configurations of both ends that agree on one version and suite.
pub(super) struct Ends {
    _dir: TempDir,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

pub(super) fn ends(versions: &[&'static SupportedProtocolVersion], suite: Option<CipherSuite>) -> Ends {
    let dir = tempfile::tempdir().unwrap();
    let authority =
        Authority::create(&dir.path().join("ca"), &[HostPattern::Below("corp.test".into())]).unwrap();
    let side = ClientSide::new(Arc::new(authority));
    let server = side.config(OWNER, NAME, &[]).unwrap();
    let mut chosen = CryptoProvider::clone(&provider::provider());
    chosen.cipher_suites.retain(|known| suite.is_none_or(|suite| known.suite() == suite));
    let mut roots = RootCertStore::empty();
    roots.add(side.authority().certificates().root.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(chosen))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    Ends { _dir: dir, server, client: Arc::new(client) }
}

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

/// Ours as a client, with the end of the handshake on its way.
pub(super) async fn connect(ends: &Ends, stream: DuplexStream) -> OriginStream<DuplexStream> {
    let mut far = OriginStream::connect(ends.client.clone(), name(), stream, None).await.unwrap();
    far.flush().await.unwrap();
    far
}

/// Ours at both ends with everything of the handshake on its way, over a pipe of `capacity` octets.
pub(super) async fn ours(
    ends: &Ends,
    capacity: usize,
) -> (OriginStream<DuplexStream>, ClientStream<DuplexStream>) {
    let (far, near) = duplex(capacity);
    let (far, near) = tokio::join!(connect(ends, far), ClientStream::accept(ends.server.clone(), near, None));
    let mut near = near.unwrap();
    near.flush().await.unwrap();
    (far, near)
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Sends `length` octets from one to the other, read in pieces of `step`, and back again.
pub(super) async fn there_and_back<A, B>(a: &mut A, b: &mut B, length: usize, step: usize)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    async fn one_way<F: AsyncWrite + Unpin, T: AsyncRead + Unpin>(
        from: &mut F,
        to: &mut T,
        length: usize,
        step: usize,
    ) {
        let sent = pattern(length);
        let send = async {
            from.write_all(&sent).await.unwrap();
            from.flush().await.unwrap();
        };
        let receive = async {
            let (mut got, mut piece) = (Vec::new(), vec![0; step]);
            while got.len() < length {
                let count = to.read(&mut piece).await.unwrap();
                assert_ne!(count, 0, "ended after {} of {length}", got.len());
                got.extend_from_slice(&piece[..count]);
            }
            got
        };
        let ((), got) = tokio::join!(send, receive);
        assert!(got == sent, "{length} octets in steps of {step} differ");
    }
    one_way(a, b, length, step).await;
    one_way(b, a, length, step).await;
}

#[tokio::test]
async fn data_passes_both_ways_under_every_version_and_suite() {
    for suite in &provider::provider().cipher_suites {
        let suite = suite.suite();
        if format!("{suite:?}").contains("RSA") {
            // The agent's own leaves are of another kind.
            continue;
        }
        let versions = if format!("{suite:?}").starts_with("TLS13") { V13 } else { V12 };
        let ends = ends(versions, Some(suite));
        let (far, near) = duplex(1 << 16);
        let (far, near) = tokio::join!(
            TlsConnector::from(ends.client.clone()).connect(name(), far),
            ClientStream::accept(ends.server.clone(), near, None)
        );
        let (mut far, mut near) = (far.unwrap(), near.unwrap());
        assert_eq!(near.negotiated().suite, suite.as_str(), "{suite:?}");
        for (length, step) in
            [(1, 1), (5, 3), (MAX_PLAINTEXT, 4096), (MAX_PLAINTEXT + 1, 100_000), (700_000, 69_632)]
        {
            there_and_back(&mut far, &mut near, length, step).await;
        }
        let (far, near) = duplex(1 << 16);
        let (mut far, near) =
            tokio::join!(connect(&ends, far), TlsAcceptor::from(ends.server.clone()).accept(near));
        there_and_back(&mut far, &mut near.unwrap(), 300_000, 10_000).await;
    }
}

#[tokio::test]
async fn a_handshake_and_data_pass_through_a_pipe_of_a_few_octets() {
    // Room for the tickets, which a server sends to a client that is done and reads when it has to.
    for (versions, capacity) in [(V13, 300), (V13, 1000), (V12, 1), (V12, 4000)] {
        let ends = ends(versions, None);
        let (mut far, mut near) = ours(&ends, capacity).await;
        there_and_back(&mut far, &mut near, 20_000, 333).await;
    }
}

/// Runs rustls' own connection over a pipe until it has `length` octets of data.
async fn pump<Data>(
    connection: &mut rustls::ConnectionCommon<Data>,
    pipe: &mut DuplexStream,
    length: usize,
) -> Vec<u8> {
    let (mut got, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let mut out = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut out).unwrap();
        }
        // All of it at once.
        pipe.write_all(&out).await.unwrap();
        if !connection.is_handshaking() && got.len() >= length {
            return got;
        }
        let count = pipe.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "the other end gave up");
        let mut rest = &piece[..count];
        while !rest.is_empty() {
            connection.read_tls(&mut rest).unwrap();
            let state = connection.process_new_packets().unwrap();
            let mut data = vec![0; state.plaintext_bytes_to_read()];
            io::Read::read_exact(&mut connection.reader(), &mut data).unwrap();
            got.extend(data);
        }
    }
}

#[tokio::test]
async fn data_right_behind_the_last_message_of_the_handshake_is_not_lost() {
    for length in [5, 60_000, 150_000] {
        let ends = ends(V13, None);
        let early = pattern(length);
        // A client that sends its request with its Finished.
        let (mut far, near) = duplex(1 << 20);
        let mut client = rustls::ClientConnection::new(ends.client.clone(), name()).unwrap();
        client.set_buffer_limit(None);
        io::Write::write_all(&mut client.writer(), &early).unwrap();
        let serve = async {
            let mut near = ClientStream::accept(ends.server.clone(), near, None).await.unwrap();
            let mut got = vec![0; length];
            near.read_exact(&mut got).await.unwrap();
            assert!(got == early);
            near.write_all(b"answer").await.unwrap();
            near.flush().await.unwrap();
            near
        };
        let (got, _near) = tokio::join!(pump(&mut client, &mut far, 6), serve);
        assert_eq!(got, b"answer");

        // A server that speaks before the client's Finished is there.
        let (mut far, near) = duplex(1 << 20);
        let mut config = ServerConfig::clone(&ends.server);
        config.send_half_rtt_data = true;
        let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        server.set_buffer_limit(None);
        io::Write::write_all(&mut server.writer(), &early).unwrap();
        let ask = async {
            let mut near = OriginStream::connect(ends.client.clone(), name(), near, None).await.unwrap();
            let mut got = vec![0; length];
            near.read_exact(&mut got).await.unwrap();
            assert!(got == early);
            near.write_all(b"thanks").await.unwrap();
            near.flush().await.unwrap();
            near
        };
        let (got, _near) = tokio::join!(pump(&mut server, &mut far, 6), ask);
        assert_eq!(got, b"thanks");
    }
}

#[tokio::test]
async fn two_pieces_travel_in_one_record_where_they_are_short() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    for (first, second, records) in [(10, 20, 1), (1500, 1024, 1), (10, GATHERED, 2), (0, 5, 1), (5, 0, 1)] {
        let before = near.sending.records();
        let (first, second) = (pattern(first), pattern(second));
        let both = [first.as_slice(), second.as_slice()].concat();
        let taken = near.write_vectored(&[IoSlice::new(&first), IoSlice::new(&second)]).await.unwrap();
        assert_eq!((taken, near.sending.records() - before), (both.len(), records));
        near.flush().await.unwrap();
        let mut got = vec![0; both.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, both);
    }
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 16).await;
    there_and_back(&mut far, &mut near, 300_000, 10_000).await;
    // Part of a record is there: it is kept, and no more than that.
    let mut record = vec![0; 2000];
    let length = far.sealer().seal(kind::APPLICATION_DATA, &pattern(1000), &mut record).unwrap();
    let (now, later) = record[..length].split_at(600);
    far.stream.write_all(now).await.unwrap();
    let mut got = vec![0; 1000];
    let mut read = std::pin::pin!(near.read_exact(&mut got));
    assert!(futures_poll(read.as_mut()).await.is_pending());
    far.stream.write_all(later).await.unwrap();
    read.await.unwrap();
    assert_eq!(got, pattern(1000));
    let mut byte = [0];
    assert!(futures_poll(std::pin::pin!(near.read(&mut byte))).await.is_pending());
    assert_eq!((near.input.held(), near.sending.held()), (0, 0));
}

pub(super) async fn futures_poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[tokio::test]
async fn keys_are_renewed_at_the_peers_wish_and_before_they_are_worn() {
    let ends = ends(V13, None);
    let (far, near) = duplex(1 << 16);
    let (far, near) = tokio::join!(
        TlsConnector::from(ends.client.clone()).connect(name(), far),
        ClientStream::accept(ends.server.clone(), near, None)
    );
    let (mut far, mut near) = (far.unwrap(), near.unwrap());
    for round in 1..=40 {
        far.get_mut().1.refresh_traffic_keys().unwrap();
        there_and_back(&mut far, &mut near, round * 1000, 5000).await;
    }
    // One that only reads answers, too: 32 requests without data are let through, each acknowledged.
    let (mut far, mut near) = ours(&ends, 1 << 16).await;
    near.control.limit = 4;
    there_and_back(&mut far, &mut near, 900_000, 70_000).await;
    assert!(near.sending.records() < 4, "{}", near.sending.records());
}

#[tokio::test]
async fn a_peer_that_only_sends_gets_its_key_update_answered() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 16).await;
    far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    far.take_new_key();
    far.say(kind::APPLICATION_DATA, b"x").await;
    let mut byte = [0];
    near.read_exact(&mut byte).await.unwrap();
    let (before, mut nothing) = (far.opener.sequence(), [0; 8]);
    assert!(futures_poll(std::pin::pin!(far.read(&mut nothing))).await.is_pending());
    assert_eq!((before, far.opener.sequence()), (0, 0), "the key is new again");
    there_and_back(&mut far, &mut near, 50_000, 5_000).await;
}

#[tokio::test]
async fn tls_12_ends_before_its_key_is_worn() {
    let ends = ends(V12, None);
    let (_far, mut near) = ours(&ends, 1 << 20).await;
    near.control.limit = near.sending.records() + 3;
    for _ in 0..2 {
        near.write_all(b"x").await.unwrap();
    }
    near.write_all(b"x").await.unwrap_err();
}

#[tokio::test]
async fn an_end_counts_only_with_close_notify() {
    for versions in [V13, V12] {
        let ends = ends(versions, None);
        let (mut far, mut near) = ours(&ends, 1 << 16).await;
        far.write_all(b"last").await.unwrap();
        far.shutdown().await.unwrap();
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last");
        assert_eq!(near.read(&mut [0; 9]).await.unwrap(), 0, "and stays ended");
        // The other direction is still open.
        near.write_all(b"answer").await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        far.write_all(b"more").await.unwrap_err();

        let (mut far, mut near) = ours(&ends, 1 << 16).await;
        far.write_all(b"cut").await.unwrap();
        far.flush().await.unwrap();
        drop(far);
        let mut three = [0; 3];
        near.read_exact(&mut three).await.unwrap();
        assert_eq!(near.read(&mut three).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

impl<S: Socket, Role: Unpin> TlsStream<S, Role>
where
    KernelConnection<Role>: Tickets,
{
    /// The key that the agent seals with.
    pub(super) fn sealer(&mut self) -> &mut RecordKey {
        match &mut self.sending {
            Sending::ByAgent { sealer, .. } => sealer,
            Sending::ByKernel(_) => panic!("the kernel seals"),
        }
    }

    /// Seals with the next key, without a word.
    pub(super) fn take_new_key(&mut self) {
        *self.sealer() =
            RecordKey::new(self.kernel.update_tx_secret().unwrap(), self.control.version).unwrap();
    }

    /// Sends one record of any kind and content, whatever the rules.
    pub(super) async fn say(&mut self, kind: u8, content: &[u8]) {
        let mut record = vec![0; content.len() + record::OVERHEAD];
        let length = self.sealer().seal(kind, content, &mut record).unwrap();
        self.stream.write_all(&record[..length]).await.unwrap();
    }

    /// A record of data that was changed on its way.
    pub(super) async fn say_broken(&mut self) {
        let mut record = vec![0; 100];
        let length = self.sealer().seal(kind::APPLICATION_DATA, b"bad", &mut record).unwrap();
        record[length - 1] ^= 1;
        self.stream.write_all(&record[..length]).await.unwrap();
    }
}

/// What a server of ours says to records of a client, and how it fails.
pub(super) async fn says_to(
    versions: &[&'static SupportedProtocolVersion],
    records: &[(u8, &[u8])],
) -> (Error, Option<Error>) {
    let ends = ends(versions, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    for (kind, content) in records {
        far.say(*kind, content).await;
    }
    let failed = near.read_to_end(&mut Vec::new()).await.unwrap_err();
    let again = near.read(&mut [0]).await.unwrap_err();
    let (failed, again) = (cause(&failed), cause(&again));
    assert_eq!(failed, again, "a failed connection stays failed");
    drop(near);
    (
        failed,
        far.read_to_end(&mut Vec::new())
            .await
            .err()
            .and_then(|error| error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned()),
    )
}

pub(super) fn cause(error: &io::Error) -> Error {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
        .cloned()
        .unwrap_or_else(|| panic!("{error}"))
}
