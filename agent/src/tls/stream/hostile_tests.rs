//! What a peer may do beside its handshake to make us work, hold memory, or believe something, and what comes of it.

use std::io::IoSlice;
use std::time::Duration;

use proptest::prelude::*;
use rustls::{AlertDescription, PeerMisbehaved, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::buffers::{BUFFER, WAITING};
use super::tests::{V12, V13, cause, ends, ours, pattern, says_to};
use super::*;

/// What is broken, in which version, the records that do it, and the alert for it.
type Case<'a> = (&'a str, &'a [&'static SupportedProtocolVersion], &'a [(u8, &'a [u8])], AlertDescription);

#[tokio::test]
async fn peers_that_break_the_rules_are_told_so_and_refused() {
    const UPDATE: &[u8] = &[24, 0, 0, 1, 1];
    let oversized = vec![7; MAX_PLAINTEXT + 1];
    let data: &[u8] = b"data";
    let cases: [Case<'_>; 13] = [
        ("too long inside", V13, &[(23, &oversized)], AlertDescription::RecordOverflow),
        ("too long inside", V12, &[(23, &oversized)], AlertDescription::RecordOverflow),
        ("an unknown kind", V13, &[(99, data)], AlertDescription::UnexpectedMessage),
        ("nothing but padding", V13, &[(0, &[0; 20])], AlertDescription::UnexpectedMessage),
        ("a hello anew", V13, &[(22, &[1, 0, 0, 1, 0])], AlertDescription::UnexpectedMessage),
        ("a ticket to a server", V13, &[(22, &[4, 0, 0, 1, 0])], AlertDescription::UnexpectedMessage),
        ("an empty fragment", V13, &[(22, &[])], AlertDescription::DecodeError),
        ("data within a message", V13, &[(22, &[24, 0]), (23, data)], AlertDescription::UnexpectedMessage),
        (
            "more behind a key update",
            V13,
            &[(22, &[24, 0, 0, 1, 0, 24])],
            AlertDescription::UnexpectedMessage,
        ),
        ("a key update that asks for 2", V13, &[(22, &[24, 0, 0, 1, 2])], AlertDescription::DecodeError),
        ("a message of 16 MiB", V13, &[(22, &[24, 255, 255, 255, 0])], AlertDescription::DecodeError),
        ("half an alert", V13, &[(21, &[1])], AlertDescription::DecodeError),
        ("a key update in TLS 1.2", V12, &[(22, UPDATE)], AlertDescription::UnexpectedMessage),
    ];
    for (what, versions, records, alert) in cases {
        let (failed, told) = says_to(versions, records).await;
        assert_eq!(told, Some(Error::AlertReceived(alert)), "{what}: {failed:?}");
    }
}

#[tokio::test]
async fn floods_beside_the_data_end() {
    const WARNING: (u8, &[u8]) = (21, &[1, 100]);
    const HELLO: (u8, &[u8]) = (22, &[1, 0, 0, 1, 0]);
    let (failed, _) = says_to(V12, &[WARNING; 5]).await;
    assert_eq!(failed, PeerMisbehaved::TooManyWarningAlertsReceived.into());
    let (failed, told) = says_to(V12, &[HELLO; 2]).await;
    assert_eq!(failed, PeerMisbehaved::TooManyRenegotiationRequests.into());
    assert_eq!(told, Some(Error::AlertReceived(AlertDescription::UnexpectedMessage)));
    // What ends the connection is not answered.
    let (failed, told) = says_to(V13, &[(21, &[1, 40])]).await;
    assert_eq!((failed, told), (Error::AlertReceived(AlertDescription::HandshakeFailure), None));

    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    for _ in 0..33 {
        far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 0]).await;
        far.take_new_key();
    }
    let failed = near.read(&mut [0]).await.unwrap_err();
    assert_eq!(cause(&failed), PeerMisbehaved::TooManyKeyUpdateRequests.into());
}

