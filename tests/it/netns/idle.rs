//! What a connection costs that waits for its next request: hundreds of them, and what the agent's memory grew by.

use lab::agent::{Agent, Settings};
use lab::attachment::PAGE;
use lab::client::{Curl, python_daemon};
use lab::{Lab, wait};

use super::{MONITORED, check_passed, resident, url};

const CONNECTIONS: usize = 400;
/// Both TLS sides, of a build without optimisation. A single read buffer would be twice that.
const EACH: usize = 36 * 1024;

/// Opens connections that make one request each and then wait, through a proxy where one is named.
const PROGRAM: &str = r#"
import socket, ssl, sys, time
host, path, trust, count, proxy = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
address = socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
held = []
for _ in range(int(count)):
    plain = socket.create_connection(("127.0.0.1", int(proxy)) if proxy else address, 20)
    if proxy:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
    stream = context.wrap_socket(plain, server_hostname=host)
    stream.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        octets = stream.recv(65536)
        assert octets, "closed"
        answer += octets
    assert b" 200 " in answer, answer
    held.append(stream)
print("idle", flush=True)
time.sleep(60)
"#;

#[test]
fn an_idle_connection_holds_no_buffer() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_idle(&lab, &agent, "", Curl::get(url(MONITORED, PAGE)));
}

#[test]
fn an_idle_tunnel_holds_no_buffer() {
    let steering = "mode = \"explicit\"\nlisten = \"127.0.0.1:3128\"\nports = [443, 80]\n".to_owned();
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { steering: Some(steering), ..Settings::default() }).unwrap();
    let through = ["--proxy", "http://127.0.0.1:3128", "--suppress-connect-headers"];
    check_idle(&lab, &agent, "3128", Curl::get(url(MONITORED, PAGE)).arguments(&through));
}

fn check_idle(lab: &Lab, agent: &Agent<'_>, proxy: &str, first: Curl<'_>) {
    // What the first connection takes is taken once.
    check_passed(&first.send(lab).unwrap(), MONITORED, PAGE);
    let before = resident(agent.pid());
    let trust = lab.trust();
    let count = CONNECTIONS.to_string();
    let arguments = [MONITORED, PAGE.path, trust.to_str().unwrap(), &count, proxy];
    let client = python_daemon(lab, "idle", PROGRAM, &arguments, None).unwrap();
    wait::until("the connections", wait::PATIENCE * 3, || Ok(client.log().contains("idle").then_some(())))
        .unwrap();
    let grown = resident(agent.pid()).saturating_sub(before);
    println!("{} KiB for each of {CONNECTIONS} connections", (grown >> 10) / CONNECTIONS);
    assert!(grown < CONNECTIONS * EACH, "{} KiB for each", (grown >> 10) / CONNECTIONS);
}
