//! `[tls] kernel = true`: where the kernel has TLS it seals what inspected connections send, and nobody else notices. Where
//! it has none, as on many machines that build this, everything is as without the setting, and says so.

use std::fs;

use lab::agent::{Agent, Settings};
use lab::attachment::{BIG, DOCX, PAGE, PDF};
use lab::client::{Curl, Family, probe, python, sha256};
use lab::{Lab, OWN_SITE};

use super::tls_records::{SUITES, check_origins};
use super::{MONITORED, check_blocked, check_passed, left_out, url};

/// Set where the kernel is known to have TLS.
const REQUIRED: &str = "PORTCULLIS_TEST_KERNEL_TLS";
const CONNECTIONS: &str = "portcullis_kernel_tls_connections_total";
const ENDED: &str = "portcullis_kernel_tls_ended_total";

fn settings(compliant: bool) -> Settings {
    Settings { compliant, tls: "kernel = true\n".to_owned(), ..Settings::default() }
}

/// What the kernel counts in the agent's network namespace; zero without TLS.
fn counted(lab: &Lab, name: &str) -> u64 {
    let text = lab.run(&["sh", "-c", "cat /proc/net/tls_stat || true"], None).unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.trim().parse().unwrap()
}

/// Whether the kernel has TLS, which must hold by what was seen of it: it sealed all connections that were offered to it,
/// at least `least` on each side; or it has none, and the agent did.
#[track_caller]
fn check_who_seals(lab: &Lab, agent: &Agent<'_>, least: u64) -> bool {
    // Loaded by the first connection, if at all.
    let has_tls = lab.run(&["cat", "/proc/net/tls_stat"], None).unwrap().code == Some(0);
    if !has_tls {
        assert!(std::env::var_os(REQUIRED).is_none(), "the kernel has no TLS: {}", agent.log());
        left_out("the kernel has no TLS: seen was how the agent does without (vm-test shows the rest)");
    }
    let by = |side, by| agent.metric(CONNECTIONS, &[("side", side), ("sealed_by", by)]).unwrap() as u64;
    let (sealing, other) = if has_tls { ("kernel", "agent") } else { ("agent", "kernel") };
    for side in ["client", "origin"] {
        assert!(by(side, sealing) >= least, "{side}: {}", agent.metrics().unwrap());
        assert_eq!(by(side, other), 0, "{side}: {}", agent.log());
    }
    let sealed = counted(lab, "TlsTxSw") + counted(lab, "TlsTxDevice");
    assert_eq!(sealed, by("client", "kernel") + by("origin", "kernel"), "by the kernel's own count");
    assert_eq!(counted(lab, "TlsRxSw"), 0, "the agent opens what it receives");
    has_tls
}

#[test]
fn downloads_are_the_same_and_blocked_ones_are_blocked() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(true)).unwrap();
    check_passed(&Curl::get(url(MONITORED, BIG)).send(&lab).unwrap(), MONITORED, BIG);
    check_passed(&Curl::get(url(MONITORED, BIG)).http2().send(&lab).unwrap(), MONITORED, BIG);
    for suite in SUITES {
        check_passed(&Curl::get(url(MONITORED, PDF)).arguments(suite).send(&lab).unwrap(), MONITORED, PDF);
    }
    // Several over one connection.
    let paths = [PAGE.path, PDF.path, DOCX.path, PAGE.path];
    let kept = probe(&lab, MONITORED, Family::V4, 443, &paths).unwrap();
    for (reply, resource) in kept.replies.iter().zip([PAGE, PDF, DOCX, PAGE]) {
        check_passed(reply, MONITORED, resource);
    }
    check_who_seals(&lab, &agent, 9);
    agent.set_compliant(false).unwrap();
    for suite in SUITES {
        check_blocked(&Curl::get(url(MONITORED, DOCX)).arguments(suite).send(&lab).unwrap(), DOCX);
        check_blocked(&Curl::get(url(MONITORED, DOCX)).arguments(suite).http2().send(&lab).unwrap(), DOCX);
    }
    let paths = [PAGE.path, DOCX.path, PAGE.path];
    let kept = probe(&lab, MONITORED, Family::V4, 443, &paths).unwrap();
    check_blocked(&kept.replies[1], DOCX);
    check_passed(&kept.replies[2], MONITORED, PAGE);
    check_who_seals(&lab, &agent, 22);
}

/// Either side has a suite of its own: what is handed on is sealed for another version.
#[test]
fn every_suite_of_an_origin_meets_every_version_of_a_client() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(true)).unwrap();
    check_origins(&lab);
    check_who_seals(&lab, &agent, 18);
}

#[test]
fn uploads_are_the_same() {
    const ORIGIN: &str = r#"
import hashlib, http.server, ssl, sys
address, certificate, key = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_PUT(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 65536))
            digest.update(piece)
            left -= len(piece)
        body = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer((address, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(true)).unwrap();
    let program = ["/usr/bin/python3", "-I", "-c", ORIGIN, "ADDRESS", "CERTIFICATE", "KEY"];
    let _origin = lab.serve_own_site(&program).unwrap();
    let body = BIG.body(OWN_SITE);
    let file = lab.directory().join("upload");
    for length in [1, 16_385, 12 << 20] {
        fs::write(&file, &body[..length]).unwrap();
        let put = Curl::get(format!("https://{OWN_SITE}/up"));
        let reply = put.arguments(&["--upload-file", file.to_str().unwrap()]).send(&lab).unwrap();
        assert_eq!((reply.status, reply.text()), (200, sha256(&body[..length]).unwrap()), "{length}");
    }
    check_who_seals(&lab, &agent, 3);
}

