//! Data handed on from one connection to another: every octet, in order, no more than asked for, whatever else is said.

use std::future::poll_fn;

use proptest::prelude::*;
use rustls::{CipherSuite, PeerMisbehaved};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::pass::{PassError, Stream};
use super::tests::{Ends, V12, V13, cause, ends, ours, pattern};
use super::*;

/// An origin, the agent's two ends, and a client.
struct Chain {
    origin: ClientStream<DuplexStream>,
    from: OriginStream<DuplexStream>,
    to: ClientStream<DuplexStream>,
    client: OriginStream<DuplexStream>,
}

async fn chain(upstream: &Ends, downstream: &Ends, capacity: usize) -> Chain {
    let (from, origin) = ours(upstream, capacity).await;
    let (client, to) = ours(downstream, capacity).await;
    let mut chain = Chain { origin, from, to, client };
    // Tickets come before data, and would be too long to be handed on.
    chain.origin.say(kind::APPLICATION_DATA, b"x").await;
    assert_eq!(read(&mut chain.from, 1).await, b"x");
    chain.to.say(kind::APPLICATION_DATA, b"x").await;
    assert_eq!(read(&mut chain.client, 1).await, b"x");
    chain
}

/// Hands on as much as can be; what remains is a reader's.
pub(super) async fn pass<A: Stream, B: Stream>(
    from: &mut A,
    to: &mut B,
    most: u64,
) -> Result<u64, PassError> {
    let mut moved = 0;
    while moved < most {
        match poll_fn(|cx| from.poll_pass(cx, to, most - moved)).await? {
            Some(count) => moved += count as u64,
            None => break,
        }
    }
    to.flush().await.map_err(PassError::To)?;
    Ok(moved)
}

async fn read<S: Stream>(stream: &mut S, length: usize) -> Vec<u8> {
    let mut got = vec![0; length];
    stream.read_exact(&mut got).await.unwrap();
    got
}

