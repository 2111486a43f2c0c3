//! Ways round a gateway: what forwarded answers do not explain, QUIC, forged answers, fragments.

use super::*;

/// A30: no answer explains a hard-coded address.
#[test]
fn unexplained_addresses_are_peeked() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text + "resolve = false\n");
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    for (name, v6) in [(MONITORED, false), (MONITORED, true), (UNMONITORED, false), (UNMONITORED, true)] {
        let address = address_of(name, v6).unwrap();
        let at = if v6 { format!("{name}:443:[{address}]") } else { format!("{name}:443:{address}") };
        let reply =
            Curl::get(url(name, DOCX)).at(&place).arguments(&["--resolve", &at]).send(&gateway.lab).unwrap();
        match name {
            MONITORED => check_blocked(&reply, DOCX),
            _ => check_passed(&reply, name, DOCX),
        }
    }
    assert_eq!(kernel(&agent, "peeked"), 4.0);
    assert_eq!(kernel(&agent, "steered"), 0.0);
}

/// A31: the client is told at once, by an ICMP error that is not the origin's.
#[test]
fn quic_to_monitored_apps_is_refused_at_once() {
    const PROGRAM: &str = r#"
import errno, socket, sys
family = socket.AF_INET if sys.argv[2] == "-4" else socket.AF_INET6
to = socket.getaddrinfo(sys.argv[1], 443, family, socket.SOCK_DGRAM)[0][4]
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(to)
s.send(b"\xc0" + bytes(1199))
try:
    s.recv(2000)
except OSError as error:
    print(errno.errorcode.get(error.errno, "timeout"))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    for family in FAMILIES {
        for (name, expected) in [
            (MONITORED, if family == "-4" { "EHOSTUNREACH" } else { "EACCES" }),
            (UNMONITORED, "ECONNREFUSED"),
        ] {
            let said = gateway.python(&place, PROGRAM, &[name, family]).unwrap().succeeded().unwrap().text();
            assert_eq!(said.trim(), expected, "{name} {family}");
        }
    }
    assert_eq!(kernel(&agent, "quic-refused"), 2.0);
}

/// Answers are believed only when they were asked for and come from the outside.
#[test]
fn forged_answers_explain_nothing() {
    const SEND: &str = r#"
import socket, sys
# A response: one question, evil.test A, one answer.
name = b"\x04evil\x04test\x00"
answer = bytes.fromhex(sys.argv[4]) + b"\x81\x80\0\1\0\1\0\0\0\0" + name + b"\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\1\0\0\4" + socket.inet_aton(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 53))
s.sendto(answer, (sys.argv[1], int(sys.argv[2])))
"#;
    const ASK: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5353))
s.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\x04evil\x04test\0\0\1\0\1", (sys.argv[1], 53))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE, LAN])).unwrap();
    let (a, c) = (gateway.host(Inside::A), gateway.host(Inside::C));
    let target = address_of(MONITORED, false).unwrap();
    let run = |place, program: &str, arguments: &[&str]| {
        gateway.python(place, program, arguments).unwrap().succeeded().unwrap();
    };
    // From outside, to a host that asked nobody.
    let outside = gateway.outside();
    run(&outside, SEND, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the unasked answer", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-unasked") == 1.0).then_some(()))
    })
    .unwrap();
    // From another inside network, to a host that asked there.
    run(&a, ASK, &[Inside::C.address()[0]]);
    run(&c, SEND, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the answer from the inside", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-from-inside") == 1.0).then_some(()))
    })
    .unwrap();
    assert_eq!(kernel(&agent, "dns-address"), 0.0);
    // From where it was asked for, but to another question.
    run(&a, ASK, &["198.18.0.20"]);
    let answer = SEND.replace("\"0.0.0.0\"", "\"198.18.0.20\"");
    run(&outside, &answer, &[Inside::A.address()[0], "5353", target, "1235"]);
    wait::until("the answer to another question", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-unasked") == 2.0).then_some(()))
    })
    .unwrap();
    assert_eq!(kernel(&agent, "dns-address"), 0.0);
    // The same to the question is believed: so those above were well-formed.
    run(&outside, &answer, &[Inside::A.address()[0], "5353", target, "1234"]);
    wait::until("the answer that was asked for", wait::PATIENCE, || {
        Ok((kernel(&agent, "dns-address") == 1.0).then_some(()))
    })
    .unwrap();
}

/// What hides the ports of a steered connection does not get past; what can be followed is steered.
#[test]
fn fragments_and_long_chains_of_headers_are_no_way_round() {
    const PROGRAM: &str = r#"
import socket, struct, sys
def tcp(port):
    return struct.pack("!HHIIBBHHH", port, 443, 1, 0, 0x50, 2, 1024, 0, 0)
v4, v6 = sys.argv[1], sys.argv[2]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
def send6(first, payload):
    head = struct.pack("!IHBB", 6 << 28, len(payload), first, 64)
    addresses = socket.inet_pton(socket.AF_INET6, "fd77::2") + socket.inet_pton(socket.AF_INET6, v6)
    raw6.sendto(head + addresses + payload, (v6, 0))
options = lambda following: bytes([following, 0, 1, 4, 0, 0, 0, 0])
# Fragments: with both ports, with half a port; then the same behind IPv6.
head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 7, 0x2000, 64, 6, 0)
for payload in (tcp(5001), tcp(5002)[:2]):
    raw.sendto(head + socket.inet_aton("10.77.0.2") + socket.inet_aton(v4) + payload, (v4, 0))
send6(44, struct.pack("!BBHI", 6, 0, 1, 9) + tcp(5003))
# Seven headers hide what follows them; a chain that is cut in a fragment does, too.
send6(60, options(60) * 6 + options(6) + tcp(5004))
send6(44, struct.pack("!BBHI", 60, 0, 1, 10) + b"\x06")
# Two headers and an atomic fragment (RFC 6946) are followed.
send6(60, options(60) + options(44) + struct.pack("!BBHI", 6, 0, 0, 11) + tcp(5005))
"#;
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    let [v4, v6] = [false, true].map(|v6| address_of(MONITORED, v6).unwrap());
    gateway.python(&place, PROGRAM, &[v4, v6]).unwrap().succeeded().unwrap();
    wait::until("the counters", wait::PATIENCE, || {
        // By what was looked up ahead the address may be a monitored one's already.
        let followed = kernel(&agent, "peeked") + kernel(&agent, "steered");
        Ok((kernel(&agent, "fragment-dropped") == 5.0 && followed == 1.0).then_some(()))
    })
    .unwrap_or_else(|error| {
        let [dropped, peeked, steered] =
            ["fragment-dropped", "peeked", "steered"].map(|event| kernel(&agent, event));
        panic!("{error}: {dropped} {peeked} {steered}")
    });
}
