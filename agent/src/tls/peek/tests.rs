//! Peeks over in-memory streams: whole, byte by byte, cut into records, and what is no hello.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::tls::provider;

const SOON: PeekDeadlines =
    PeekDeadlines { first_byte: Duration::from_millis(60), total: Duration::from_millis(120) };

/// A real hello of rustls, as one record.
fn hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(provider::VERSIONS)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of `size` bytes.
fn cut(record: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in record[RECORD_HEADER..].chunks(size) {
        out.extend_from_slice(&[0x16, 3, 1]);
        out.extend_from_slice(&(piece.len() as u16).to_be_bytes());
        out.extend_from_slice(piece);
    }
    out
}

/// Peeks at `sent`, after which the client closes.
async fn peek_at(sent: &[u8]) -> Peeked {
    let (mut far, mut near) = duplex(1 << 20);
    far.write_all(sent).await.unwrap();
    drop(far);
    peek(&mut near, PeekDeadlines::default()).await
}

#[track_caller]
fn expect_hello(peeked: Peeked, name: &str, sent: &[u8]) {
    match peeked {
        Peeked::Tls { hello, bytes } => {
            assert_eq!(hello.server_name, ServerName::Name(name.to_owned()));
            assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
            assert!(!hello.encrypted);
            assert_eq!(bytes, sent);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hello_is_found_and_every_byte_is_kept() {
    let sent = hello("Files.Corp.Test", &[b"h2", b"http/1.1"]);
    expect_hello(peek_at(&sent).await, "files.corp.test", &sent);
}

#[tokio::test]
async fn bytes_beyond_the_hello_are_kept_too() {
    let mut sent = hello("files.corp.test", &[b"h2", b"http/1.1"]);
    sent.extend_from_slice(b"\x14\x03\x03\x00\x01\x01");
    expect_hello(peek_at(&sent).await, "files.corp.test", &sent);
}

#[tokio::test]
async fn records_may_cut_the_hello_anywhere() {
    let whole = hello("files.corp.test", &[b"h2", b"http/1.1"]);
    for size in [4, 5, 9, 100, 1000] {
        let sent = cut(&whole, size);
        expect_hello(peek_at(&sent).await, "files.corp.test", &sent);
    }
}

#[tokio::test]
async fn segments_may_cut_the_hello_anywhere() {
    let sent = hello("files.corp.test", &[b"h2", b"http/1.1"]);
    let (mut far, mut near) = duplex(1);
    let writer = sent.clone();
    let task = tokio::spawn(async move { far.write_all(&writer).await.map(|()| far) });
    expect_hello(peek(&mut near, PeekDeadlines::default()).await, "files.corp.test", &sent);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn every_prefix_is_no_hello_yet() {
    let sent = hello("files.corp.test", &[b"h2"]);
    for end in 0..sent.len() {
        assert_eq!(peek_at(&sent[..end]).await, Peeked::Closed { bytes: sent[..end].to_vec() }, "{end}");
    }
}

#[tokio::test]
async fn plain_text_is_told_at_the_first_byte() {
    assert_eq!(peek_at(b"G").await, Peeked::Plain { bytes: b"G".to_vec() });
    assert_eq!(peek_at(b"GET / HTTP/1.1\r\n").await, Peeked::Plain { bytes: b"GET / HTTP/1.1\r\n".to_vec() });
    // SSLv2 hello.
    assert!(matches!(peek_at(&[0x80, 0x2e, 1, 0, 2]).await, Peeked::Plain { .. }));
}

#[tokio::test]
async fn what_only_begins_like_tls_is_malformed() {
    let mut other_type = hello("files.corp.test", &[]);
    other_type[RECORD_HEADER] = 2;
    for sent in [&[0x16, 9][..], &[0x16, 3, 1, 0, 0], &other_type] {
        assert_eq!(peek_at(sent).await, Peeked::Malformed { bytes: sent.to_vec() });
    }
}

#[tokio::test]
async fn an_announced_excess_is_refused_at_once() {
    let sent = [0x16, 3, 1, 0, 4, 1, 1, 0, 0];
    assert_eq!(peek_at(&sent).await, Peeked::TooLarge { bytes: sent.to_vec() });
}

#[tokio::test]
async fn many_tiny_records_are_refused_within_the_bound() {
    let mut sent = cut(&[&[0; 5][..], &[1, 0, 255, 255], &vec![0; 65_000]].concat(), 1);
    sent.truncate(PEEK_BYTES + 10_000);
    match peek_at(&sent).await {
        Peeked::TooLarge { bytes } => assert!(bytes.len() <= PEEK_BYTES, "{}", bytes.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_large_hello_within_the_bound_is_read() {
    // Padding (RFC 7685) as the last extension, up to 60 000 bytes.
    let mut message = hello("files.corp.test", &[b"h2", b"http/1.1"])[RECORD_HEADER..].to_vec();
    let padding = 60_000 - message.len();
    message.extend_from_slice(&21u16.to_be_bytes());
    message.extend_from_slice(&(padding as u16).to_be_bytes());
    message.resize(message.len() + padding, 0);
    let length = (message.len() - 4) as u32;
    message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
    let session = 39 + message[38] as usize;
    let suites = session + 2 + u16::from_be_bytes([message[session], message[session + 1]]) as usize;
    let extensions = suites + 1 + message[suites] as usize;
    let rest = (message.len() - extensions - 2) as u16;
    message[extensions..extensions + 2].copy_from_slice(&rest.to_be_bytes());
    let sent = cut(&[&[0; 5][..], &message].concat(), 16_384);
    expect_hello(peek_at(&sent).await, "files.corp.test", &sent);
}

#[tokio::test]
async fn an_address_sends_no_name_and_a_strange_name_is_unusable() {
    match peek_at(&hello("192.0.2.1", &[])).await {
        Peeked::Tls { hello, .. } => assert_eq!(hello.server_name, ServerName::Absent),
        other => panic!("{other:?}"),
    }
    let mut sent = hello("files.corp.test", &[]);
    let at = sent.windows(15).position(|w| w == b"files.corp.test").unwrap();
    sent[at] = b'\0';
    match peek_at(&sent).await {
        Peeked::Tls { hello, .. } => assert_eq!(hello.server_name, ServerName::Unusable),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn silence_ends_at_the_first_deadline_and_a_trickle_at_the_second() {
    let (_far, mut near) = duplex(64);
    let start = Instant::now();
    assert_eq!(peek(&mut near, SOON).await, Peeked::TimedOut { bytes: Vec::new() });
    assert!(start.elapsed() >= SOON.first_byte && start.elapsed() < SOON.total);

    let (mut far, mut near) = duplex(64);
    let start = Instant::now();
    let trickle = tokio::spawn(async move {
        for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc].into_iter().cycle() {
            if far.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(matches!(peek(&mut near, SOON).await, Peeked::TimedOut { bytes } if !bytes.is_empty()));
    assert!(start.elapsed() >= SOON.total);
    drop(near);
    trickle.await.unwrap();
}