#[tokio::test]
async fn a_record_that_was_touched_or_is_too_long_is_refused_before_it_counts() {
    for versions in [V13, V12] {
        let ends = ends(versions, None);
        let (mut far, mut near) = ours(&ends, 1 << 20).await;
        far.say_broken().await;
        assert_eq!(cause(&near.read(&mut [0; 64]).await.unwrap_err()), Error::DecryptError);
        let told = far.read(&mut [0]).await.unwrap_err();
        assert_eq!(cause(&told), Error::AlertReceived(AlertDescription::BadRecordMac));

        let (mut far, mut near) = ours(&ends, 1 << 20).await;
        far.stream.write_all(&[23, 3, 3, 0xff, 0xff]).await.unwrap();
        assert_eq!(cause(&near.read(&mut [0; 64]).await.unwrap_err()), Error::PeerSentOversizedRecord);
        let (mut far, mut near) = ours(&ends, 1 << 20).await;
        far.stream.write_all(&[20, 3, 3, 0, 1, 1]).await.unwrap();
        let failed = cause(&near.read(&mut [0; 64]).await.unwrap_err());
        assert!(matches!(failed, Error::InappropriateMessage { .. }), "{failed:?}");
        // Shorter than its tag.
        let (mut far, mut near) = ours(&ends, 1 << 20).await;
        far.stream.write_all(&[23, 3, 3, 0, 3, 1, 2, 3]).await.unwrap();
        assert_eq!(cause(&near.read(&mut [0; 64]).await.unwrap_err()), Error::DecryptError);
    }
}

#[tokio::test]
async fn records_without_data_end_after_some_in_a_row() {
    for versions in [V13, V12] {
        let (failed, told) = says_to(versions, &[(kind::APPLICATION_DATA, b"".as_slice()); 65]).await;
        assert_eq!(failed, PeerMisbehaved::TooManyEmptyFragments.into());
        assert_eq!(told, Some(Error::AlertReceived(AlertDescription::UnexpectedMessage)));
    }
    // A message in pieces of one octet, and key updates that empty records would excuse.
    let mut pieces = vec![(kind::HANDSHAKE, [24].as_slice()), (kind::HANDSHAKE, [0, 1].as_slice())];
    pieces.extend([(kind::HANDSHAKE, [0].as_slice()); 70]);
    let (failed, _) = says_to(V13, &pieces).await;
    assert_eq!(failed, PeerMisbehaved::TooManyEmptyFragments.into());

    // With data in between they are lawful.
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    for _ in 0..5 {
        for _ in 0..60 {
            far.say(kind::APPLICATION_DATA, b"").await;
        }
        far.say(kind::APPLICATION_DATA, b"x").await;
        assert_eq!(near.read(&mut [0; 9]).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn empty_records_do_not_excuse_key_updates() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    for _ in 0..40 {
        far.say(kind::APPLICATION_DATA, b"").await;
        far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 0]).await;
        far.take_new_key();
    }
    let failed = cause(&near.read(&mut [0]).await.unwrap_err());
    assert!(matches!(failed, Error::PeerMisbehaved(_)), "{failed:?}");
}

#[tokio::test]
async fn a_client_that_is_flooded_with_tickets_goes_away() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    // Lifetime, age_add, nonce, ticket, extensions (RFC 8446 section 4.6.1).
    let ticket = [4, 0, 0, 15, 0, 0, 0, 9, 1, 2, 3, 4, 1, 7, 0, 1, 7, 0, 0];
    for _ in 0..70 {
        near.say(kind::HANDSHAKE, &ticket).await;
    }
    let failed = cause(&far.read(&mut [0]).await.unwrap_err());
    assert_eq!(failed, PeerMisbehaved::TooManyEmptyFragments.into());
}

#[tokio::test]
async fn padding_counts_towards_the_length_of_a_record() {
    // The record's own type is the last zero of the padding; the true one stands within.
    let padded = |length: usize| {
        let mut content = vec![0; length];
        content[..5].copy_from_slice(b"data\x17");
        content
    };
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 20).await;
    far.say(0, &padded(MAX_PLAINTEXT)).await;
    let mut got = [0; 64];
    assert_eq!(near.read(&mut got).await.unwrap(), 4);
    assert_eq!(&got[..4], b"data");
    let (failed, told) = says_to(V13, &[(0, &padded(MAX_PLAINTEXT + 1))]).await;
    assert_eq!(failed, Error::PeerSentOversizedRecord);
    assert_eq!(told, Some(Error::AlertReceived(AlertDescription::RecordOverflow)));
}

#[tokio::test]
async fn a_connection_that_failed_takes_no_more_even_with_its_buffer_full() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 4096).await;
    far.say(99, b"data").await;
    // More than pipe and buffer hold: the rest waits.
    let much = pattern(3 * BUFFER);
    let full = tokio::time::timeout(Duration::from_millis(50), near.write_all(&much)).await;
    assert!(full.is_err() && !near.sending.has_room());
    near.read(&mut [0; 9]).await.unwrap_err();
    let mut far_reads = tokio::spawn(async move {
        let mut all = Vec::new();
        (far.read_to_end(&mut all).await.map_err(|error| cause(&error)), all)
    });
    near.flush().await.unwrap();
    near.write_all(b"more").await.unwrap_err();
    let (end, all) = (&mut far_reads).await.unwrap();
    assert_eq!(end, Err(Error::AlertReceived(AlertDescription::UnexpectedMessage)));
    // A write that was given up leaves whole records behind, in order.
    assert!(much.starts_with(&all) && !all.is_empty());
}

