//! Explicit mode: the agent as an ordinary user, clients that are told to use it, and what they may not have it do.

use std::fs;
use std::process::Command;

use lab::agent::{Agent, Settings};
use lab::attachment::{DATA, DOCX, PAGE};
use lab::browser::Kind;
use lab::client::{Curl, python};
use lab::{Lab, ORIGIN_CA_NAME, address_of};
use serde_json::json;

use super::browser;
use super::{MONITORED, SHARED, UNMONITORED, check_blocked, check_passed, url};

/// The agent's user, who may do nothing that others may not, and another one.
const OWNER: u32 = 4343;
const OTHER: u32 = 4242;
const PROXY: &str = "http://127.0.0.1:3128";

fn explicit(listen: &str, more: &str) -> Settings {
    let steering = format!("mode = \"explicit\"\nlisten = \"{listen}\"\nports = [443, 80]\n{more}");
    Settings { steering: Some(steering), uid: Some(OWNER), ..Settings::default() }
}

fn start(lab: &Lab) -> Agent<'_> {
    Agent::start(lab, &explicit("127.0.0.1:3128", "")).unwrap()
}

fn through(url: String) -> Curl<'static> {
    Curl::get(url).user(OWNER).arguments(&["--proxy", PROXY, "--suppress-connect-headers"])
}

/// One exchange by hand with the proxy: what it answers to this head, up to its end.
fn ask(lab: &Lab, head: &str) -> String {
    const PROGRAM: &str = r#"
import socket, sys
connection = socket.create_connection(("127.0.0.1", 3128))
connection.settimeout(20)
connection.sendall(sys.argv[1].encode())
answer = b""
try:
    while piece := connection.recv(65536):
        answer += piece
except ConnectionResetError:
    answer += b"reset"
print(answer.decode(errors="replace"), end="")
"#;
    python(lab, PROGRAM, &[head], Some(OTHER)).unwrap().succeeded().unwrap().text()
}

#[test]
fn an_ordinary_user_runs_it_and_clients_get_what_policies_say() {
    let lab = Lab::start().unwrap();
    let agent = start(&lab);
    let process = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Uid:\t4343\t4343\t4343\t4343"] {
        assert!(process.lines().any(|l| l == line), "{line}: {process}");
    }
    assert_eq!(agent.kernel_objects().len(), 0);

    check_blocked(&through(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    check_passed(&through(url(MONITORED, DATA)).send(&lab).unwrap(), MONITORED, DATA);
    for host in [UNMONITORED, SHARED] {
        check_passed(&through(url(host, DOCX)).send(&lab).unwrap(), host, DOCX);
    }
    // A tunnel for clear text, and clear text without one.
    for tunnelled in [true, false] {
        let get = |host: &str| {
            let request = through(format!("http://{host}{}", DOCX.path));
            if tunnelled { request.arguments(&["--proxytunnel"]) } else { request }.send(&lab).unwrap()
        };
        check_blocked(&get(MONITORED), DOCX);
        check_passed(&get(UNMONITORED), UNMONITORED, DOCX);
    }
    let record = agent.wait_for_activity("the block", |record| record["type"] == "download").unwrap();
    assert_eq!(record["user"]["uid"], OWNER, "{record}");
    assert_eq!(record["process"]["exe"], "/usr/bin/curl", "{record}");
    let server = record["server"]["address"].as_str().unwrap();
    assert!(["198.18.0.10", "fd18::10"].contains(&server), "{record}");

    let status = agent.command(&["status", "--json"]).unwrap().succeeded().unwrap().text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["mode"], "explicit");
    assert!(status["listener"].as_str().unwrap().starts_with("127.0.0.1:3128"), "{status}");
    assert_eq!(status["steering"]["hooks"], json!([]));
    assert!(agent.command(&["status"]).unwrap().text().contains("clients are told to use this proxy"));
}

/// The uid is known of every client of this host, the process of the agent's own user's alone.
#[test]
fn another_users_client_is_known_by_its_uid_and_untouched_sites_keep_their_certificates() {
    const PROGRAM: &str = r#"
import ssl, sys, urllib.request, urllib.error, socket
name, path, trust, proxy = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({"https": proxy, "http": proxy}), urllib.request.HTTPSHandler(context=context))
for scheme in ("https", "http"):
    try:
        opener.open(f"{scheme}://{name}{path}")
    except urllib.error.HTTPError as error:
        print(error.code)
