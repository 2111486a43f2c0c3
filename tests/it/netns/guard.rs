//! What passes the steering must be explained: the net beneath it, the memory of looks, the guards, and DNS that lies.

use std::time::{Duration, Instant};

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::client::{Curl, python};
use lab::{Lab, NOBODY, ORIGIN_CA_NAME, address_of, wait};

use super::{MONITORED, SHARED, UNMONITORED, check_blocked, check_passed, url};

/// A curl that goes to the address without asking for the name.
fn hard_coded(host: &str, scheme: &str, port: u16, path: &str) -> Curl<'static> {
    let address = address_of(host, false).unwrap();
    Curl::get(format!("{scheme}://{host}{path}"))
        .arguments(&["--resolve", &format!("{host}:{port}:{address}")])
}

/// What the kernel learns is the clients' doing alone.
fn unresolved() -> Settings {
    Settings { further: "resolve = false\n".to_owned(), ..Settings::default() }
}

fn with_guard(guard: &'static str) -> Settings {
    Settings { guard, fail: "open", ..unresolved() }
}

fn events(agent: &Agent<'_>, event: &str) -> f64 {
    agent.metric("portcullis_kernel_events_total", &[("event", event)]).unwrap()
}

/// The client is told at once, and not by a time-out.
#[track_caller]
fn check_aborted(lab: &Lab, request: &Curl<'_>) {
    let begun = Instant::now();
    let finished = request.run(lab).unwrap();
    assert!([Some(35), Some(52), Some(55), Some(56)].contains(&finished.code), "{finished:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A30: an address that the answer for another name explains, a second name on the same address.
#[test]
fn a_monitored_name_at_an_address_that_another_name_explains_is_stopped_once_and_then_inspected() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
    assert_eq!(events(&agent, "peeked"), 0.0);

    let request = hard_coded(MONITORED, "https", 443, DOCX.path).user(NOBODY + 1);
    check_aborted(&lab, &request);
    assert_eq!(events(&agent, "net-stopped"), 1.0);
    check_blocked(&request.send(&lab).unwrap(), DOCX);
    // The other name goes on, now relayed untouched.
    check_passed(&Curl::get(url(SHARED, DOCX)).send(&lab).unwrap(), SHARED, DOCX);

    let record =
        agent.wait_for_activity("the stopped connection", |record| record["type"] == "access").unwrap();
    assert_eq!(record["decision"]["action"], "block");
    assert_eq!(record["decision"]["enforced"], true);
    assert!(record["decision"]["reason"].as_str().unwrap().contains("went past the agent"), "{record}");
    assert_eq!(record["app"]["id"], "corp-files");
    assert_eq!(record["user"]["uid"], NOBODY + 1);
    assert_eq!(record["process"]["name"], "curl");
    assert_eq!(record["server"]["name"], MONITORED);
    assert_eq!(record["server"]["address"], address_of(MONITORED, false).unwrap());
}

/// A30: the same in clear text, where the Host says whom a request is for.
#[test]
fn a_monitored_host_in_clear_text_at_an_explained_address_is_stopped_once_and_then_inspected() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    let other = Curl::get(format!("http://{SHARED}{}", PAGE.path));
    check_passed(&other.send(&lab).unwrap(), SHARED, PAGE);
    assert_eq!((events(&agent, "peeked"), events(&agent, "net-unreadable")), (0.0, 0.0));

    let request = hard_coded(MONITORED, "http", 80, DOCX.path).user(NOBODY + 1);
    check_aborted(&lab, &request);
    assert_eq!((events(&agent, "net-stopped"), events(&agent, "net-unreadable")), (1.0, 0.0));
    assert!(lab.origin_requests().iter().all(|line| !line.contains(DOCX.path)), "it left the host");
    check_blocked(&request.send(&lab).unwrap(), DOCX);
    let record =
        agent.wait_for_activity("the stopped connection", |record| record["type"] == "access").unwrap();
    assert_eq!(record["user"]["uid"], NOBODY + 1);
    assert_eq!(record["process"]["name"], "curl");
    assert_eq!(record["server"]["name"], MONITORED);
}

