//! The bound on the agent's memory: reached with bodies that are held, and left again when they go.

use lab::agent::{Agent, METRICS_PORT, MONITOR_MEMO, Settings};
use lab::attachment::PAGE;
use lab::client::{Curl, page, python};
use lab::{Lab, wait};

use super::{MONITORED, UNMONITORED, check_passed, url};

const MEMO: &str = "notes.memo.test";
const READS_BODIES: &str = r#"[[policy]]
name = "Card numbers"
apps.include = ["corp-files"]
session.control = "custom"
[[policy.session.rule]]
content = { detect = ["credit-card"], at_least = 1 }
action = "block"
"#;

/// Two uploads that do not end keep the agent's memory in use. Beside them: a connection without a request yet, one between
/// two requests, one of HTTP/2. Prints how each of these goes on, and lets go of all once it is told to.
const PROGRAM: &str = r#"
import os, socket, ssl, sys, time
name, memo, go = sys.argv[1:]
def connect(name, protocol="http/1.1"):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols([protocol])
    connection = context.wrap_socket(socket.create_connection((name, 443), 30), server_hostname=name)
    assert connection.selected_alpn_protocol() == protocol
    return connection
def put(connection, path, size):
    connection.sendall(f"PUT /drive/{path} HTTP/1.1\r\nHost: {name}\r\nContent-Length: {size}\r\n"
        "Content-Type: text/plain\r\n\r\n".encode())
def head(connection):
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(1)
        assert piece, answer
        answer += piece
    return answer.lower()
def frame(connection):
    def read(count):
        octets = b""
        while len(octets) < count:
            piece = connection.recv(count - len(octets))
            assert piece, "closed"
            octets += piece
        return octets
    head = read(9)
    read(int.from_bytes(head[:3], "big"))
    return head[3]
two = connect(memo, "h2")
two.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
assert frame(two) == 4
fresh, kept, held = connect(name), connect(name), [connect(name) for _ in range(2)]
for number, connection in enumerate(held):
    put(connection, f"held-{number}", 16 << 20)
    connection.sendall(b"words " * ((15 << 20) // 6))
kept.sendall(f"HEAD /index.html?early HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
print(b"close" in head(kept), kept.recv(1))
while frame(two) != 7:
    pass
text = b"words " * 20000 + b"4242 4242 4242 4242\n"
put(fresh, "unheld.txt", len(text))
fresh.sendall(text)
answer = head(fresh)
print(answer.split(b" ")[1].decode(), b"connection: close" in answer, flush=True)
open(go + ".told", "w").close()
for _ in range(300):
    if os.path.exists(go):
        break
    time.sleep(0.1)
"#;

#[test]
fn an_agent_short_of_memory_lets_go_refuses_what_is_monitored_and_recovers() {
    let lab = Lab::start().unwrap();
    let policies = [("10-cards.toml", READS_BODIES), ("20-memo.toml", MONITOR_MEMO)];
    let policies = policies.map(|(file, text)| (file.to_owned(), text.to_owned())).to_vec();
    let agent = Agent::start(&lab, &Settings { policies, ..Settings::default() }).unwrap();
    agent.edit_config(|text| format!("{text}\n[content]\nscan = \"16MiB\"\n")).unwrap();
    agent.command(&["reload"]).unwrap().succeeded().unwrap();
    let number = |name: &str| agent.metric(name, &[]).unwrap();
    let until = |what: &str, is: &dyn Fn() -> bool| {
        wait::until(what, wait::PATIENCE, || Ok(is().then_some(()))).unwrap();
    };
    until("the first look", &|| number("portcullis_memory_bytes") > 0.0);
    assert_eq!(number("portcullis_memory_level"), 0.0);

    let go = lab.directory().join("go");
    let arguments = [MONITORED, MEMO, go.to_str().unwrap()];
    let said = std::thread::scope(|scope| {
        let program = scope.spawn(|| python(&lab, PROGRAM, &arguments, None));
        lab.wait_for_origin_request("the request before", |request| request.contains("?early")).unwrap();
        until("the bodies to be held", &|| number("portcullis_memory_bytes") > f64::from(28 << 20));
        assert_eq!(number("portcullis_memory_level"), 0.0);
        agent.edit_config(|text| format!("{text}\n[limits]\nmemory = \"20MiB\"\n")).unwrap();
        until("the program's word", &|| go.with_extension("told").exists() || program.is_finished());
        if !program.is_finished() {
            check_refusing(&lab, &agent);
        }
        std::fs::write(&go, "").unwrap();
        program.join().unwrap()
    });
    let said = said.unwrap().succeeded().unwrap().text();
    assert_eq!(said, "False b''\n201 True\n", "{}", agent.log());
    let unheld = |activity: &serde_json::Value| activity["request"]["path"] == "/drive/unheld.txt";
    let upload = agent.wait_for_activity("the upload that was not held", unheld).unwrap();
    assert_eq!(upload["content"]["unscanned"], "no-memory", "{upload:#}");

    until("there to be memory again", &|| number("portcullis_memory_level") == 0.0);
    assert!(agent.log().contains("memory is no longer short"), "{}", agent.log());
    check_passed(&Curl::get(url(MONITORED, PAGE)).send(&lab).unwrap(), MONITORED, PAGE);
    assert_eq!(page(&lab, METRICS_PORT, "/readyz").unwrap().status, 200);
}

/// New connections to monitored apps are refused, on record, and everybody who asks is told why; others pass.
#[track_caller]
fn check_refusing(lab: &Lab, agent: &Agent) {
    assert_eq!(agent.metric("portcullis_memory_level", &[]).unwrap(), 2.0);
    let refused = Curl::get(url(MONITORED, PAGE)).send(lab).unwrap_err().to_string();
    assert!(refused.contains("ended with Some(35)"), "{refused}");
    let in_clear = Curl::get(format!("http://{MONITORED}{}", PAGE.path)).send(lab).unwrap();
    assert_eq!(in_clear.status, 503, "{}", in_clear.text());
    let words = "the agent has no memory left for another connection to a monitored app";
    let by_it = |activity: &serde_json::Value| activity["decision"]["reason"] == words;
    let record = agent.wait_for_activity("the refusal", by_it).unwrap();
    assert_eq!(record["type"], "access", "{record:#}");
    assert_eq!(record["app"]["id"], "corp-files", "{record:#}");
    assert!(agent.metric("portcullis_refusals_total", &[("failure", "memory_full")]).unwrap() >= 2.0);
    check_passed(&Curl::get(url(UNMONITORED, PAGE)).send(lab).unwrap(), UNMONITORED, PAGE);
    let status = agent.command(&["status"]).unwrap();
    let shown = status.text();
    assert!(shown.contains("memory failed: ") && shown.contains("are refused"), "{shown}");
    assert_eq!(status.code, Some(1));
    assert_eq!(page(lab, METRICS_PORT, "/readyz").unwrap().status, 503);
}
