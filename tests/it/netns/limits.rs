//! `[limits]` as they are edited under a running agent, and peers that are slower than they allow.

use lab::Lab;
use lab::agent::{Agent, Settings};
use lab::attachment::{BIG, DOCX};
use lab::client::python;

use super::MONITORED;

/// Twenty field lines over a connection from before an edit and over later ones, until one of these is answered otherwise.
const PROGRAM: &str = r#"
import socket, ssl, sys, time
name, path = sys.argv[1:]
def connect():
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(socket.create_connection((name, 443), 10), server_hostname=name)
def ask(connection, mark):
    lines = "".join(f"X-Line-{n}: {n}\r\n" for n in range(20))
    connection.sendall(f"HEAD {path}?{mark} HTTP/1.1\r\nHost: {name}\r\n{lines}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer.split(b" ")[1].decode()
early = connect()
before = ask(early, "early")
until = time.monotonic() + 20
while (later := ask(connect(), "later")) == before and time.monotonic() < until:
    time.sleep(0.1)
print(later, ask(early, "again") == before)
"#;

#[test]
fn an_edited_bound_holds_for_connections_that_begin_then() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let said = std::thread::scope(|scope| {
        let asking = scope.spawn(|| python(&lab, PROGRAM, &[MONITORED, DOCX.path], None));
        lab.wait_for_origin_request("the first request", |request| request.contains("?early")).unwrap();
        // Below its range it is refused, and the others stay in force.
        agent.edit_config(|text| format!("{text}\n[limits.http1]\nfields = 15\n")).unwrap();
        let check = agent.command(&["check"]).unwrap();
        let said = check.text() + &check.stderr;
        assert!(check.code == Some(2) && said.contains("must lie between 16 and 256"), "{said}");
        agent.edit_config(|text| text.replace("fields = 15", "fields = 16")).unwrap();
        asking.join().unwrap()
    });
    assert_eq!(said.unwrap().succeeded().unwrap().text(), "431 True\n", "{}", agent.log());
}

/// At the same time: a reader that takes its file slowly and evenly, one that stops, and an upload that trickles.
const SLOW_PEERS: &str = r#"
import socket, ssl, sys, threading, time
name, path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
def connect():
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(socket.create_connection((name, 443), 30), server_hostname=name)
def get():
    connection = connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    return connection, len(head.split(b"\r\n\r\n", 1)[1])
def rest(connection, seen):
    try:
        while piece := connection.recv(65536):
            seen += len(piece)
    except OSError:
        pass
    return seen
said = {}
def even():
    connection, seen = get()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        seen += len(connection.recv(16384))
        time.sleep(0.1)
    said["even"] = rest(connection, seen) == size
def stopped():
    connection, seen = get()
    time.sleep(10)
    said["stopped"] = rest(connection, seen) == size
def trickle():
    connection = connect()
    connection.sendall(f"PUT /drive/slow.txt HTTP/1.1\r\nHost: {name}\r\nContent-Length: 1000\r\n\r\n".encode())
    connection.settimeout(0.2)
    for _ in range(100):
        try:
            said["trickle"] = connection.recv(4096).split(b" ")[1].decode()
            return
        except TimeoutError:
            connection.sendall(b"x")
threads = [threading.Thread(target=target) for target in (even, stopped, trickle)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(said.get("even"), said.get("stopped"), said.get("trickle"))
"#;

/// H20. The even reader shows that what counts is what the client takes: the kernel on our side has room for a megabyte, and
/// takes nothing more from us for longer than the bound.
#[test]
fn whoever_does_not_read_or_trickles_is_cut_and_an_even_reader_is_not() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    let bounds = "[limits.timeouts]\nunread = \"2s\"\nbody_grace = \"1s\"\n";
    agent.edit_config(|text| format!("{text}\n{bounds}")).unwrap();
    agent.command(&["reload"]).unwrap().succeeded().unwrap();
    let size = BIG.size.to_string();
    let said = python(&lab, SLOW_PEERS, &[MONITORED, BIG.path, &size], None).unwrap().succeeded().unwrap();
    assert_eq!(said.text(), "True False 408\n", "{}", agent.log());
    assert!(agent.log().contains("the client took too little"), "{}", agent.log());
}