/// A hello in pieces, each a segment of its own; `fragments` cuts it into TLS records as well.
pub(super) const PIECES: &str = r#"
import socket, ssl, sys, time
name, address, trust, cuts, fragments = sys.argv[1:6]
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl.create_default_context(cafile=trust).wrap_bio(incoming, outgoing, server_hostname=name)
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = outgoing.read()
middle = hello.find(name.encode()) + 4
if fragments == "yes":
    part, rest = hello[5:middle], hello[middle:]
    record = lambda data: hello[:3] + len(data).to_bytes(2, "big") + data
    hello = record(part) + record(rest)
places = {"one": [], "two": [middle], "three": [3, middle], "bytes": [1, 2, 3, 4, 5, 6, 7, 8], "urgent": []}[cuts]
connection = socket.create_connection((address, 443))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
connection.settimeout(10)
try:
    begun = 0
    if cuts == "urgent":
        # In one segment; a receiver takes the urgent byte out.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(hello[:middle])
        connection.send(b"X", socket.MSG_OOB)
        begun = middle
    for end in places + [len(hello)]:
        connection.sendall(hello[begun:end])
        begun = end
        time.sleep(0.05)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            data = connection.recv(16384)
            if not data:
                raise ConnectionResetError("closed")
            incoming.write(data)
    print(dict(part[0] for part in tls.getpeercert()["issuer"])["commonName"])
except OSError as error:
    print("aborted", type(error).__name__)
"#;

fn in_pieces(lab: &Lab, name: &str, cuts: &str, fragments: &str) -> String {
    let trust = lab.trust();
    let arguments = [name, address_of(name, false).unwrap(), trust.to_str().unwrap(), cuts, fragments];
    python(lab, PIECES, &arguments, None).unwrap().succeeded().unwrap().text().trim().to_owned()
}

#[test]
fn a_hello_in_pieces_is_read_all_the_same() {
    for cuts in ["two", "three", "bytes"] {
        let lab = Lab::start().unwrap();
        let agent = Agent::start(&lab, &unresolved()).unwrap();
        check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
        assert_eq!(in_pieces(&lab, SHARED, cuts, "no"), ORIGIN_CA_NAME, "{cuts}");
        let stopped = in_pieces(&lab, MONITORED, cuts, "no");
        assert!(stopped.starts_with("aborted"), "{cuts}: {stopped}");
        let inspected = in_pieces(&lab, MONITORED, cuts, "no");
        assert!(inspected != ORIGIN_CA_NAME && !inspected.starts_with("aborted"), "{cuts}: {inspected}");
        assert_eq!((events(&agent, "net-stopped"), events(&agent, "net-unreadable")), (1.0, 0.0), "{cuts}");
    }
}

/// An urgent byte in the middle of the name makes it another one to everybody but the origin, which never sees that byte.
#[test]
fn an_urgent_byte_in_the_hello_hides_no_name() {
    let lab = Lab::start().unwrap();
    // It is a way to talk to the origin.
    assert_eq!(in_pieces(&lab, MONITORED, "urgent", "no"), ORIGIN_CA_NAME);
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
    let stopped = in_pieces(&lab, MONITORED, "urgent", "no");
    assert!(stopped.starts_with("aborted"), "{stopped}");
    assert!(events(&agent, "net-unreadable") >= 1.0);
    // Steered, the agent reads it as the origin would have.
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let inspected = in_pieces(&lab, MONITORED, "urgent", "no");
    assert!(inspected != ORIGIN_CA_NAME && !inspected.starts_with("aborted"), "{inspected}");
}

