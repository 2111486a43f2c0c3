//! Replies as the kernel writes them, every prefix of them, and the filter run as the kernel runs it.

use super::*;

const SEQUENCE: u32 = 7;

fn socket(family: u8, local: (&str, u16), remote: (&str, u16)) -> Vec<u8> {
    let octets = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(v4) if family == AF_INET => [&v4.octets()[..], &[0; 12]].concat(),
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut body = vec![family, State::Established as u8, 0, 0];
    body.extend(local.1.to_be_bytes());
    body.extend(remote.1.to_be_bytes());
    body.extend(octets(local.0));
    body.extend(octets(remote.0));
    for field in [3u32, 0xdead_beef, 0x1, 0, 0, 0, 1000, 4711] {
        body.extend(field.to_ne_bytes());
    }
    // An attribute, as the kernel appends them.
    body.extend([5, 0, 8, 0, 1, 0, 0, 0]);
    message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &body)
}

fn all(datagram: &[u8]) -> Vec<Result<Message, Malformed>> {
    messages(datagram, SEQUENCE).collect()
}

#[test]
fn sockets_of_both_families_are_read_and_mapped_addresses_are_ipv4() {
    let mut datagram = socket(AF_INET, ("192.0.2.1", 40_000), ("198.51.100.7", 443));
    datagram.extend(socket(AF_INET6, ("2001:db8::1", 40_001), ("2001:db8::2", 80)));
    datagram.extend(socket(AF_INET6, ("::ffff:192.0.2.1", 40_002), ("::ffff:198.51.100.7", 443)));
    let expected = [
        ("192.0.2.1:40000", "198.51.100.7:443"),
        ("[2001:db8::1]:40001", "[2001:db8::2]:80"),
        ("192.0.2.1:40002", "198.51.100.7:443"),
    ];
    let read = all(&datagram);
    assert_eq!(read.len(), expected.len());
    for (message, (local, remote)) in read.into_iter().zip(expected) {
        let Ok(Message::Connection(connection)) = message else { panic!("{message:?}") };
        let id = SocketId {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            interface: 3,
            cookie: 0x1_dead_beef,
        };
        assert_eq!(connection, Connection { id, state: State::Established, uid: 1000, inode: 4711 });
    }
}

#[test]
fn every_prefix_is_refused_or_says_less() {
    let first = socket(AF_INET, ("192.0.2.1", 40_000), ("198.51.100.7", 443));
    let mut datagram = first.clone();
    datagram.extend(message(NLMSG_DONE, 2, SEQUENCE, &0i32.to_ne_bytes()));
    let whole = all(&datagram);
    assert_eq!(whole[1], Ok(Message::Done(0)));
    for end in 0..datagram.len() {
        let read = all(&datagram[..end]);
        match end {
            0 => assert_eq!(read, []),
            end if end < first.len() => assert_eq!(read, [Err(Malformed::Truncated)], "{end}"),
            end if end == first.len() => assert_eq!(read, whole[..1]),
            _ => assert_eq!(read, [whole[0], Err(Malformed::Truncated)], "{end}"),
        }
    }
}

#[test]
fn what_lies_about_its_length_or_family_is_refused() {
    let good = socket(AF_INET, ("192.0.2.1", 40_000), ("198.51.100.7", 443));
    for length in [0u32, 1, 15] {
        let mut short = good.clone();
        short[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(all(&short), [Err(Malformed::Length)], "{length}");
    }
    for length in [good.len() as u32 + 1, u32::MAX] {
        let mut long = good.clone();
        long[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(all(&long), [Err(Malformed::Truncated)], "{length}");
    }
    // The message's own length ends inside the socket.
    for length in HEADER..HEADER + INET_DIAG_MSG {
        let mut cut = good[..length].to_vec();
        cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        assert_eq!(all(&cut), [Err(Malformed::Truncated)], "{length}");
    }
    let mut other = good.clone();
    other[HEADER] = 1;
    assert_eq!(all(&other), [Err(Malformed::Family(1))]);
}

#[test]
fn answers_to_other_requests_and_unknown_states_count_for_nothing() {
    let mut stale = socket(AF_INET, ("192.0.2.1", 40_000), ("198.51.100.7", 443));
    stale[8..12].copy_from_slice(&8u32.to_ne_bytes());
    assert_eq!(all(&stale), [Ok(Message::Other)]);
    let mut listening = socket(AF_INET, ("192.0.2.1", 40_000), ("198.51.100.7", 443));
    listening[HEADER + 1] = 10;
    assert_eq!(all(&listening), [Ok(Message::Other)]);
    let error = message(NLMSG_ERROR, 0, SEQUENCE, &(-libc::ENOENT).to_ne_bytes());
    assert_eq!(all(&error), [Ok(Message::Answer(-libc::ENOENT))]);
}

/// What `inet_diag_bc_run` of the kernel does.
fn kernel_accepts(program: &[u8], port: u16) -> bool {
    let mut at = 0usize;
    while let Some([code, yes, no @ ..]) = program.get(at..).and_then(<[u8]>::first_chunk::<4>) {
        let no = usize::from(u16::from_ne_bytes(*no));
        at += match *code {
            INET_DIAG_BC_JMP => no,
            INET_DIAG_BC_D_EQ => {
                let wanted = u16::from_ne_bytes([program[at + 6], program[at + 7]]);
                if wanted == port { usize::from(*yes) } else { no }
            }
            code => panic!("operation {code}"),
        };
    }
    at == program.len()
}

#[test]
fn the_filter_accepts_its_ports_and_no_other() {
    let ports = [443, 80, 8443, 8080, 1, 65_535, 8000, 9000];
    for count in 1..=ports.len() {
        let program = remote_port_filter(&ports[..count]);
        for (index, port) in ports.iter().enumerate() {
            assert_eq!(kernel_accepts(&program, *port), index < count, "{port} among {count}");
        }
        assert!(!kernel_accepts(&program, 444) && !kernel_accepts(&program, 0));
    }
    assert!(remote_port_filter(&[]).is_empty());
}
