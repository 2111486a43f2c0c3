//! Keys as the kernel takes them: what it makes of them the agent's record layer opens, and no nonce comes twice.

use rustls::{ClientConnection, ServerConnection};

use super::kernel_model::Model;
use super::kernel_tests::SUITES;
use super::tests::{Ends, V12, V13, ends, name};
use super::*;
use crate::tls::kernel::KernelKey;

/// Keys of a connection, the client's for sending and the server's for receiving: the same.
pub(super) fn secrets(ends: &Ends) -> [(u64, rustls::ConnectionTrafficSecrets); 2] {
    let mut client = ClientConnection::new(ends.client.clone(), name()).unwrap();
    let mut server = ServerConnection::new(ends.server.clone()).unwrap();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        server.read_tls(&mut flight.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        client.read_tls(&mut flight.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    [client.dangerous_extract_secrets().unwrap().tx, server.dangerous_extract_secrets().unwrap().rx]
}

#[test]
fn the_kernel_goes_on_where_the_agent_stopped_under_every_suite() {
    for (versions, suite) in SUITES {
        let [(sequence, tx), rx] = secrets(&ends(versions, Some(suite)));
        let version = versions[0].version;
        let key = KernelKey::new(sequence, &tx, version).unwrap();
        let again = KernelKey::new(sequence + 2, &tx, version).unwrap();
        let mut sealer = RecordKey::new((sequence, tx), version).unwrap();
        let mut opener = RecordKey::new(rx, version).unwrap();
        let mut open = |mut record: Vec<u8>| {
            let header = RecordHeader::read(&record).unwrap();
            assert_eq!(record.len(), HEADER + header.length, "{suite:?}");
            let (kind, length) = opener.open_in_place(header, &mut record).unwrap();
            (kind, record[opener.layout().before..][..length].to_vec())
        };
        assert_eq!(sequence, if versions == V13 { 0 } else { 1 }, "{suite:?}");
        for text in ["one", "two"] {
            let mut record = vec![0; 100];
            let length = sealer.seal(kind::APPLICATION_DATA, text.as_bytes(), &mut record).unwrap();
            record.truncate(length);
            assert_eq!(open(record), (kind::APPLICATION_DATA, text.into()));
        }
        let mut kernel = Model::new(&again);
        for (kind, text) in [(kind::APPLICATION_DATA, "three"), (kind::ALERT, "\x01\0"), (23, "five")] {
            assert_eq!(open(kernel.seal(kind, text.as_bytes())), (kind, text.into()), "{suite:?}");
        }
        assert!(!format!("{key:?}").contains("key:"), "{key:?}");
    }
}

/// RFC 5288 section 3: the explicit part must never repeat under a key. What the kernel counts up must not meet what was
/// made of sequence numbers before it.
#[test]
fn no_nonce_of_the_kernel_was_used_by_the_agent() {
    for _ in 0..8 {
        let [(sequence, tx), _] = secrets(&ends(V12, Some(SUITES[3].1)));
        let mut kernel = Model::new(&KernelKey::new(sequence + 1000, &tx, V12[0].version).unwrap());
        let mut agent = RecordKey::new((0, tx), V12[0].version).unwrap();
        let explicit = |record: &[u8]| u64::from_be_bytes(record[HEADER..HEADER + 8].try_into().unwrap());
        let mut record = vec![0; 100];
        let used: std::collections::HashSet<u64> = (0..sequence + 1000)
            .map(|_| {
                let length = agent.seal(23, b"x", &mut record).unwrap();
                explicit(&record[..length])
            })
            .collect();
        assert_eq!(used.len() as u64, sequence + 1000);
        let first = explicit(&kernel.seal(23, b"x"));
        for before in used {
            // As many records as it would take to get there, in the order in which the kernel counts.
            assert!(before.wrapping_sub(first) > 1 << 62, "{before:x} {first:x}");
        }
    }
}
