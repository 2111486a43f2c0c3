//! Data handed on to a connection that the kernel seals for: every octet, in order, whatever the records were.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kernel_model::{Can, NEW, OLD};
use super::kernel_tests::{by_kernel, read};
use super::pass_tests::pass;
use super::tests::{Ends, V12, V13, cause, ends, ours, pattern};
use super::*;

/// Records of these lengths from an origin are handed on to a client that a kernel seals for.
async fn hand_on(
    upstream: &Ends,
    downstream: &Ends,
    lengths: &[usize],
    capacity: usize,
    can: Can,
    limit: u64,
) {
    let (mut from, mut origin) = ours(upstream, capacity).await;
    let (mut client, mut to, _) = by_kernel(downstream, capacity, can).await;
    // Tickets come before data, and would be too long to be handed on.
    origin.say(kind::APPLICATION_DATA, b"x").await;
    read(&mut from, 1).await;
    to.control.limit = to.control.limit.min(limit);
    let sent = pattern(lengths.iter().sum());
    let send = async {
        let mut rest = sent.as_slice();
        for length in lengths {
            let (now, later) = rest.split_at(*length);
            origin.say(kind::APPLICATION_DATA, now).await;
            rest = later;
        }
    };
    let most = sent.len() as u64;
    let ((), moved, got) = tokio::join!(send, pass(&mut from, &mut to, most), read(&mut client, sent.len()));
    assert_eq!(moved.unwrap(), most);
    assert!(got == sent, "{lengths:?}");
    assert!(to.get_ref().most() <= limit);
}

#[tokio::test]
async fn what_is_handed_on_is_sealed_by_the_kernel_from_where_it_was_opened() {
    let bulk: Vec<usize> = std::iter::repeat_n(MAX_PLAINTEXT, 60).collect();
    let small: Vec<usize> = (0..700).map(|number| 1 + number * 37 % 1500).collect();
    let mixed: Vec<usize> = (0..200).map(|number| [1, 9000, 4096, 4095, 16_000][number % 5]).collect();
    for lengths in [&bulk, &small, &mixed] {
        // Versions need not be the same: only plaintext is handed on.
        for (one, other) in [(V13, V13), (V12, V12), (V13, V12), (V12, V13)] {
            for capacity in [3000, 1 << 17] {
                let (one, other) = (ends(one, None), ends(other, None));
                hand_on(&one, &other, lengths, capacity, OLD, u64::MAX).await;
            }
        }
        hand_on(&ends(V13, None), &ends(V13, None), lengths, 1 << 16, NEW, 5).await;
    }
}

#[tokio::test]
async fn records_handed_on_are_put_together() {
    let ends = ends(V13, None);
    let (mut from, mut origin) = ours(&ends, 1 << 20).await;
    let (mut client, mut to, _) = by_kernel(&ends, 1 << 20, OLD).await;
    origin.say(kind::APPLICATION_DATA, b"x").await;
    read(&mut from, 1).await;
    for _ in 0..8 {
        origin.say(kind::APPLICATION_DATA, &pattern(8000)).await;
    }
    let before = to.sending.records();
    assert_eq!(pass(&mut from, &mut to, 64_000).await.unwrap(), 64_000);
    assert_eq!(to.sending.records() - before, 4, "64 000 octets");
    assert_eq!(read(&mut client, 64_000).await.len(), 64_000);
}

#[tokio::test]
async fn a_broken_record_ends_what_is_handed_on_behind_what_came_before() {
    let ends = ends(V13, None);
    let (mut from, mut origin) = ours(&ends, 1 << 20).await;
    let (mut client, mut to, _) = by_kernel(&ends, 1 << 20, OLD).await;
    origin.say(kind::APPLICATION_DATA, b"x").await;
    read(&mut from, 1).await;
    origin.say(kind::APPLICATION_DATA, b"good").await;
    origin.say_broken().await;
    assert_eq!(pass(&mut from, &mut to, 100).await.unwrap(), 4);
    assert_eq!(cause(&from.read(&mut [0; 9]).await.unwrap_err()), Error::DecryptError);
    drop(to);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(all, b"good");
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_one_buffer_up() {
    let ends = ends(V13, None);
    let (mut from, mut origin) = ours(&ends, 4096).await;
    let (_client, mut to, _) = by_kernel(&ends, 4096, OLD).await;
    origin.say(kind::APPLICATION_DATA, b"x").await;
    read(&mut from, 1).await;
    let sent = pattern(2_000_000);
    let send = origin.write_all(&sent);
    let passing = pass(&mut from, &mut to, sent.len() as u64);
    let both = async { tokio::join!(send, passing) };
    tokio::time::timeout(std::time::Duration::from_millis(50), both).await.unwrap_err();
    let held = from.input.held() + to.sending.held();
    assert!(held <= 2 * buffers::BUFFER, "{held}");
}
