//! Hand-made hellos: every prefix, and lengths that lie.

extern crate std;
use super::*;
use std::vec::Vec;

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

fn server_name(name: &str) -> Vec<u8> {
    let mut data = ((name.len() + 3) as u16).to_be_bytes().to_vec();
    data.push(0);
    data.extend((name.len() as u16).to_be_bytes());
    data.extend(name.as_bytes());
    extension(0, &data)
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = std::vec![3, 3];
    body.extend([7; 32]);
    body.extend([32].iter().chain([9; 32].iter()));
    body.extend([0, 4, 0x13, 1, 0x13, 2]);
    body.extend([1, 0]);
    let extensions: Vec<u8> = extensions.concat();
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    let mut out = std::vec![1, 0];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

fn full() -> Vec<u8> {
    // A post-quantum key share makes the message larger than one segment.
    hello(&[
        extension(0x2a2a, &[]),
        extension(51, &[5; 1300]),
        server_name("files.corp.test"),
        extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        extension(0xfe0d, &[1; 64]),
    ])
}

#[test]
fn name_alpn_and_ech_are_found_and_every_prefix_needs_more() {
    let bytes = full();
    let Outcome::Found(found) = parse(&bytes[..]) else { panic!("not found") };
    let name = found.server_name.unwrap();
    assert_eq!(&bytes[name.at..][..name.length], b"files.corp.test");
    let alpn = found.alpn.unwrap();
    let list: Vec<&[u8]> = protocols(&bytes[alpn.at..][..alpn.length]).collect();
    assert_eq!(list, [&b"h2"[..], b"http/1.1"]);
    assert!(found.encrypted);
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Outcome::NeedMore, "{cut}");
    }
}

#[test]
fn a_hello_without_name_or_extensions_is_found_without_a_name() {
    assert_eq!(parse(&hello(&[])[..]), Outcome::Found(Hello::default()));
    let Outcome::Found(found) = parse(&hello(&[extension(43, &[2, 3, 4])])[..]) else { panic!() };
    assert_eq!(found.server_name, None);
}

#[test]
fn contradictions_are_refused() {
    let twice = hello(&[server_name("a.test"), server_name("b.test")]);
    assert_eq!(parse(&twice[..]), Outcome::NotHello);
    let two_names = hello(&[extension(0, b"\0\x0c\0\0\x03a.b\0\0\x03c.d")]);
    assert_eq!(parse(&two_names[..]), Outcome::NotHello);
    assert_eq!(parse(&hello(&[extension(0, b"\0\x03\0\0\0")])[..]), Outcome::NotHello);
    assert_eq!(parse(&hello(&[extension(0, b"")])[..]), Outcome::NotHello);
    let many: Vec<Vec<u8>> = (0..=limits::HELLO_EXTENSIONS as u16).map(|i| extension(100 + i, &[])).collect();
    assert_eq!(parse(&hello(&many)[..]), Outcome::NotHello);
    assert_eq!(parse(&b"GET / HTTP/1.1\r\n"[..]), Outcome::NotHello);
    assert_eq!(parse(&[1, 1, 0, 0][..]), Outcome::NotHello);
}

#[test]
fn flipping_any_byte_never_panics_and_never_points_outside() {
    let bytes = full();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Outcome::Found(found) = parse(&changed[..]) {
                for span in [found.server_name, found.alpn].into_iter().flatten() {
                    assert!(span.at + span.length <= changed.len());
                }
            }
        }
    }
}

#[test]
fn records_tell_their_length_or_that_they_are_something_else() {
    assert_eq!(record_length(&[22, 3, 1, 2, 0][..], 0), Some(Ok(512)));
    assert_eq!(record_length(&[22, 3, 1][..], 0), None);
    assert_eq!(record_length(&[][..], 0), None);
    assert_eq!(record_length(&b"GET"[..], 0), Some(Err(NotHello)));
    assert_eq!(record_length(&[22, 3, 1, 0, 0][..], 0), Some(Err(NotHello)));
    assert_eq!(record_length(&[22, 9][..], 0), Some(Err(NotHello)));
}