connection = socket.create_connection(("127.0.0.1", 3128))
connection.sendall(b"CONNECT other.example.test:443 HTTP/1.1\r\nHost: other.example.test:443\r\n\r\n")
print(connection.recv(999).split(b"\r\n")[0].decode())
tls = context.wrap_socket(connection, server_hostname="other.example.test")
print(dict(part[0] for part in tls.getpeercert()["issuer"])["commonName"])
"#;
    let lab = Lab::start().unwrap();
    let agent = start(&lab);
    let trust = lab.trust();
    let arguments = [MONITORED, DOCX.path, trust.to_str().unwrap(), PROXY];
    let said = python(&lab, PROGRAM, &arguments, Some(OTHER)).unwrap().succeeded().unwrap().text();
    assert_eq!(said, format!("403\n403\nHTTP/1.1 200 Connection established\n{ORIGIN_CA_NAME}\n"));
    let record = agent.wait_for_activity("the block", |record| record["type"] == "download").unwrap();
    assert_eq!(record["user"]["uid"], OTHER, "{record}");
    assert_eq!(record["process"]["pid"], json!(null), "{record}");
}

#[test]
fn what_is_no_request_for_a_proxy_or_leads_nowhere_is_told_so() {
    let lab = Lab::start().unwrap();
    let agent = start(&lab);
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (head, status, words) in [
        (connect("files.corp.test"), 400, ""),
        (connect("user@files.corp.test:443"), 400, ""),
        (connect("files.corp.test:0"), 400, "port"),
        (get("/", "files.corp.test"), 400, "this is a proxy"),
        (get("https://files.corp.test/", "files.corp.test"), 400, "CONNECT"),
        (get("http://files.corp.test/", "shared.test"), 400, ""),
        (connect("127.0.0.1:3128"), 403, "the proxy itself"),
        (connect("[::1]:3128"), 403, "the proxy itself"),
        (connect("0.0.0.0:3128"), 403, "not the address of a host"),
        (get("http://127.0.0.1:3128/", "127.0.0.1:3128"), 403, "the proxy itself"),
        (connect("nowhere.test:443"), 502, "resolved"),
        (connect("files.corp.test:4"), 502, "could not be reached"),
        (connect("files.corp.test:443") + "early", 400, "wait"),
    ] {
        let answer = ask(&lab, &head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
        assert!(answer.contains(words), "{head:?}: {answer}");
        assert!(answer.contains("onnection: close"), "{head:?}: {answer}");
    }
    // Not reached: an app's own.
    let record = agent.wait_for_activity("the failure", |record| record["type"] == "access").unwrap();
    assert_eq!(record["decision"]["reason"], "the origin could not be connected to", "{record}");
    assert_eq!(record["request"]["method"], "CONNECT", "{record}");
    assert_eq!(record["app"]["id"], "corp-files", "{record}");
}

/// The name of the tunnel is a claim, the hello in it decides; where they contradict each other, nothing passes.
#[test]
fn a_tunnel_for_one_name_with_another_in_it_earns_nothing() {
    const PROGRAM: &str = r#"
import socket, ssl, sys, time
asked, shown, path, trust = sys.argv[1:]
connection = socket.create_connection(("127.0.0.1", 3128))
connection.settimeout(20)
connection.sendall(f"CONNECT {asked} HTTP/1.1\r\nHost: {asked}\r\n\r\n".encode())
assert connection.recv(999).startswith(b"HTTP/1.1 200 "), asked
begun = time.monotonic()
try:
    if shown == "silence":
        print(connection.recv(99))
    elif shown == "ssh":
        connection.sendall(b"ssh-2.0-x\r\n")
        print(connection.recv(99))
    else:
        context = ssl.create_default_context(cafile=trust)
        context.check_hostname = False
        tls = context.wrap_socket(connection, server_hostname=None if shown == "nothing" else shown)
        host = shown
        if shown == "nested":
            host = asked
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := tls.recv(65536):
            answer += piece
        print(answer.split(b" ")[1].decode(), b"Download blocked" in answer)
except ConnectionResetError:
    print("reset", time.monotonic() - begun < 1.0)
"#;
    let lab = Lab::start().unwrap();
    let agent = start(&lab);
    let trust = lab.trust();
    let tunnel = |asked: &str, shown: &str| {
        let arguments = [asked, shown, DOCX.path, trust.to_str().unwrap()];
        python(&lab, PROGRAM, &arguments, Some(OTHER)).unwrap().succeeded().unwrap().text()
    };
    let address = address_of(MONITORED, false).unwrap();
    // Decided by the hello.
    assert_eq!(tunnel(&format!("{address}:443"), MONITORED), "403 True\n");
    assert_eq!(tunnel(&format!("{SHARED}:443"), MONITORED), "403 True\n");
    assert_eq!(tunnel("docs.corp.test:443", "docs.corp.test"), "403 True\n");
    assert_eq!(tunnel(&format!("{SHARED}:443"), SHARED), "200 False\n");
    // Refused.
    for (shown, reason) in [
        (SHARED, "the tunnel was asked for by another name"),
        ("nothing", "names no server"),
        ("silence", "the client said nothing"),
        ("ssh", "neither TLS nor HTTP"),
    ] {
        assert_eq!(tunnel(&format!("{MONITORED}:443"), shown), "reset True\n", "{shown}");
        let record = agent
            .wait_for_activity(shown, |record| {
                record["decision"]["reason"].as_str().unwrap().contains(reason)
            })
            .unwrap();
        assert_eq!(record["type"], "access", "{record}");
        assert_eq!(record["app"]["id"], "corp-files", "{record}");
        assert_eq!(record["user"]["uid"], OTHER, "{record}");
    }
    // A tunnel inside an inspected connection.
    let nested = ["--request", "CONNECT", "--request-target", "files.corp.test:443"];
    assert_eq!(through(url(MONITORED, PAGE)).arguments(&nested).send(&lab).unwrap().status, 501);
}

/// Fields for the proxy end there, what a proxy has to add is added, and one connection serves one request.
#[test]
fn a_request_in_absolute_form_is_sent_on_as_one_to_the_origin() {
    let lab = Lab::start().unwrap();
    let _agent = start(&lab);
    for host in [MONITORED, UNMONITORED] {
        let target = format!("http://{host}{}?x=1", DATA.path);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\n\r\n"
        );
        let answer = ask(&lab, &head);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("Via: 1.1 portcullis\r\n") && answer.contains("Connection: close\r\n"),
            "{answer}"
        );
        let wanted = format!("{host} GET {}?x=1 200 ", DATA.path);
        lab.wait_for_origin_request("the request", |line| line.starts_with(&wanted)).unwrap();
    }
}