#[tokio::test]
async fn data_arrives_where_the_answer_to_a_key_update_does_not() {
    let ends = ends(V13, None);
    let (mut far, mut near) = ours(&ends, 1 << 16).await;
    far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    far.take_new_key();
    far.say(kind::APPLICATION_DATA, b"last words").await;
    far.shutdown().await.unwrap();
    drop(far);
    let mut all = Vec::new();
    near.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"last words");
    assert_eq!(near.input.held(), 0);
    near.write_all(b"nobody").await.unwrap();
    near.flush().await.unwrap_err();
}

#[tokio::test]
async fn nothing_is_sealed_for_nothing() {
    let ends = ends(V13, None);
    let (_far, mut near) = ours(&ends, 1 << 16).await;
    let before = near.sending.records();
    assert_eq!(near.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"")]).await.unwrap(), 0);
    assert_eq!(near.write(b"").await.unwrap(), 0);
    assert_eq!(near.sending.records(), before);
}

#[test]
fn more_than_a_buffer_behind_the_handshake_leaves_room_to_read_on() {
    let mut queue = Queue::with(vec![7; BUFFER + 10]);
    queue.consume(BUFFER + 4);
    assert!(queue.whole_room().len() >= BUFFER);
    assert_eq!(queue.front(), [7; 6]);
}

#[test]
fn only_some_keep_a_whole_buffer_while_they_wait_for_the_rest_of_a_record() {
    let waiting = || {
        let mut queue = Queue::default();
        queue.room()[..6].copy_from_slice(&[7; 6]);
        queue.filled(6);
        queue.settle();
        queue.settle();
        assert_eq!(queue.front(), [7; 6]);
        queue
    };
    let mut queues: Vec<Queue> = (0..WAITING).map(|_| waiting()).collect();
    assert!(queues.iter().all(|queue| queue.held() == BUFFER));
    assert_eq!(waiting().held(), 6);
    // One that goes on, is done or ends makes place for another.
    queues[0].room();
    queues[1].consume(6);
    queues[1].settle();
    queues.pop();
    let more: Vec<usize> = (0..4).map(|_| waiting()).collect::<Vec<_>>().iter().map(Queue::held).collect();
    assert_eq!(more, [BUFFER, BUFFER, BUFFER, 6]);
}

/// A first flight in records of one octet each.
#[tokio::test]
async fn a_hello_in_crumbs_is_read_or_refused_within_its_bound() {
    let ends = ends(V13, None);
    let (mut far, near) = duplex(1 << 20);
    let mut hello = vec![1, 0, 0x3f, 0xf0];
    hello.resize(16_000, 0);
    let crumbs: Vec<u8> = hello.iter().flat_map(|octet| [22, 3, 1, 0, 1, *octet]).collect();
    far.write_all(&crumbs).await.unwrap();
    far.shutdown().await.unwrap();
    ClientStream::accept(ends.server.clone(), near, None).await.unwrap_err();
}

fn records() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = prop_oneof![Just(20u8), Just(21), Just(22), Just(22), Just(23), Just(0), any::<u8>()];
    let octet = prop_oneof![0u8..5, Just(24), any::<u8>()];
    prop::collection::vec((kind, prop::collection::vec(octet, 0..24)), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Records with a lawful seal and any content, and octets without: an end or data, never a panic or a wait.
    #[test]
    fn any_record_is_answered_by_data_or_an_end(
        records in records(),
        raw in prop::collection::vec(any::<u8>(), 0..80),
        is_new in any::<bool>(),
        room in 1usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ends = ends(if is_new { V13 } else { V12 }, None);
            let (mut far, mut near) = ours(&ends, 1 << 20).await;
            let mut most = 0;
            for (kind, content) in &records {
                far.say(*kind, content).await;
                most += content.len();
            }
            far.stream.write_all(&raw).await.unwrap();
            drop(far);
            let (mut piece, mut got) = (vec![0; room], 0);
            loop {
                match near.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => got += count,
                }
            }
            assert!(got <= most);
        });
    }
}
