//! `[limits]` as they are edited under a running agent.

use lab::Lab;
use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
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
