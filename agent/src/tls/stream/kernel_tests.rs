//! Connections whose sending the kernel seals: every octet and word in order, and an end where it takes no other key.

use rustls::{AlertDescription, CipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::kernel_key_tests::secrets;
use super::kernel_model::{Can, Emulated, NEW, OLD, settled};
use super::tests::{Ends, V12, V13, cause, connect, ends, futures_poll, name, pattern, there_and_back};
use super::*;
use crate::tls::kernel::{KernelKey, Refusal};

type Version = &'static [&'static rustls::SupportedProtocolVersion];

pub(super) const SUITES: [(Version, CipherSuite); 6] = [
    (V13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    (V13, CipherSuite::TLS13_AES_256_GCM_SHA384),
    (V13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (V12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (V12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (V12, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Ours at both ends, each with a kernel that can so much, and what counts their ends.
async fn by_kernels(
    ends: &Ends,
    capacity: usize,
    (far_can, near_can): (Can, Can),
) -> (OriginStream<Emulated>, ClientStream<Emulated>, Arc<KernelSealing>) {
    let shared = Arc::new(KernelSealing::default());
    let (far, near) = duplex(capacity);
    let (far, near) = (Emulated::new(far, far_can), Emulated::new(near, near_can));
    let (far, near) = tokio::join!(
        OriginStream::connect(ends.client.clone(), name(), far, Some(&shared)),
        ClientStream::accept(ends.server.clone(), near, Some(&shared))
    );
    (far.unwrap(), near.unwrap(), shared)
}

/// A client of the agent's own record layer, and a server that a kernel seals for.
pub(super) async fn by_kernel(
    ends: &Ends,
    capacity: usize,
    can: Can,
) -> (OriginStream<DuplexStream>, ClientStream<Emulated>, Arc<KernelSealing>) {
    let shared = Arc::new(KernelSealing::default());
    let (far, near) = duplex(capacity);
    let near = Emulated::new(near, can);
    let (far, near) =
        tokio::join!(connect(ends, far), ClientStream::accept(ends.server.clone(), near, Some(&shared)));
    (far, near.unwrap(), shared)
}

pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S, length: usize) -> Vec<u8> {
    let mut got = vec![0; length];
    stream.read_exact(&mut got).await.unwrap();
    got
}

#[tokio::test]
async fn data_passes_both_ways_under_every_suite_whatever_room_there_is() {
    for (versions, suite) in SUITES {
        for (length, step, capacity) in
            [(1, 1, 1 << 16), (5000, 77, 3000), (16_385, 999, 1 << 16), (900_000, 65_537, 20_000)]
        {
            let ends = ends(versions, Some(suite));
            let (mut far, mut near, _) = by_kernels(&ends, capacity, (OLD, OLD)).await;
            assert!(far.is_sealed_by_kernel() && near.is_sealed_by_kernel());
            there_and_back(&mut far, &mut near, length, step).await;
        }
    }
}

#[tokio::test]
async fn a_kernel_that_refuses_leaves_it_to_the_agent_and_is_asked_once() {
    let other = Refusal::Other(nix::errno::Errno::EEXIST);
    for (refusal, asked_again) in [(Refusal::Unavailable, false), (Refusal::Cipher, false), (other, true)] {
        let ends = ends(V13, None);
        let can = Can { refuses: Some(refusal), ..NEW };
        let (mut far, mut near, shared) = by_kernels(&ends, 1 << 16, (can, can)).await;
        assert!(!far.is_sealed_by_kernel() && !near.is_sealed_by_kernel());
        there_and_back(&mut far, &mut near, 50_000, 999).await;
        let [(sequence, tx), _] = secrets(&ends);
        let key = KernelKey::new(sequence, &tx, V13[0].version).unwrap();
        let able = || Emulated::new(duplex(100).0, NEW);
        assert_eq!(shared.hand_over(&able(), &key), asked_again, "{refusal:?}");
        shared.look_again();
        assert!(shared.hand_over(&able(), &key));
    }
}

#[tokio::test]
async fn short_pieces_travel_together_and_long_ones_behind_them_as_they_lie() {
    let ends = ends(V13, None);
    let (mut far, mut near, _) = by_kernel(&ends, 1 << 20, OLD).await;
    for (pieces, records) in
        [(&[10, 20][..], 1), (&[4000, 4000, 4000], 1), (&[10, 8000], 1), (&[10, 40_000, 7], 4), (&[0], 0)]
    {
        let before = near.sending.records();
        let mut sent = Vec::new();
        for length in pieces {
            near.write_all(&pattern(*length)).await.unwrap();
            sent.extend(pattern(*length));
        }
        near.flush().await.unwrap();
        assert_eq!(near.sending.records() - before, records, "{pieces:?}");
        assert!(read(&mut far, sent.len()).await == sent);
    }
    let both = [IoSlice::new(&[1; 5000]), IoSlice::new(&[2; 3000])];
    assert_eq!(near.write_vectored(&both).await.unwrap(), 8000);
    assert!(read(&mut far, 8000).await == [[1; 5000].as_slice(), &[2; 3000]].concat());
    assert_eq!((near.input.held(), near.sending.held()), (0, 0));
}

/// The end of a connection whose last octets TCP had no room for yet.
#[tokio::test]
async fn nothing_is_cut_off_at_the_end() {
    for versions in [V13, V12] {
        for (length, capacity) in [(10, 400), (100_000, 3000), (16_384, 16_400)] {
            let ends = ends(versions, None);
            let (mut far, mut near, _) = by_kernel(&ends, capacity, OLD).await;
            let sent = pattern(length);
            let send = async {
                near.write_all(&sent).await.unwrap();
                near.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let (_, all) = tokio::join!(send, far.read_to_end(&mut got));
            // With close_notify: it is an error without.
            all.unwrap();
            assert!(got == sent, "{length} {capacity}");
            near.write_all(&[0; 5000]).await.unwrap_err();
            // The other direction is still open.
            far.write_all(b"more").await.unwrap();
            far.flush().await.unwrap();
            assert_eq!(read(&mut near, 4).await, b"more");
        }
        // TCP has room for data and a part of close_notify, and gets more only when the end is under way.
        let (ends, capacity) = (ends(versions, None), 5000);
        let (mut far, mut near, _) = by_kernel(&ends, capacity, OLD).await;
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        read(&mut far, 1).await;
        let layout = far.opener.layout();
        let length = capacity - layout.before - layout.behind - 10;
        near.write_all(&pattern(length)).await.unwrap();
        {
            let mut end = std::pin::pin!(near.shutdown());
            assert!(futures_poll(end.as_mut()).await.is_pending());
            let mut got = Vec::new();
            let (ended, all) = tokio::join!(end, far.read_to_end(&mut got));
            ended.unwrap();
            all.unwrap();
            assert!(got == pattern(length));
        }
    }
}

#[tokio::test]
async fn what_the_peer_did_wrong_is_told_behind_what_waits() {
    let ends = ends(V13, None);
    let (mut far, mut near, _) = by_kernel(&ends, 1 << 16, OLD).await;
    near.write_all(b"before").await.unwrap();
    far.say(99, b"data").await;
    near.read(&mut [0; 9]).await.unwrap_err();
    assert_eq!(read(&mut far, 6).await, b"before");
    let told = far.read(&mut [0]).await.unwrap_err();
    assert_eq!(cause(&told), Error::AlertReceived(AlertDescription::UnexpectedMessage));
}

/// Asks for a new key, and goes on with one of its own.
async fn ask_for_new_key(far: &mut OriginStream<DuplexStream>) {
    far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    far.take_new_key();
    far.say(kind::APPLICATION_DATA, b"x").await;
}

#[tokio::test]
async fn a_kernel_that_takes_another_key_gets_it() {
    let ends = ends(V13, None);
    let (mut far, mut near, shared) = by_kernel(&ends, 1 << 17, NEW).await;
    for round in 1..5 {
        // Also behind what waits.
        near.write_all(b"old").await.unwrap();
        ask_for_new_key(&mut far).await;
        read(&mut near, 1).await;
        near.write_all(&pattern(60_000)).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(read(&mut far, 3).await, b"old");
        assert!(read(&mut far, 60_000).await == pattern(60_000), "{round}");
        assert_eq!((far.opener.sequence(), near.sending.records()), (4, 4), "the key is new");
    }
    // One that only sends gets it, too.
    ask_for_new_key(&mut far).await;
    read(&mut near, 1).await;
    settled(near.get_ref()).await;
    assert!(futures_poll(std::pin::pin!(far.read(&mut [0]))).await.is_pending());
    assert_eq!((far.opener.sequence(), shared.ended().load(std::sync::atomic::Ordering::Relaxed)), (0, 0));
}

fn ended(shared: &KernelSealing) -> u64 {
    shared.ended().load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn a_connection_ends_whose_kernel_takes_no_other_key() {
    let ends = ends(V13, None);
    let (mut far, mut near, shared) = by_kernel(&ends, 1 << 16, OLD).await;
    near.write_all(b"before").await.unwrap();
    ask_for_new_key(&mut far).await;
    // What arrived is no worse for it.
    read(&mut near, 1).await;
    near.write_all(b"with the old key").await.unwrap_err();
    near.write_all(&[0; 5000]).await.unwrap_err();
    near.shutdown().await.unwrap();
    assert_eq!(read(&mut far, 6).await, b"before");
    let told = far.read(&mut [0]).await.unwrap_err();
    assert_eq!(cause(&told), Error::AlertReceived(AlertDescription::InternalError));
    assert_eq!(ended(&shared), 1);

    // It said that it would, and did not: the peer expects the new key, so nothing more is said.
    let (mut far, mut near, shared) = by_kernel(&ends, 1 << 16, Can { renews: false, ..NEW }).await;
    ask_for_new_key(&mut far).await;
    read(&mut near, 1).await;
    near.write_all(&[0; 5000]).await.unwrap_err();
    near.shutdown().await.unwrap_err();
    drop(near);
    assert_eq!(far.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!((far.opener.sequence(), ended(&shared)), (0, 1), "its key update came, and nothing behind it");
}

#[tokio::test]
async fn keys_are_renewed_before_they_are_worn_or_the_connection_ends() {
    let ends13 = ends(V13, None);
    let (mut far, mut near, _) = by_kernel(&ends13, 1 << 16, NEW).await;
    near.control.limit = 4;
    there_and_back(&mut far, &mut near, 900_000, 70_000).await;
    assert_eq!(near.get_ref().most(), 4);
    for (versions, told) in [(V13, Some(AlertDescription::InternalError)), (V12, None)] {
        let ends = ends(versions, None);
        let (mut far, mut near, shared) = by_kernel(&ends, 1 << 20, OLD).await;
        near.control.limit = near.sending.records() + 4;
        // In one piece: no more records are made of it than the key may protect.
        let mut sent = 0;
        let big = pattern(200_000);
        let error = loop {
            match near.write(&big[sent..]).await {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!((sent, ended(&shared)), (3 * MAX_PLAINTEXT, 1), "{error}");
        assert!(read(&mut far, sent).await == big[..sent]);
        if let Some(alert) = told {
            let told = cause(&far.read(&mut [0]).await.unwrap_err());
            assert_eq!(told, Error::AlertReceived(alert));
        }
        assert!(near.get_ref().most() <= 4);
    }
}