#[tokio::test]
async fn every_octet_is_handed_on_under_every_suite() {
    for (versions, suite) in [
        (V13, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (V13, CipherSuite::TLS13_AES_256_GCM_SHA384),
        (V13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (V12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (V12, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ] {
        // The other side has another suite of the same form, or keys of its own.
        let downstream = if versions == V13 { ends(V13, None) } else { ends(versions, Some(suite)) };
        let upstream = ends(versions, Some(suite));
        let Chain { mut origin, mut from, mut to, mut client } = chain(&upstream, &downstream, 1 << 16).await;
        let sent = pattern(900_000);
        let send = async {
            for piece in sent.chunks(70_001) {
                origin.write_all(piece).await.unwrap();
                origin.flush().await.unwrap();
            }
        };
        let ((), moved, got) =
            tokio::join!(send, pass(&mut from, &mut to, sent.len() as u64), read(&mut client, sent.len()));
        assert_eq!(moved.unwrap(), sent.len() as u64, "{suite:?}");
        assert!(got == sent, "{suite:?}");
    }
}

#[tokio::test]
async fn sides_whose_records_differ_are_read_and_written() {
    for (one, other) in [(V13, V12), (V12, V13)] {
        let Chain { mut origin, mut from, mut to, client } =
            chain(&ends(one, None), &ends(other, None), 1 << 16).await;
        origin.write_all(b"data").await.unwrap();
        origin.flush().await.unwrap();
        assert_eq!(pass(&mut from, &mut to, 4).await.unwrap(), 0);
        assert_eq!(read(&mut from, 4).await, b"data");
        drop(client);
    }
}

#[tokio::test]
async fn no_more_is_handed_on_than_asked_for() {
    let ends = ends(V13, None);
    let Chain { mut origin, mut from, mut to, mut client } = chain(&ends, &ends, 1 << 20).await;
    for length in [100, 200, 300] {
        origin.say(kind::APPLICATION_DATA, &pattern(length)).await;
    }
    // A record of which only a part is wanted is a reader's.
    assert_eq!(pass(&mut from, &mut to, 350).await.unwrap(), 300);
    assert_eq!(read(&mut from, 50).await, pattern(50));
    // So is what is left of it.
    assert_eq!(pass(&mut from, &mut to, 1000).await.unwrap(), 0);
    assert_eq!(read(&mut from, 250).await, pattern(300)[50..]);
    assert_eq!(read(&mut client, 300).await, [pattern(100), pattern(200)].concat());
}

#[tokio::test]
async fn what_is_said_beside_the_data_is_heard_and_not_handed_on() {
    let ends = ends(V13, None);
    let Chain { mut origin, mut from, mut to, mut client } = chain(&ends, &ends, 1 << 20).await;
    origin.say(kind::APPLICATION_DATA, b"one").await;
    origin.say(kind::APPLICATION_DATA, b"").await;
    // Padding: the true type stands within.
    origin.say(0, b"two\x17\0\0\0\0").await;
    origin.say(kind::APPLICATION_DATA, b"three").await;
    origin.say(kind::HANDSHAKE, &[24, 0, 0, 1, 0]).await;
    origin.take_new_key();
    origin.say(kind::APPLICATION_DATA, &pattern(40)).await;
    assert_eq!(pass(&mut from, &mut to, 51).await.unwrap(), 51);
    assert_eq!(read(&mut client, 51).await, [b"onetwothree".as_slice(), &pattern(40)].concat());
    // One that asks for ours has it, from whoever reads next.
    origin.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    origin.take_new_key();
    origin.say(kind::APPLICATION_DATA, b"five").await;
    assert_eq!(pass(&mut from, &mut to, 4).await.unwrap(), 0);
    assert_eq!(read(&mut from, 4).await, b"five");
    from.write_all(b"thanks").await.unwrap();
    from.flush().await.unwrap();
    assert_eq!(read(&mut origin, 6).await, b"thanks");
    assert_eq!(origin.opener.sequence(), 1, "the key is new");
    // The client asks for a new key in the middle of it.
    client.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    client.take_new_key();
    client.say(kind::APPLICATION_DATA, b"x").await;
    assert_eq!(read(&mut to, 1).await, b"x");
    origin.say(kind::APPLICATION_DATA, b"six").await;
    assert_eq!(pass(&mut from, &mut to, 3).await.unwrap(), 3, "by a new key");
    assert_eq!(read(&mut client, 3).await, b"six");
    origin.shutdown().await.unwrap();
    assert_eq!(pass(&mut from, &mut to, 3).await.unwrap(), 0);
    assert_eq!(from.read(&mut [0; 3]).await.unwrap(), 0);
}

#[tokio::test]
async fn keys_are_renewed_on_the_way() {
    let ends = ends(V13, None);
    let Chain { mut origin, mut from, mut to, mut client } = chain(&ends, &ends, 1 << 16).await;
    to.control.limit = 4;
    let sent = pattern(700_000);
    let send = async {
        origin.write_all(&sent).await.unwrap();
        origin.flush().await.unwrap();
    };
    let ((), moved, got) =
        tokio::join!(send, pass(&mut from, &mut to, sent.len() as u64), read(&mut client, sent.len()));
    assert_eq!(moved.unwrap(), sent.len() as u64);
    assert!(got == sent && to.sending.records() < 4);
}

#[tokio::test]
async fn a_broken_record_ends_it_behind_what_came_before() {
    for versions in [V13, V12] {
        let ends = ends(versions, None);
        let Chain { mut origin, mut from, mut to, mut client } = chain(&ends, &ends, 1 << 20).await;
        origin.say(kind::APPLICATION_DATA, b"good").await;
        origin.say_broken().await;
        assert_eq!(pass(&mut from, &mut to, 100).await.unwrap(), 4);
        assert_eq!(cause(&from.read(&mut [0; 9]).await.unwrap_err()), Error::DecryptError);
        drop(to);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(all, b"good");

        // An end that was not announced.
        let Chain { mut origin, mut from, mut to, client: _client } = chain(&ends, &ends, 1 << 20).await;
        origin.say(kind::APPLICATION_DATA, b"good").await;
        drop(origin);
        let PassError::From(error) = pass(&mut from, &mut to, 100).await.unwrap_err() else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    // Records without data do not go on for ever.
    let ends = ends(V13, None);
    let Chain { mut origin, mut from, mut to, client: _client } = chain(&ends, &ends, 1 << 20).await;
    for _ in 0..70 {
        origin.say(kind::APPLICATION_DATA, b"").await;
    }
    assert_eq!(pass(&mut from, &mut to, 100).await.unwrap(), 0);
    let failed = cause(&from.read(&mut [0]).await.unwrap_err());
    assert_eq!(failed, PeerMisbehaved::TooManyEmptyFragments.into());
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_one_buffer_up() {
    let ends = ends(V13, None);
    let Chain { mut origin, mut from, mut to, client: _client } = chain(&ends, &ends, 4096).await;
    let sent = pattern(2_000_000);
    let send = origin.write_all(&sent);
    let passing = pass(&mut from, &mut to, sent.len() as u64);
    let both = async { tokio::join!(send, passing) };
    tokio::time::timeout(std::time::Duration::from_millis(50), both).await.unwrap_err();
    let held = from.input.held() + to.sending.held();
    assert!(held <= 2 * buffers::BUFFER, "{held}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Handing on and reading in any turns give the same octets.
    #[test]
    fn turns_of_handing_on_and_reading_lose_nothing(
        records in prop::collection::vec(1usize..3000, 1..20),
        turns in prop::collection::vec((any::<bool>(), 1u64..5000), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ends = ends(V13, None);
            let Chain { mut origin, mut from, mut to, mut client } = chain(&ends, &ends, 1 << 20).await;
            let sent = pattern(records.iter().sum());
            let mut rest = sent.as_slice();
            for length in records {
                let (now, later) = rest.split_at(length);
                origin.say(kind::APPLICATION_DATA, now).await;
                rest = later;
            }
            let mut left = sent.len();
            let turns = turns.into_iter().chain(std::iter::repeat([(true, u64::MAX), (false, 5000)]).flatten());
            for (hands_on, most) in turns {
                if left == 0 {
                    break;
                }
                let most = most.min(left as u64);
                if hands_on {
                    left -= pass(&mut from, &mut to, most).await.unwrap() as usize;
                } else {
                    let mut piece = vec![0; most as usize];
                    let count = from.read(&mut piece).await.unwrap();
                    to.write_all(&piece[..count]).await.unwrap();
                    left -= count;
                }
            }
            to.flush().await.unwrap();
            assert!(read(&mut client, sent.len()).await == sent);
        });
    }
}