/// What only userspace can put together is stopped, whoever it is for, and from then on peeked at there.
#[test]
fn a_hello_that_the_kernel_cannot_read_is_stopped_once_per_address() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
    let first = in_pieces(&lab, SHARED, "one", "yes");
    assert!(first.starts_with("aborted"), "{first}");
    // Another answer for the name does not explain the address again.
    for _ in 0..2 {
        check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
        assert_eq!(in_pieces(&lab, SHARED, "one", "yes"), ORIGIN_CA_NAME);
    }
    let inspected = in_pieces(&lab, MONITORED, "one", "yes");
    assert!(inspected != ORIGIN_CA_NAME && !inspected.starts_with("aborted"), "{inspected}");
    assert_eq!((events(&agent, "net-stopped"), events(&agent, "net-unreadable")), (0.0, 1.0));
}

/// An address that was peeked at goes direct for a while, and that earns nobody a way past the agent.
#[test]
fn a_look_is_remembered_and_the_net_is_still_beneath() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    for _ in 0..3 {
        check_passed(
            &hard_coded(UNMONITORED, "https", 443, DOCX.path).send(&lab).unwrap(),
            UNMONITORED,
            DOCX,
        );
    }
    assert_eq!(events(&agent, "peeked"), 1.0);

    // An app's address, looked at with another name.
    check_passed(&hard_coded(SHARED, "https", 443, DOCX.path).send(&lab).unwrap(), SHARED, DOCX);
    check_passed(&hard_coded(SHARED, "https", 443, DOCX.path).send(&lab).unwrap(), SHARED, DOCX);
    assert_eq!(events(&agent, "peeked"), 2.0);
    // In clear text it is the Host.
    let clear = hard_coded(MONITORED, "http", 80, DOCX.path);
    check_aborted(&lab, &clear);
    check_blocked(&clear.send(&lab).unwrap(), DOCX);
    check_blocked(&hard_coded(MONITORED, "https", 443, DOCX.path).send(&lab).unwrap(), DOCX);
}

#[test]
fn a_look_does_not_open_tls_either() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    check_passed(&hard_coded(SHARED, "https", 443, DOCX.path).send(&lab).unwrap(), SHARED, DOCX);
    let request = hard_coded(MONITORED, "https", 443, DOCX.path);
    check_aborted(&lab, &request);
    check_blocked(&request.send(&lab).unwrap(), DOCX);
    assert_eq!(events(&agent, "net-stopped"), 1.0);
}

#[test]
fn each_guard_does_what_it_says() {
    for guard in ["off", "sni", "all"] {
        let lab = Lab::start().unwrap();
        let agent = Agent::start(&lab, &with_guard(guard)).unwrap();
        check_passed(&Curl::get(url(UNMONITORED, DOCX)).send(&lab).unwrap(), UNMONITORED, DOCX);
        check_passed(&Curl::get(url(SHARED, PAGE)).send(&lab).unwrap(), SHARED, PAGE);
        let request = hard_coded(MONITORED, "https", 443, DOCX.path);
        match guard {
            "off" => check_passed(&request.send(&lab).unwrap(), MONITORED, DOCX),
            "sni" => {
                check_aborted(&lab, &request);
                check_blocked(&request.send(&lab).unwrap(), DOCX);
            }
            _ => check_blocked(&request.send(&lab).unwrap(), DOCX),
        }
        let (peeked, watched) = (events(&agent, "peeked"), events(&agent, "watched"));
        assert_eq!(peeked > 0.0, guard == "all", "{guard}: {peeked}");
        assert_eq!(watched > 0.0, guard == "sni", "{guard}: {watched}");
        // What DNS says is steered under every guard.
        check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    }
}

const QUESTIONS: &str = r#"
import errno, socket, struct, sys
def question(name, kind, number):
    return (struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
        + b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        + b"\0" + struct.pack(">HH", kind, 1))
"#;