/// Other hosts use the proxy only when they are named, and reach nothing of this host through it.
#[test]
fn other_hosts_are_let_in_by_address_and_kept_from_this_host() {
    let lab = Lab::start().unwrap();
    let curl = |settings: &Settings, target: &str| {
        let agent = Agent::start(&lab, settings).unwrap();
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                lab.origin_namespace(),
                "curl",
                "--silent",
                "--include",
                "--max-time",
                "20",
            ])
            .args(["--proxy", "http://198.18.0.2:3128", "--request-target", target, target])
            .output()
            .unwrap();
        drop(agent);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let page = format!("http://{UNMONITORED}{}", PAGE.path);
    let closed = explicit("0.0.0.0:3128", "");
    assert_eq!(curl(&closed, &page), "", "nobody but loopback is let in unasked");
    let open = explicit("0.0.0.0:3128", "clients = [\"198.18.0.0/15\"]\n");
    for target in ["http://127.0.0.1:9464/metrics", "http://198.18.0.2:9464/", "http://169.254.169.254/"] {
        let answer = curl(&open, target);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    let answer = curl(&open, &page);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A browser that is told to use the proxy: its page, and the block as a page.
#[test]
fn a_browser_shows_pages_and_blocks() {
    let lab = Lab::start().unwrap();
    let agent = start(&lab);
    let Some(browser) = browser::open(&lab, &agent, Kind::Chromium) else { return };
    let shown =
        |address: String| browser.document(&address, &["--proxy-server=http://127.0.0.1:3128"]).unwrap();
    assert!(shown(url(MONITORED, PAGE)).contains("Welcome to files.corp.test"));
    assert!(shown(url(MONITORED, DOCX)).contains("Downloading report.docx is blocked"));
    assert!(shown(url(UNMONITORED, PAGE)).contains("Welcome to other.example.test"));
}
