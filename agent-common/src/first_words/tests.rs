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
fn what_is_no_hello() {
    for (bytes, expected) in [
        ("", Words::More),
        ("GET / HTTP/1.1\r\nHost: files.corp.test\r\n\r\n", Words::Request),
        ("SSH-2.0-OpenSSH_9\r\n", Words::Request),
        ("\0\0\0\x10binary", Words::Other),
        ("\x16\x02\0\0\x10", Words::Other),
    ] {
        assert_eq!(of(bytes.as_bytes()).0, expected, "{bytes:?}");
    }
}