#[test]
fn a_question_for_service_bindings_of_an_app_is_refused_at_once() {
    let program = format!(
        "{QUESTIONS}
for connected in (True, False):
    for name, kind in ((sys.argv[1], 65), (sys.argv[1], 64), (sys.argv[1], 1), (sys.argv[2], 65)):
        server = ('198.18.0.1', 53)
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.settimeout(5)
        try:
            if connected:
                asker.connect(server)
                asker.send(question(name, kind, 77))
            else:
                asker.sendto(question(name.upper(), kind, 77), server)
            print(kind, 'answered' if asker.recv(4096)[:2] == b'\\0M' else 'odd')
        except OSError as error:
            print(kind, errno.errorcode.get(error.errno, error))
"
    );
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    let said = python(&lab, &program, &[MONITORED, UNMONITORED], None).unwrap().succeeded().unwrap().text();
    assert_eq!(said, "65 EPERM\n64 EPERM\n1 answered\n65 answered\n".repeat(2));
    assert_eq!(events(&agent, "https-question-refused"), 4.0);
}

/// A30: sockets that were connected before the agent was there.
#[test]
fn sockets_from_before_the_start_are_learned_from_and_refused() {
    let program = format!(
        "{QUESTIONS}
import os, time
asker, quic = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in 'ab')
asker.connect(('198.18.0.1', 53))
quic.connect((sys.argv[2], 443))
open(sys.argv[3] + '.ready', 'w').close()
while not os.path.exists(sys.argv[3] + '.go'):
    time.sleep(0.05)
quic.send(b'x' * 1200)
asker.settimeout(5)
asker.send(question(sys.argv[1], 1, 4711))
asker.recv(4096)
time.sleep(0.2)
quic.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # of the datagram that found nobody there
try:
    quic.send(b'x' * 1200)
    print('passed')
except OSError as error:
    print(errno.errorcode[error.errno])
"
    );
    let lab = Lab::start().unwrap();
    let flag = lab.directory().join("flag");
    let shown = flag.to_str().unwrap();
    let (said, agent) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            python(&lab, &program, &[MONITORED, address_of(MONITORED, false).unwrap(), shown], None)
        });
        wait::until("the client", wait::PATIENCE, || Ok(flag.with_extension("ready").exists().then_some(())))
            .unwrap();
        let agent = Agent::start(&lab, &with_guard("off")).unwrap();
        std::fs::write(flag.with_extension("go"), "").unwrap();
        (client.join().unwrap().unwrap().succeeded().unwrap().text(), agent)
    });
    assert_eq!(said, "EPERM\n");
    assert_eq!(events(&agent, "dns-matched"), 1.0);
    check_blocked(&hard_coded(MONITORED, "https", 443, DOCX.path).send(&lab).unwrap(), DOCX);
}

#[test]
fn answers_that_nobody_asked_for_are_not_learned_from() {
    let program = format!(
        "{QUESTIONS}
forger, asker = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in 'ab')
forger.bind(('198.18.0.2', 53))
asker.bind(('198.18.0.2', 0))
asker.settimeout(5)
def answer(number):
    plain = bytearray(question(sys.argv[1], 1, number))
    plain[2:4], plain[6:8] = b'\\x81\\x80', b'\\0\\1'
    address = socket.inet_aton(sys.argv[2])
    return bytes(plain) + b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + address
# It asked another server.
asker.sendto(question(sys.argv[1], 1, 7), ('198.18.0.1', 53))
asker.recv(4096)
forger.sendto(answer(8), asker.getsockname())
asker.recv(4096)
# It asked this one something else, and this one twice.
asker.sendto(question('x.test', 1, 9), ('198.18.0.2', 53))
forger.sendto(answer(10), asker.getsockname())
asker.recv(4096)
for _ in range(2):
    forger.sendto(answer(9), asker.getsockname())
    asker.recv(4096)
"
    );
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &unresolved()).unwrap();
    let address = address_of(UNMONITORED, false).unwrap();
    python(&lab, &program, &[MONITORED, address], None).unwrap().succeeded().unwrap();
    assert_eq!(events(&agent, "dns-forged"), 3.0);
    assert_eq!(events(&agent, "dns-answer"), 2.0);
}