/// The last octets wait with the kernel's TLS while TCP has no room for them, and the agent closes.
#[test]
fn a_client_that_reads_slowly_gets_everything_before_the_end() {
    const CLIENT: &str = r#"
import hashlib, socket, ssl, sys, time
host, path, trust = sys.argv[1:]
digest, body = hashlib.sha256(), 0
plain = socket.socket()
plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
plain.connect((host, 443))
tls = ssl.create_default_context(cafile=trust).wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
head = b""
while b"\r\n\r\n" not in head:
    head += tls.recv(1)
while piece := tls.recv(60000):
    digest.update(piece)
    body += len(piece)
    time.sleep(0.002)
print(body, digest.hexdigest())
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(true)).unwrap();
    let trust = lab.trust();
    for (resource, times) in [(DOCX, 4), (BIG, 1)] {
        let body = resource.body(MONITORED);
        for _ in 0..times {
            let arguments = [MONITORED, resource.path, trust.to_str().unwrap()];
            let got = python(&lab, CLIENT, &arguments, None).unwrap().succeeded().unwrap().text();
            assert_eq!(got.trim(), format!("{} {}", body.len(), sha256(&body).unwrap()), "{}", resource.path);
        }
    }
    check_who_seals(&lab, &agent, 5);
}

/// RFC 8446 section 4.6.3: a peer that asks for a new key has to get one before anything else. A kernel before 6.14 takes
/// none, so the connection ends, with an alert and not with records that nobody can read.
#[test]
fn a_client_that_asks_for_a_new_key_gets_it_or_an_end() {
    const CLIENT: &str = r#"
import subprocess, sys
host, path, trust = sys.argv[1:]
command = ["openssl", "s_client", "-connect", f"{host}:443", "-servername", host, "-CAfile", trust, "-tls1_3", "-msg"]
client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
# What is typed next once a line begins so: `K` alone is the command that updates keys and asks the peer to.
steps = [(b"    Verify return code: 0", request), (b"HTTP/1.1 200", b"K\n"),
         (b">>> TLS 1.3, Handshake [length 0005], KeyUpdate", request), (b"HTTP/1.1 200", b"Q\n")]
for line in client.stdout:
    sys.stdout.write(line.decode("latin-1"))
    if steps and steps[0][0] in line:
        try:
            client.stdin.write(steps.pop(0)[1])
            client.stdin.flush()
        except BrokenPipeError:
            steps = []
"#;
    const ANSWERED: &str = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate";
    const ALERT: &str = "<<< TLS 1.3, Alert [length 0002], fatal internal_error";
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(true)).unwrap();
    let trust = lab.trust();
    let arguments = [MONITORED, PAGE.path, trust.to_str().unwrap()];
    let said = python(&lab, CLIENT, &arguments, None).unwrap().succeeded().unwrap().text();
    let answers = said.matches("HTTP/1.1 200").count();
    let by_kernel = check_who_seals(&lab, &agent, 1);
    let ended = agent.metric(ENDED, &[]).unwrap();
    if by_kernel && said.contains(ALERT) {
        assert!(release() < (6, 14), "this kernel takes a second key: {said}");
        assert_eq!((answers, ended, said.contains(ANSWERED)), (1, 1.0, false), "{said}");
        let log = agent.log();
        assert!(log.contains("a connection ends: the peer asks for a new key"), "{log}");
    } else {
        assert!(!by_kernel || release() >= (6, 14), "{said}");
        assert_eq!((answers, ended, said.contains(ANSWERED)), (2, 0.0, true), "{said}");
    }
    // Other connections do not care.
    check_passed(&Curl::get(url(MONITORED, PDF)).send(&lab).unwrap(), MONITORED, PDF);
}

/// Version and patch level of the kernel.
fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn what_the_kernel_lacks_is_said_once_and_a_reload_switches() {
    const SAID: &str = "[tls] kernel: the kernel has no TLS";
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let offered = || agent.metric(CONNECTIONS, &[]).unwrap();
    let checks = || {
        let report = agent.command(&["doctor", "--json"]).unwrap().text();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == "kernel-tls")
    };
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    assert_eq!((offered(), checks()), (0.0, None), "nobody asked for it");

    agent.edit_config(|text| text.replace("[tls]\n", "[tls]\nkernel = true\n")).unwrap();
    agent.command(&["reload"]).unwrap().succeeded().unwrap();
    for _ in 0..3 {
        check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    }
    let by_kernel = check_who_seals(&lab, &agent, 3);
    let said = agent.log().matches(SAID).count();
    let check = checks().expect("a line of the doctor");
    if by_kernel {
        assert_eq!((said, check["outcome"].as_str()), (0, Some("ok")), "{check}");
    } else {
        assert_eq!((said, check["outcome"].as_str()), (1, Some("failed")), "{check}\n{}", agent.log());
        assert!(check["remedy"].as_str().is_some_and(|remedy| remedy.contains("tls")), "{check}");
    }

    agent.edit_config(|text| text.replace("kernel = true\n", "")).unwrap();
    agent.command(&["reload"]).unwrap().succeeded().unwrap();
    let before = offered();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    assert_eq!(offered(), before);
}
