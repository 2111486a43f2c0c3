//! What an unprivileged user of the host tries, to get at a file or to disturb others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, python};
use lab::{Lab, ORIGIN_CA_NAME, address_of};

use super::{MONITORED, UNMONITORED, check_blocked, url};

const MALLORY: u32 = 4242;

/// The program's file name is the user's choice, and what it writes into its requests as well.
#[test]
fn a_program_named_like_a_browser_is_none() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let copy = lab.directory().join("firefox");
    fs::copy("/usr/bin/curl", &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let address = url(MONITORED, DOCX);
    let forged = ["Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "User-Agent: Mozilla/5.0"];
    let mut command = vec![copy.to_str().unwrap(), "--silent", "--insecure", "--http1.1", &address];
    command.extend(forged.iter().flat_map(|line| ["--header", line]));
    let answered = lab.run(&command, Some(MALLORY)).unwrap().succeeded().unwrap().text();
    assert!(answered.starts_with("Download blocked."), "{} bytes", answered.len());
}

/// The process that connected is gone when the agent asks for it; another one holds its socket.
#[test]
fn a_connection_handed_on_by_a_process_that_ended_earns_nothing() {
    const PROGRAM: &str = r#"
import os, socket, ssl, sys, time
name, path = sys.argv[1:]
address = socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
ours, theirs = socket.socketpair()
if os.fork() == 0:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(address)
    socket.send_fds(theirs, [b"x"], [connection.fileno()])
    os._exit(0)
connection = socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0])
os.wait()
connection.settimeout(10)
time.sleep(0.2)
tls = ssl._create_unverified_context().wrap_socket(connection, server_hostname=name)
tls.sendall((f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\nUser-Agent: Mozilla/5.0\r\n"
             "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n\r\n").encode())
answer = b""
while piece := tls.recv(65536):
    answer += piece
print(answer.split(b"\r\n")[0].decode(), b"Download blocked" in answer)
"#;
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let said = python(&lab, PROGRAM, &[MONITORED, DOCX.path], Some(MALLORY)).unwrap().succeeded().unwrap();
    assert_eq!(said.text(), "HTTP/1.1 403 Forbidden True\n");
}

/// In a namespace of one's own anybody can answer from port 53. What is learned there would steer others' connections
/// to any address, or push out what was learned for them.
#[test]
fn dns_answers_that_a_user_forges_are_not_learned() {
    const PROGRAM: &str = r#"
import os, socket, struct, sys
name, address = sys.argv[1:]
os.system("ip link set lo up")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", 53))
client.send(b"?")
peer = server.recvfrom(9)[1]
question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 3600, 4) + socket.inet_aton(address)
server.sendto(struct.pack(">HHHHHH", 1, 0x8180, 1, 1, 0, 0) + question + record, peer)
client.recv(999)
print("answered")
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let learned = |agent: &Agent<'_>| {
        agent.metric("portcullis_kernel_events_total", &[("event", "dns-address")]).unwrap()
    };
    let before = learned(&agent);
    assert!(before > 0.0);
    let victim = address_of(UNMONITORED, false).unwrap();
    let forged =
        ["unshare", "--user", "--map-root-user", "--net", "python3", "-c", PROGRAM, MONITORED, victim];
    let finished = lab.run(&forged, Some(MALLORY)).unwrap();
    if finished.stderr.contains("unshare failed") {
        eprintln!("left out: this kernel lets no unprivileged user make namespaces");
        return;
    }
    assert_eq!(finished.succeeded().unwrap().text(), "answered\n");
    assert_eq!(learned(&agent), before);
    assert!(agent.metric("portcullis_kernel_events_total", &[("event", "dns-unasked")]).unwrap() > 0.0);
    assert!(lab::client::issuer(&lab, UNMONITORED).unwrap().contains(ORIGIN_CA_NAME));
}

/// An origin answers a request for its bare address with one of its sites.
#[test]
fn a_request_in_clear_text_for_a_bare_address_gets_nothing() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let address = address_of(MONITORED, false).unwrap();
    for host in [address, "[::1]"] {
        let request = Curl::get(format!("http://{MONITORED}{}", DOCX.path)).header(&format!("Host: {host}"));
        assert_eq!(request.send(&lab).unwrap().status, 421, "{host}");
    }
    let old = Curl::get(format!("http://{MONITORED}{}", DOCX.path)).header("Host:").arguments(&["--http1.0"]);
    assert_eq!(old.send(&lab).unwrap().status, 421);
}

/// A socket that was steered once, disconnected and then connected to the listener by hand is not its first connection:
/// the agent would take its user for whoever made that.
#[test]
fn the_listener_serves_no_connection_made_to_it_by_hand() {
    const PROGRAM: &str = r#"
import ctypes, socket, sys
name = sys.argv[1]
connection = socket.create_connection(socket.getaddrinfo(name, 443, socket.AF_INET)[0][4])
port = connection.getsockname()[1]
rows = [row.split() for row in open("/proc/net/tcp")][1:]
listener = next(int(row[2].split(":")[1], 16) for row in rows if row[1].endswith(":%04X" % port))
AF_UNSPEC = bytes(16)
assert ctypes.CDLL(None).connect(connection.fileno(), AF_UNSPEC, 16) == 0
for by_hand in (connection, socket.socket()):
    by_hand.settimeout(5)
    try:
        by_hand.connect(("127.0.0.1", listener))
        by_hand.send(b"GET / HTTP/1.1\r\nHost: " + name.encode() + b"\r\n\r\n")
        print(by_hand.recv(20))
    except ConnectionError:
        print("refused")
"#;
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let said = python(&lab, PROGRAM, &[MONITORED], Some(MALLORY)).unwrap().succeeded().unwrap().text();
    assert_eq!(said, "refused\nrefused\n");
}
