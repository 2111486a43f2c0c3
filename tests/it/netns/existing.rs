//! What was there before the agent: answers that clients keep, and connections that are open.

use std::fs;
use std::path::PathBuf;

use lab::agent::{Agent, BLOCK_UNMANAGED, MONITOR_MEMO, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, python_daemon};
use lab::{Daemon, Lab, ORIGIN_CA_NAME, address_of, wait};

use super::{MONITORED, UNMONITORED, check_blocked, url};

/// Holds a connection that was in use, or has said nothing yet, and, once it broke or the file `go` is there, says what it can still do; then connects anew to the
/// same address. Names are never looked up.
const HOLD: &str = r#"
import errno, http.client, os, select, socket, ssl, sys, time
host, address, trust, go, silent = sys.argv[1:]
connection = http.client.HTTPConnection(address, 80, timeout=20)
connection.connect()
if silent == "no":
    connection.request("GET", "/index.html", headers={"Host": host})
    connection.getresponse().read()
first = connection.sock
print("open")
while not os.path.exists(go):
    if select.select([first], [], [], 0.02)[0]:
        try:
            said = first.recv(1)
            print("said", said)
            break
        except OSError as error:
            print("broke", errno.errorcode.get(error.errno))
            break
else:
    first.sendall(f"GET /index.html HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    print("went on", first.recv(12))
while not os.path.exists(go):
    time.sleep(0.02)
context = ssl.create_default_context(cafile=trust)
tls = context.wrap_socket(socket.create_connection((address, 443), 20), server_hostname=host)
print("again by", dict(part[0] for part in tls.getpeercert()["issuer"])["commonName"])
"#;

struct Holder {
    daemon: Daemon,
    go: PathBuf,
}

impl Holder {
    /// A client with an open connection that was in use.
    fn open(lab: &Lab, host: &str, v6: bool, uid: Option<u32>) -> Self {
        Self::start(lab, host, v6, uid, "no")
    }

    fn start(lab: &Lab, host: &str, v6: bool, uid: Option<u32>, silent: &str) -> Self {
        let name = format!("hold-{host}-{v6}");
        let go = lab.directory().join(format!("{name}.go"));
        let (trust, address) = (lab.trust(), address_of(host, v6).unwrap());
        let arguments = [host, address, trust.to_str().unwrap(), go.to_str().unwrap(), silent];
        let daemon = python_daemon(lab, &name, HOLD, &arguments, uid).unwrap();
        let holder = Self { daemon, go };
        holder.says("open");
        holder
    }

    #[track_caller]
    fn says(&self, wanted: &str) {
        wait::until(&format!("\"{wanted}\""), wait::PATIENCE, || {
            Ok(self.daemon.log().contains(wanted).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", self.daemon.log()));
    }

    fn go(&self) {
        fs::write(&self.go, "").unwrap();
    }
}

/// A30: an answer that a client has kept from before the agent's start. Without the guard only what was looked up ahead
/// tells that the address is an app's.
#[test]
fn an_address_known_before_the_start_is_steered_on_its_first_connect() {
    for guard in ["off", "peek"] {
        let lab = Lab::start().unwrap();
        // Left open, so that the connection itself does not tell the client anything.
        let held = [false, true].map(|v6| Holder::open(&lab, MONITORED, v6, None));
        let settings = Settings { guard, further: "existing = \"leave\"".to_owned(), ..Settings::default() };
        let agent = Agent::start(&lab, &settings).unwrap();
        let steered = || agent.metric("portcullis_kernel_events_total", &[("event", "steered")]).unwrap();
        wait::until("names to be looked up ahead", wait::PATIENCE, || {
            Ok(agent.log().contains("looked names up ahead").then_some(()))
        })
        .unwrap();
        assert_eq!(steered(), 0.0);
        for holder in &held {
            holder.go();
            holder.says("went on b'HTTP/1.1 200'");
            holder.says("again by ");
            assert!(!holder.daemon.log().contains(&format!("again by {ORIGIN_CA_NAME}")), "guard {guard}");
        }
        assert_eq!(steered(), 2.0);
        assert_eq!(
            agent.metric("portcullis_kernel_events_total", &[("event", "peeked")]).unwrap(),
            0.0,
            "guard {guard}: the address was known"
        );
    }
}

/// A30: what a connection from before is for can still be read where it has said nothing yet, as those that browsers open
/// in advance.
#[test]
fn a_connection_from_before_that_has_said_nothing_is_read_like_any_other() {
    let lab = Lab::start().unwrap();
    let holder = Holder::start(&lab, MONITORED, false, None, "yes");
    let settings =
        Settings { further: "existing = \"leave\"\nresolve = false".to_owned(), ..Settings::default() };
    let agent = Agent::start(&lab, &settings).unwrap();
    let stopped = || agent.metric("portcullis_kernel_events_total", &[("event", "net-stopped")]).unwrap();
    assert_eq!(stopped(), 0.0);
    holder.go();
    holder.says("ConnectionAbortedError");
    assert_eq!(stopped(), 1.0);
    assert!(lab.origin_requests().is_empty(), "it left the host");
}

/// A30: a name in the hosts file, for which no answer is ever seen: the agent looks it up as its clients do.
#[test]
fn a_name_from_the_hosts_file_is_known_without_any_answer() {
    let lab = Lab::start().unwrap();
    let [v4, v6] = [false, true].map(|v6| address_of(MONITORED, v6).unwrap());
    fs::write(lab.hosts(), format!("{v4} {MONITORED}\n{v6} {MONITORED}\n127.0.0.1 notes.memo.test\n"))
        .unwrap();
    let agent = Agent::start(&lab, &Settings { guard: "off", ..Settings::default() }).unwrap();
    wait::until("names to be looked up ahead", wait::PATIENCE, || {
        Ok(agent.log().contains("looked names up ahead").then_some(()))
    })
    .unwrap();
    for family in ["-4", "-6"] {
        let reply = Curl::get(url(MONITORED, DOCX)).arguments(&[family]).send(&lab).unwrap();
        check_blocked(&reply, DOCX);
    }
    assert_eq!(agent.metric("portcullis_kernel_events_total", &[("event", "dns-answer")]).unwrap(), 0.0);
    assert_eq!(agent.metric("portcullis_kernel_events_total", &[("event", "steered")]).unwrap(), 2.0);
}

/// With `resolve = false` and no guard, nothing tells: this is what the look-ups are for.
#[test]
fn names_are_not_looked_up_when_that_is_switched_off() {
    let lab = Lab::start().unwrap();
    let held = Holder::open(&lab, MONITORED, false, None);
    let settings = Settings {
        guard: "off",
        further: "existing = \"leave\"\nresolve = false".to_owned(),
        ..Settings::default()
    };
    let agent = Agent::start(&lab, &settings).unwrap();
    held.go();
    held.says(&format!("again by {ORIGIN_CA_NAME}"));
    assert_eq!(agent.metric("portcullis_kernel_events_total", &[("event", "dns-address")]).unwrap(), 0.0);
}

#[test]
fn open_connections_to_selected_apps_are_closed_and_recorded() {
    let lab = Lab::start().unwrap();
    let held = [false, true].map(|v6| Holder::open(&lab, MONITORED, v6, Some(4242)));
    let other = Holder::open(&lab, UNMONITORED, false, None);
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for holder in &held {
        holder.says("broke ECONNABORTED");
        holder.go();
        holder.says("again by ");
        assert!(!holder.daemon.log().contains(&format!("again by {ORIGIN_CA_NAME}")));
    }
    other.go();
    other.says("went on b'HTTP/1.1 200'");

    let closed = [("app", "corp-files"), ("result", "closed")];
    assert_eq!(agent.metric("portcullis_existing_connections_total", &closed).unwrap(), 2.0);
    assert_eq!(agent.metric("portcullis_existing_connections_total", &[]).unwrap(), 2.0);
    for holder in held {
        let pid = holder.daemon.pid();
        let record = agent
            .wait_for_activity("the closed connection", |record| {
                record["type"] == "access" && record["process"]["pid"] == pid
            })
            .unwrap();
        for (pointer, expected) in [
            ("/app/id", "corp-files"),
            ("/decision/action", "block"),
            ("/decision/reason", "the connection was made before it could be inspected, and is closed"),
            ("/client/kind", "native"),
        ] {
            assert_eq!(
                record.pointer(pointer).and_then(|v| v.as_str()),
                Some(expected),
                "{pointer}: {record}"
            );
        }
        assert_eq!(record["user"]["uid"], 4242);
        assert_eq!(record["decision"]["enforced"], true);
        assert!(record["process"]["exe"].as_str().is_some_and(|exe| exe.contains("python")), "{record}");
        assert!(
            record["server"]["address"]
                .as_str()
                .is_some_and(|a| address_of(MONITORED, a.contains(':')) == Some(a))
        );
        assert_eq!(record["server"]["port"], 80);
    }
}

#[test]
fn open_connections_are_only_reported_when_the_setting_says_so() {
    let lab = Lab::start().unwrap();
    let held = Holder::open(&lab, MONITORED, false, None);
    let settings = Settings { further: "existing = \"report\"".to_owned(), ..Settings::default() };
    let agent = Agent::start(&lab, &settings).unwrap();
    let record = agent.wait_for_activity("the open connection", |record| record["type"] == "access").unwrap();
    assert_eq!(record["decision"]["action"], "monitor");
    assert_eq!(record["decision"]["enforced"], false);
    assert_eq!(record["process"]["pid"], held.daemon.pid());
    held.go();
    held.says("went on b'HTTP/1.1 200'");
    let reported = [("app", "corp-files"), ("result", "reported")];
    assert_eq!(agent.metric("portcullis_existing_connections_total", &reported).unwrap(), 1.0);
}

/// A1: a policy selects the app while a connection to it is open; a reload that selects nothing new closes nothing.
#[test]
fn a_policy_that_begins_to_select_an_app_closes_its_connections() {
    let lab = Lab::start().unwrap();
    let memo = ("20-memo.toml".to_owned(), MONITOR_MEMO.to_owned());
    let settings = Settings { policies: vec![memo], ..Settings::default() };
    let agent = Agent::start(&lab, &settings).unwrap();
    // Its name is looked up by a client: the answer explains the address, and the connection goes direct.
    lab.run(&["getent", "ahosts", MONITORED], None).unwrap().succeeded().unwrap();
    let held = Holder::open(&lab, MONITORED, false, None);
    agent.write_policy("10-downloads.toml", BLOCK_UNMANAGED).unwrap();
    held.says("broke ECONNABORTED");
    held.go();
    held.says("again by ");
    assert!(!held.daemon.log().contains(&format!("again by {ORIGIN_CA_NAME}")));
}
