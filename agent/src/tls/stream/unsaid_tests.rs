//! The end of a handshake, which waits for the first data.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::tests::{V12, V13, connect, ends, name, ours};
use super::*;

/// How many octets come within a moment in which everything else goes on.
async fn arriving(pipe: &mut DuplexStream) -> usize {
    let mut octets = vec![0; 1 << 16];
    let read = timeout(Duration::from_millis(50), pipe.read(&mut octets));
    read.await.map_or(0, Result::unwrap)
}

/// Everything that `server` has to say.
async fn say(server: &mut rustls::ServerConnection, pipe: &mut DuplexStream) {
    let mut said = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut said).unwrap();
    }
    pipe.write_all(&said).await.unwrap();
}

/// The first flight of `server`, behind the client's.
async fn answer_hello(server: &mut rustls::ServerConnection, pipe: &mut DuplexStream) {
    let mut hello = vec![0; 1 << 16];
    let count = pipe.read(&mut hello).await.unwrap();
    server.read_tls(&mut &hello[..count]).unwrap();
    server.process_new_packets().unwrap();
    say(server, pipe).await;
}

#[tokio::test]
async fn the_end_of_a_handshake_goes_with_the_first_data_or_once_a_read_waits() {
    for reads in [false, true] {
        let ends = ends(V13, None);
        let (mut far, near) = duplex(1 << 16);
        let mut server = rustls::ServerConnection::new(ends.server.clone()).unwrap();
        let connect = async { OriginStream::connect(ends.client.clone(), name(), near, None).await.unwrap() };
        let (mut origin, ()) = tokio::join!(connect, answer_hello(&mut server, &mut far));
        assert_eq!(arriving(&mut far).await, 0, "nothing goes out by itself");
        assert!(origin.has_unsaid());
        assert!(poll_fn(|cx| Poll::Ready(origin.poll_heard(cx))).await.is_pending());
        assert_eq!(arriving(&mut far).await, 0, "nor with a look");
        if reads {
            // What it reads for never comes.
            let waits = origin.read_u8();
            assert!(timeout(Duration::from_millis(20), waits).await.is_err());
        } else {
            origin.write_all(b"request").await.unwrap();
            origin.flush().await.unwrap();
        }
        assert!(!origin.has_unsaid());
        let mut sent = vec![0; 1 << 16];
        let count = far.read(&mut sent).await.unwrap();
        let mut sent = &sent[..count];
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
        }
        let state = server.process_new_packets().unwrap();
        assert!(!server.is_handshaking());
        assert_eq!(state.plaintext_bytes_to_read(), if reads { 0 } else { "request".len() });
        // What a look found is a reader's.
        io::Write::write_all(&mut server.writer(), b"answer").unwrap();
        say(&mut server, &mut far).await;
        poll_fn(|cx| origin.poll_heard(cx)).await;
        let mut answer = [0; 6];
        origin.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    }
}

#[tokio::test]
async fn tickets_go_with_the_first_data_and_in_tls_1_2_nothing_waits() {
    for (versions, waits) in [(V13, true), (V12, false)] {
        let ends = ends(versions, None);
        let (far, near) = duplex(1 << 16);
        let (mut far, near) =
            tokio::join!(connect(&ends, far), ClientStream::accept(ends.server.clone(), near, None));
        let mut near = near.unwrap();
        assert_eq!(near.has_unsaid(), waits);
        assert_eq!(arriving(&mut far.stream).await, 0);
        near.write_all(b"response").await.unwrap();
        near.flush().await.unwrap();
        assert!(!near.has_unsaid());
        let mut got = [0; 8];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"response");
        // The tickets came with it.
        let (far, _near) = ours(&ends, 1 << 16).await;
        assert!(far.negotiated().resumed);
    }
}

#[tokio::test]
async fn it_is_not_forgotten_where_the_pipe_is_full_nor_held_back_by_what_came_early() {
    let ends = ends(V13, None);
    let mut config = ServerConfig::clone(&ends.server);
    config.send_half_rtt_data = true;
    let (mut far, near) = duplex(8192);
    let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    io::Write::write_all(&mut server.writer(), b"early").unwrap();
    let connect = async { OriginStream::connect(ends.client.clone(), name(), near, None).await.unwrap() };
    let (mut origin, ()) = tokio::join!(connect, answer_hello(&mut server, &mut far));
    assert!(origin.has_unsaid(), "whatever came with the server's flight");
    assert!(poll_fn(|cx| Poll::Ready(origin.poll_heard(cx))).await.is_ready());
    // Octets of others until there is no room for it.
    let filled = poll_fn(|cx| {
        let mut filled = 0;
        while let Poll::Ready(count) = Pin::new(&mut origin.stream).poll_write(cx, &[0; 100]) {
            filled += count.unwrap();
        }
        Poll::Ready(filled)
    })
    .await;
    let mut early = [0; 5];
    origin.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    let mut waits = async || assert!(timeout(Duration::from_millis(20), origin.read_u8()).await.is_err());
    waits().await;
    let mut between = vec![0; filled];
    far.read_exact(&mut between).await.unwrap();
    assert_eq!(arriving(&mut far).await, 0);
    waits().await;
    assert!(!origin.has_unsaid());
    assert_ne!(arriving(&mut far).await, 0);
}

#[tokio::test]
async fn who_asks_for_new_keys_is_answered_behind_tickets_that_wait() {
    let ends = ends(V13, None);
    let (far, near) = duplex(1 << 16);
    let (mut far, near) =
        tokio::join!(connect(&ends, far), ClientStream::accept(ends.server.clone(), near, None));
    let mut near = near.unwrap();
    far.say(kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
    assert!(timeout(Duration::from_millis(20), near.read_u8()).await.is_err());
    assert!(!near.has_unsaid());
    assert_ne!(arriving(&mut far.stream).await, 0);
}
