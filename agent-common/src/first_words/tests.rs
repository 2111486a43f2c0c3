//! Hellos, whole and cut, and shapes that two readers could take differently.

extern crate std;
use super::*;
use crate::domain::{DomainKey, MAX_NAME};
use std::string::String;
use std::vec::Vec;

fn record(message: &[u8]) -> Vec<u8> {
    let mut out = std::vec![22, 3, 1];
    out.extend((message.len() as u16).to_be_bytes());
    out.extend(message);
    out
}

/// A hello with a key share of `padding` bytes before its name.
fn hello(name: Option<&str>, padding: usize) -> Vec<u8> {
    let mut extensions = std::vec![0, 51];
    extensions.extend((padding as u16).to_be_bytes());
    extensions.resize(4 + padding, 5);
    if let Some(name) = name {
        let length = name.len() as u16;
        for part in [[0, 0], (length + 5).to_be_bytes(), (length + 3).to_be_bytes()] {
            extensions.extend(part);
        }
        extensions.push(0);
        extensions.extend(length.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    let mut body = std::vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut out = std::vec![1, 0];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

fn of(bytes: &[u8]) -> (Words, Vec<u8>) {
    let mut name = NameBuffer::new();
    let words = read(bytes, &mut name);
    let key = name.key();
    (words, key.bytes[..key.bits as usize / 8].to_vec())
}

#[track_caller]
fn check_name(bytes: &[u8], name: &str) {
    let (words, key) = of(bytes);
    assert_eq!(words, Words::Name, "{}", String::from_utf8_lossy(bytes));
    assert_eq!(key, DomainKey::name(name.as_bytes()).unwrap().as_bytes());
}

#[test]
fn a_hello_names_its_server_and_every_prefix_needs_more() {
    for padding in [0, 1300, 3900] {
        let bytes = record(&hello(Some("Files.CORP.test"), padding));
        check_name(&bytes, "files.corp.test");
        for cut in 0..bytes.len() {
            assert_eq!(of(&bytes[..cut]).0, Words::More, "{cut} of {}", bytes.len());
        }
    }
    check_name(&record(&hello(Some("files.corp.test."), 9)), "files.corp.test");
    assert_eq!(of(&record(&hello(None, 9))).0, Words::Nameless);
}

#[test]
fn a_hello_that_only_userspace_can_put_together_is_unreadable() {
    let message = hello(Some("files.corp.test"), 100);
    let mut halves = record(&message[..60]);
    halves.extend(record(&message[60..]));
    assert_eq!(of(&halves).0, Words::Unreadable);
    assert_eq!(of(&record(&hello(Some("files.corp.test"), limits::NET_BYTES))).0, Words::Unreadable);
    assert_eq!(of(&record(&hello(Some(&"a".repeat(MAX_NAME + 1)), 0))).0, Words::Unreadable);
    assert_eq!(of(&record(&[2; 40])).0, Words::Unreadable);
}

#[test]
fn what_is_neither_hello_nor_request() {
    for (bytes, expected) in [
        ("", Words::More),
        ("SSH-2.0-OpenSSH_9\r\n", Words::Other),
        ("get / HTTP/1.1\r\nHost: files.corp.test\r\n\r\n", Words::Other),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n", Words::Other),
        ("\0\0\0\x10binary", Words::Other),
        ("\x16\x02\0\0\x10", Words::Other),
    ] {
        assert_eq!(of(bytes.as_bytes()).0, expected, "{bytes:?}");
    }
}

#[test]
fn a_request_names_its_host_and_every_prefix_needs_more() {
    for head in [
        "GET / HTTP/1.1\r\nHost: Files.CORP.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHOST:files.corp.test:80\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nAccept: */*\r\nhost: \t files.corp.test \r\n\r\n",
        "GET /?host:no HTTP/1.1\nX-Host: no\nA: host:no\nHost: files.corp.test.\n\n",
        "POST / HTTP/1.0\r\nHost: files.corp.test\r\nHost: other.test\r\n\r\nbody",
    ] {
        check_name(head.as_bytes(), "files.corp.test");
        let end = head.to_ascii_lowercase().find("files.corp.test").unwrap() + "files.corp.test".len();
        for cut in 0..end {
            assert_eq!(of(&head.as_bytes()[..cut]).0, Words::More, "{cut} of {head:?}");
        }
    }
}

#[test]
fn a_host_is_looked_for_in_the_head_alone() {
    for head in [
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.0\r\nA: b\r\n\r\n\r\nHost: files.corp.test\r\n",
        "POST / HTTP/1.0\nA: b\n\nHost: files.corp.test\r\n",
        "GET / HTTP/1.1\r\nHost: [fd18::1]:80\r\n\r\n",
    ] {
        assert_eq!(of(head.as_bytes()).0, Words::Nameless, "{head:?}");
    }
}

#[test]
fn a_request_that_servers_read_in_several_ways_is_unreadable() {
    for head in [
        "\r\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET http://files.corp.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "CONNECT files.corp.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n files.corp.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:           files.corp.test\r\n\r\n",
    ] {
        assert_eq!(of(head.as_bytes()).0, Words::Unreadable, "{head:?}");
    }
    let long = std::format!("GET / HTTP/1.1\r\nCookie: {}", "a".repeat(limits::NET_BYTES));
    assert_eq!(of(&long.as_bytes()[..limits::NET_BYTES]).0, Words::Unreadable);
    let name = std::format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(MAX_NAME + 1));
    assert_eq!(of(name.as_bytes()).0, Words::Unreadable);
}
