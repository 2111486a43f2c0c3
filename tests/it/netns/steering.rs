//! Which connections are steered, and that clients cannot tell.

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::client::{Curl, Family, issuer, issuer_at, probe, python};
use lab::{Lab, ORIGIN_CA_NAME, address_of};

use super::{MONITORED, SHARED, UNMONITORED, check_blocked, check_passed, url};

#[test]
fn monitored_names_are_steered_in_every_family_and_the_client_keeps_its_view() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    // The second name is reached through a chain of aliases.
    for host in [MONITORED, "docs.corp.test"] {
        for family in Family::ALL {
            let probe = probe(&lab, host, family, 443, &[DOCX.path, PAGE.path, DOCX.path])
                .unwrap_or_else(|error| panic!("{host} {family:?}: {error:#}\n{}", agent.log()));
            assert_eq!(probe.peer, (probe.dialled.clone(), 443), "{host} {family:?}: getpeername");
            assert_ne!(probe.issuer.as_deref(), Some(ORIGIN_CA_NAME), "{host} {family:?}");
            // A26: the connection goes on living after a block.
            check_blocked(&probe.replies[0], DOCX);
            check_passed(&probe.replies[1], host, PAGE);
            check_blocked(&probe.replies[2], DOCX);
        }
    }
}

#[test]
fn cleartext_connections_are_steered_too() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    for family in Family::ALL {
        let probe = probe(&lab, MONITORED, family, 80, &[DOCX.path, PAGE.path]).unwrap();
        assert_eq!(probe.peer, (probe.dialled.clone(), 80));
        check_blocked(&probe.replies[0], DOCX);
        check_passed(&probe.replies[1], MONITORED, PAGE);
    }
}

/// A5: connections to other names are never inspected.
#[test]
fn unmonitored_names_keep_the_origins_certificate() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    // So that the shared address is known as a monitored one.
    assert!(!issuer(&lab, MONITORED).unwrap().contains(ORIGIN_CA_NAME));
    for host in [UNMONITORED, SHARED] {
        assert!(issuer(&lab, host).unwrap().contains(ORIGIN_CA_NAME), "{host}");
        check_passed(&Curl::get(url(host, DOCX)).send(&lab).unwrap(), host, DOCX);
        for family in Family::ALL {
            let probe = probe(&lab, host, family, 443, &[DOCX.path]).unwrap();
            assert_eq!(probe.peer, (probe.dialled.clone(), 443), "{host} {family:?}");
            check_passed(&probe.replies[0], host, DOCX);
        }
    }
}

#[test]
fn another_network_namespace_is_left_alone() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let side = lab.side_client().unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&side).send(&lab).unwrap(), MONITORED, DOCX);
    assert!(issuer_at(&lab, &side, MONITORED).unwrap().contains(ORIGIN_CA_NAME));
}

#[test]
fn quic_to_monitored_addresses_is_refused_at_once() {
    const PROGRAM: &str = r#"
import errno, socket, sys
name, learn = sys.argv[1], sys.argv[2]
socket.getaddrinfo(learn, 443)
for family in (socket.AF_INET, socket.AF_INET6):
    address = socket.getaddrinfo(name, 443, family, socket.SOCK_DGRAM)[0][4]
    for act in ("connect", "sendto"):
        datagram = socket.socket(family, socket.SOCK_DGRAM)
        try:
            datagram.connect(address) if act == "connect" else datagram.sendto(b"x", address)
            print(act, "passed")
        except OSError as error:
            print(act, errno.errorcode[error.errno])
"#;
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let said = |host| python(&lab, PROGRAM, &[host, MONITORED], None).unwrap().succeeded().unwrap().text();
    assert_eq!(said(MONITORED), "connect EPERM\nsendto EPERM\nconnect EPERM\nsendto EPERM\n");
    assert_eq!(said(UNMONITORED), "connect passed\nsendto passed\nconnect passed\nsendto passed\n");
}

/// The agent's own way out stands open to nobody else: a client that sets the same marks is steered all the same.
#[test]
fn an_unprivileged_process_cannot_imitate_the_agent() {
    const PROGRAM: &str = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
refused = 0
SO_MARK = 36
for mark in (1, 2, 0x50, 0x4150, 0x5043):
    try:
        socket.socket().setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    except PermissionError:
        refused += 1
name = sys.argv[1]
address = socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
tls = context.wrap_socket(socket.create_connection(address), server_hostname=name)
print(refused, dict(part[0] for part in tls.getpeercert()["issuer"])["commonName"])
"#;
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let trust = lab.trust();
    let said = python(&lab, PROGRAM, &[MONITORED, trust.to_str().unwrap()], Some(4242))
        .unwrap()
        .succeeded()
        .unwrap()
        .text();
    assert!(said.starts_with("5 "), "{said}");
    assert!(!said.contains(ORIGIN_CA_NAME), "{said}");
}

/// A30: a hard-coded address, which no DNS answer explains, is peeked: a monitored name is found by its SNI, any other
/// keeps its origin.
#[test]
fn an_address_that_no_answer_explains_is_peeked() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    // Covered by a wildcard alone: its address is not looked up ahead.
    for (host, blocked) in [("api.corp.test", true), (UNMONITORED, false)] {
        let address = address_of(host, false).unwrap();
        let reply = Curl::get(url(host, DOCX))
            .arguments(&["--resolve", &format!("{host}:443:{address}")])
            .send(&lab)
            .unwrap();
        if blocked {
            check_blocked(&reply, DOCX);
        } else {
            check_passed(&reply, host, DOCX);
        }
    }
    assert_eq!(agent.metric("portcullis_kernel_events_total", &[("event", "peeked")]).unwrap(), 2.0);
}

/// A30: silence earns no way past the agent at such an address, and costs none: the late hello is inspected or relayed.
#[test]
fn a_client_that_waits_before_its_hello_is_peeked_all_the_same() {
    const PROGRAM: &str = r#"
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[3])
connection = socket.create_connection((sys.argv[2], 443))
time.sleep(2.5)
try:
    tls = context.wrap_socket(connection, server_hostname=sys.argv[1])
    print(dict(part[0] for part in tls.getpeercert()["issuer"])["commonName"])
except OSError as error:
    print("refused", error)
"#;
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    for (host, expected) in [("api.corp.test", "Portcullis issuing"), (UNMONITORED, ORIGIN_CA_NAME)] {
        let trust = lab.trust();
        let arguments = [host, address_of(host, false).unwrap(), trust.to_str().unwrap()];
        let said = python(&lab, PROGRAM, &arguments, None).unwrap().succeeded().unwrap().text();
        assert!(said.starts_with(expected), "{host}: {said}");
    }
}
