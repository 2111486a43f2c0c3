//! Answers built by hand: chains, both families, hints, and messages that lie.

extern crate std;
use super::*;
use crate::domain::DomainKey;
use std::net::IpAddr;
use std::vec::Vec;

#[derive(Default)]
struct Seen {
    key: Vec<u8>,
    addresses: Vec<(IpAddr, u32)>,
    refuse: bool,
}

impl Answers for Seen {
    fn question(&mut self, name: &NameBuffer) -> bool {
        self.key = name.key().bytes[..name.key().bits as usize / 8].to_vec();
        !self.refuse
    }
    fn address(&mut self, address: Address, ttl: u32) {
        self.addresses.push((address.to_ip(), ttl));
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

fn answer(question: &str, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = std::vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    out.extend(wire(question));
    out.extend([0, 1, 0, 1]);
    out.extend(records.concat());
    out
}

#[track_caller]
fn check(message: &[u8]) -> Seen {
    let mut seen = Seen::default();
    assert_eq!(parse(message, &mut NameBuffer::new(), &mut seen), Ok(()));
    seen
}

const POINTER: &[u8] = &[0xc0, 12];

#[test]
fn every_address_behind_a_cname_chain_counts_for_the_question() {
    let edge = wire("edge.cdn.test");
    let message = answer(
        "Files.CORP.test",
        &[
            record(POINTER, 5, 60, &edge),
            record(&edge, 1, 60, &[192, 0, 2, 1]),
            record(&edge, 1, 30, &[192, 0, 2, 2]),
            record(&edge, 28, 9, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
        ],
    );
    let seen = check(&message);
    assert_eq!(seen.key, DomainKey::name(b"files.corp.test").unwrap().as_bytes());
    let expected: Vec<(IpAddr, u32)> = std::vec![
        ("192.0.2.1".parse().unwrap(), 60),
        ("192.0.2.2".parse().unwrap(), 30),
        ("2001:db8::7".parse().unwrap(), 9),
    ];
    assert_eq!(seen.addresses, expected);
}

#[test]
fn https_records_give_their_hints() {
    let mut data = std::vec![0, 1, 0];
    data.extend([0, 1, 0, 3, 2, b'h', b'2']);
    data.extend([0, 4, 0, 8, 192, 0, 2, 9, 192, 0, 2, 10]);
    data.extend([0, 6, 0, 16, 0xfd, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    let seen = check(&answer("a.test", &[record(POINTER, 65, 300, &data)]));
    let found: Vec<_> = seen.addresses.iter().map(|(ip, _)| std::format!("{ip}")).collect();
    assert_eq!(found, ["192.0.2.9", "192.0.2.10", "fd18::5"]);
}

#[test]
fn names_of_any_legal_length_have_the_same_key_as_in_userspace() {
    let longest = std::format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    assert_eq!(longest.len(), crate::domain::MAX_NAME);
    for name in ["a", "a.b", "x-1.y_2.example.test", &longest] {
        let seen = check(&answer(name, &[record(POINTER, 1, 1, &[1, 2, 3, 4])]));
        assert_eq!(seen.key, DomainKey::name(name.as_bytes()).unwrap().as_bytes(), "{name}");
        assert_eq!(seen.addresses.len(), 1);
    }
}

#[test]
fn what_is_no_answer_is_skipped() {
    let parse_one = |message: &[u8]| parse(message, &mut NameBuffer::new(), &mut Seen::default());
    let good = answer("a.test", &[record(POINTER, 1, 1, &[1, 2, 3, 4])]);
    for (at, value) in [(2, 0x01), (3, 0x83), (5, 2), (7, 0)] {
        let mut changed = good.clone();
        changed[at] = value;
        assert_eq!(parse_one(&changed), Err(Skip::NotAnAnswer));
    }
    let mut compressed = good.clone();
    compressed[12] = 0xc0;
    assert_eq!(parse_one(&compressed), Err(Skip::Malformed));
    assert_eq!(parse_one(&good[..6]), Err(Skip::NotAnAnswer));
    let mut refusing = Seen { refuse: true, ..Seen::default() };
    assert_eq!(parse(&good[..], &mut NameBuffer::new(), &mut refusing), Err(Skip::NotWanted));
    assert_eq!(refusing.addresses, []);
}

#[test]
fn cut_and_lying_messages_give_no_address_that_is_not_there() {
    let good = answer(
        "files.corp.test",
        &[record(POINTER, 1, 60, &[192, 0, 2, 1]), record(POINTER, 1, 60, &[192, 0, 2, 2])],
    );
    for cut in 0..good.len() {
        let mut seen = Seen::default();
        let _ = parse(&good[..cut], &mut NameBuffer::new(), &mut seen);
        assert!(seen.addresses.len() < 2, "{cut}");
        assert!(seen.addresses.iter().all(|(ip, _)| std::format!("{ip}").starts_with("192.0.2.")));
    }
    let endless: Vec<Vec<u8>> = (0..200).map(|i| record(POINTER, 1, 60, &[10, 0, 0, i])).collect();
    assert_eq!(check(&answer("a.test", &endless)).addresses.len(), crate::limits::DNS_RECORDS);
}

#[test]
fn flipping_any_byte_never_panics() {
    let mut data = std::vec![0, 1, 0, 0, 4, 0, 4, 192, 0, 2, 9];
    data.extend([0, 6, 0, 16].iter().chain([7; 16].iter()));
    let good =
        answer("files.corp.test", &[record(POINTER, 65, 60, &data), record(POINTER, 1, 1, &[1, 2, 3, 4])]);
    for at in 0..good.len() {
        for value in [0, 1, 63, 64, 0xc0, 0xff] {
            let mut changed = good.clone();
            changed[at] = value;
            let _ = parse(&changed[..], &mut NameBuffer::new(), &mut Seen::default());
        }
    }
}

/// RFC 2181 section 8.
#[test]
fn a_ttl_with_the_topmost_bit_is_zero() {
    for (ttl, believed) in [(0, 0), (60, 60), (i32::MAX as u32, i32::MAX as u32), (1 << 31, 0), (u32::MAX, 0)]
    {
        let message = answer("a.test", &[record(&wire("a.test"), TYPE_A, ttl, &[192, 0, 2, 7])]);
        assert_eq!(check(&message).addresses, [("192.0.2.7".parse().unwrap(), believed)], "{ttl}");
    }
}

#[test]
fn questions_for_service_bindings_are_told_from_others() {
    let question = |kind: u16| {
        let mut out = std::vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        out.extend(wire("Files.corp.test"));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out
    };
    for (kind, expected) in [(1, false), (28, false), (64, true), (65, true)] {
        let mut name = NameBuffer::new();
        assert_eq!(asks_for_bindings(&question(kind)[..], &mut name), expected, "{kind}");
        let key = name.key();
        let read = if expected { DomainKey::name(b"files.corp.test") } else { None };
        assert_eq!(
            key.bytes[..key.bits as usize / 8],
            *read.as_ref().map(DomainKey::as_bytes).unwrap_or_default()
        );
    }
    let whole = question(65);
    for cut in 0..whole.len() - 2 {
        assert!(!asks_for_bindings(&whole[..cut], &mut NameBuffer::new()), "{cut}");
    }
    let head = |bytes: &[u8]| <[u8; 12]>::try_from(&bytes[..12]).unwrap();
    assert!(is_question(&head(&whole)) && id(&head(&whole)) == 0x1234);
    assert!(!is_question(&head(&answer("a.test", &[]))));
}
