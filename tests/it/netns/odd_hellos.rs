//! First words that are odd: each is decided within a second, and recorded where it concerns an app.

use std::process::{Child, Command};

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::browser::Kind;
use lab::client::{Curl, python};
use lab::{Lab, address_of, wait};
use serde_json::{Value, json};

use super::browser;
use super::{MONITORED, SHARED, UNMONITORED, check_passed};

const USER: u32 = 4242;

/// Sends first words by hand and says how long the answer took, and what it was: argv is a JSON object of the host to
/// resolve (or an address), the port, and the words in hex; `pause` sends nothing more.
const SAY: &str = r#"
import json, socket, sys, time
order = json.loads(sys.argv[1])
address = socket.getaddrinfo(order["host"], order["port"], socket.AF_INET, socket.SOCK_STREAM)[0][4]
connection = socket.create_connection(address)
connection.settimeout(10)
begun = time.monotonic()
if order["words"]:
    connection.sendall(bytes.fromhex(order["words"]))
try:
    answer = connection.recv(4096)
except ConnectionResetError:
    answer = b"reset"
print(json.dumps({"seconds": time.monotonic() - begun, "answer": answer[:5].hex()}))
"#;

/// A ClientHello with these extensions, in one record.
fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let sized = |content: &[u8]| [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat();
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| [kind.to_be_bytes().to_vec(), sized(data)].concat())
        .collect();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(sized(&[0x13, 0x01]));
    body.extend([1, 0]);
    body.extend(sized(&all));
    let mut message = vec![1];
    message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    message.extend(body);
    [&[22, 3, 1][..], &sized(&message)].concat()
}

/// server_name (RFC 6066 section 3).
fn sni(name: &[u8]) -> (u16, Vec<u8>) {
    let entry = [&[0][..], &u16::try_from(name.len()).unwrap().to_be_bytes(), name].concat();
    (0, [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], &entry].concat())
}

/// encrypted_client_hello with bytes that nobody can read.
fn ech() -> (u16, Vec<u8>) {
    (0xfe0d, vec![0; 64])
}

fn say(lab: &Lab, host: &str, port: u16, words: &[u8]) -> Value {
    let words: String = words.iter().map(|byte| format!("{byte:02x}")).collect();
    let order = json!({ "host": host, "port": port, "words": words }).to_string();
    let said = python(lab, SAY, &[&order], Some(USER)).unwrap().succeeded().unwrap().text();
    serde_json::from_str(&said).unwrap()
}

/// A30 and the further rows of the failure table that first words can meet.
#[test]
fn odd_first_words_to_a_monitored_app_are_refused_within_a_second_and_recorded() {
    let too_large = [&[22, 3, 1, 1, 0x30][..], &[1, 2, 0, 0], &[0; 300]].concat();
    let cases: [(&str, u16, Vec<u8>, &str); 9] = [
        ("no name", 443, hello(&[]), "names no server"),
        ("an address as the name", 443, hello(&[sni(b"198.18.0.10")]), "is no host name"),
        ("a name beyond ASCII", 443, hello(&[sni("büro.corp.test".as_bytes())]), "is no host name"),
        (
            "two lengths that differ",
            443,
            b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00".to_vec(),
            "cannot be parsed",
        ),
        ("a hello of 128 KiB", 443, too_large, "larger than allowed"),
        ("half a hello", 443, hello(&[sni(b"files.corp.test")])[..40].to_vec(), "did not arrive in time"),
        ("nothing", 443, Vec::new(), "the client said nothing"),
        ("another protocol", 443, b"ssh-2.0-x\r\n".to_vec(), "neither TLS nor HTTP"),
        ("no host in clear text", 80, b"GET / HTTP/1.0\r\n\r\n".to_vec(), "names no host"),
    ];
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for (what, port, words, reason) in cases {
        let before = agent.activities(&[]).unwrap().len();
        let answer = say(&lab, MONITORED, port, &words);
        assert!(answer["seconds"].as_f64().unwrap() < 1.0, "{what}: {answer}");
        if port == 443 {
            assert!(["", "7265736574"].contains(&answer["answer"].as_str().unwrap()), "{what}: {answer}");
        }
        // The newest is the first; two of the cases have the same reason.
        let record = wait::until("one record more", wait::PATIENCE, || {
            let records = agent.activities(&[])?;
            Ok((records.len() > before).then(|| records.into_iter().next()).flatten())
        })
        .unwrap();
        assert!(record["decision"]["reason"].as_str().unwrap().contains(reason), "{what}: {record}");
        assert_eq!(record["type"], "access", "{what}: {record}");
        assert_eq!(record["app"]["id"], "corp-files", "{what}: {record}");
        assert_eq!(
            (&record["decision"]["action"], &record["decision"]["enforced"]),
            (&json!("block"), &json!(true))
        );
        assert_eq!(record["user"]["uid"], USER, "{what}: {record}");
        assert!(record["process"]["exe"].as_str().unwrap().contains("python3"), "{what}: {record}");
        assert_eq!(record["server"]["address"], "198.18.0.10", "{what}: {record}");
        assert_eq!(record["server"]["port"], port, "{what}: {record}");
        assert_eq!(record["client"]["address"], "198.18.0.2", "{what}: {record}");
    }
    assert!(agent.metric("portcullis_refusals_total", &[("failure", "no_sni")]).unwrap() >= 1.0);
    assert_eq!(lab.origin_requests().iter().filter(|line| line.starts_with(MONITORED)).count(), 0);
}

/// Case and a closing dot are no other name (RFC 4343, RFC 6066 section 3); a request for another host is recorded.
#[test]
fn spellings_of_a_name_are_that_name_and_another_host_is_recorded() {
    const PROGRAM: &str = r#"
import socket, ssl, sys
name, spelled, host, path = sys.argv[1:]
tls = ssl._create_unverified_context().wrap_socket(socket.create_connection((name, 443)), server_hostname=spelled)
tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
answer = b""
while piece := tls.recv(65536):
    answer += piece
print(answer.split(b" ")[1].decode(), b"Download blocked" in answer)
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let ask = |spelled: &str, host: &str| {
        let arguments = [MONITORED, spelled, host, DOCX.path];
        python(&lab, PROGRAM, &arguments, Some(USER)).unwrap().succeeded().unwrap().text()
    };
    for spelled in ["FILES.Corp.TEST", "files.corp.test."] {
        assert_eq!(ask(spelled, MONITORED), "403 True\n", "{spelled}");
    }
    assert_eq!(ask(MONITORED, SHARED), "421 False\n");
    let record = agent.wait_for_activity("the other host", |record| record["type"] == "access").unwrap();
    assert_eq!(record["request"]["host"], SHARED, "{record}");
    assert_eq!(record["server"]["name"], MONITORED, "{record}");
    assert_eq!(record["request"]["path"], DOCX.path, "{record}");
    assert_eq!(record["decision"]["reason"], "the request is for another host than its connection");
}

/// RFC 9849: GREASE changes nothing; a provider's public name is answered by the agent, which has no keys.
#[test]
fn encrypted_hellos_are_switched_off_and_grease_is_left_alone() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    // Both answered: with an alert, since these hellos offer no key share. Who answered shows in the record.
    let grease = say(&lab, MONITORED, 443, &hello(&[sni(SHARED.as_bytes()), ech()]));
    assert!(grease["answer"].as_str().unwrap().starts_with("15"), "{grease}");
    assert_eq!(agent.activities(&["--type", "access"]).unwrap().len(), 0);
    let spliced = [("path", "spliced")];
    assert!(agent.metric("portcullis_connections_total", &spliced).unwrap() >= 1.0);

    let hidden = say(&lab, MONITORED, 443, &hello(&[sni(b"cloudflare-ech.com"), ech()]));
    assert!(hidden["answer"].as_str().unwrap().starts_with("15"), "{hidden}");
    let record = agent.wait_for_activity("the hidden name", |record| record["type"] == "access").unwrap();
    assert_eq!(record["app"]["id"], "corp-files", "{record}");
    assert_eq!(record["server"]["name"], "cloudflare-ech.com", "{record}");
    assert!(record["decision"]["reason"].as_str().unwrap().contains("hides its server name"), "{record}");
    // At an address that nothing explains as well, but it is nobody's.
    let nowhere = address_of(UNMONITORED, false).unwrap();
    let hidden = say(&lab, nowhere, 443, &hello(&[sni(b"cloudflare-ech.com"), ech()]));
    assert!(hidden["answer"].as_str().unwrap().starts_with("15"), "{hidden}");
    let switched_off = agent.metric("portcullis_refusals_total", &[("failure", "sni_hidden")]).unwrap();
    assert_eq!(switched_off, 2.0);
    // A real client with that name and no encryption is nobody's concern.
    let plain = say(&lab, MONITORED, 443, &hello(&[sni(b"cloudflare-ech.com")]));
    assert!(plain["answer"].as_str().unwrap().starts_with("15"), "{plain}");
    assert_eq!(agent.activities(&["--type", "access"]).unwrap().len(), 1);
}

/// Chromium believes the HTTPS record of `api.corp.test`, hides that name, learns that this is off here, and comes again
/// with the name in clear: the page is inspected, nobody was shown an error.
#[test]
fn a_browser_that_hides_its_name_comes_again_in_clear() {
    let lab = Lab::start().unwrap();
    // Else the kernel keeps the record with the key from it.
    let steering = format!(
        "mode = \"host\"\nquic = \"pass\"\ncgroup = \"{}\"\nlisten = \"127.0.0.1:0\"\n",
        lab.cgroup().display()
    );
    let settings = Settings { steering: Some(steering), ..Settings::default() };
    let agent = Agent::start(&lab, &settings).unwrap();
    let Some(browser) = browser::open(&lab, &agent, Kind::Chromium) else { return };
    let page = browser.document("https://api.corp.test/index.html", &[]).unwrap();
    assert!(page.contains("Welcome to api.corp.test"), "{page}");
    let record = agent.wait_for_activity("the hidden name", |record| record["type"] == "access").unwrap();
    assert_eq!(record["server"]["name"], "cloudflare-ech.com", "{record}");
    assert!(record["process"]["exe"].as_str().unwrap().contains("chromium"), "{record}");
    let file = browser.document("https://api.corp.test/content/report.docx", &[]).unwrap();
    assert!(file.contains("Downloading report.docx is blocked"), "{file}");
}

/// A server of the origin side that speaks first, until it is dropped.
struct Greeter(Child);

impl Greeter {
    const ADDRESS: &str = "198.18.0.1";

    fn start(lab: &Lab) -> Self {
        const PROGRAM: &str = r#"
import socket, sys
server = socket.create_server((sys.argv[1], 443))
while True:
    connection = server.accept()[0]
    connection.sendall(b"220 hello\r\n")
    said = connection.recv(999)
    connection.sendall(b"250 " + said)
    connection.close()
"#;
        let child = Command::new("ip")
            .args(["netns", "exec", lab.origin_namespace(), "python3", "-c", PROGRAM, Self::ADDRESS])
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// At an address that nothing explains a server may speak first; what belongs to no app is not recorded.
#[test]
fn a_server_that_speaks_first_is_heard_at_an_unexplained_address() {
    const PROGRAM: &str = r#"
import socket, sys, time
for attempt in range(100):
    try:
        connection = socket.create_connection((sys.argv[1], 443))
        connection.settimeout(10)
        begun = time.monotonic()
        greeting = connection.recv(999)
    except ConnectionError:
        greeting = b""
    if greeting:
        break
    time.sleep(0.1)
waited = time.monotonic() - begun
connection.sendall(b"ehlo\r\n")
print(waited < 1.0, greeting, connection.recv(999))
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let _greeter = Greeter::start(&lab);
    // First, because a look that finds nobody monitored is remembered.
    let garbled = say(&lab, Greeter::ADDRESS, 443, b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00");
    assert_eq!(garbled["answer"], "7265736574", "{garbled}");
    let said = python(&lab, PROGRAM, &[Greeter::ADDRESS], Some(USER)).unwrap().succeeded().unwrap().text();
    assert_eq!(said, "True b'220 hello\\r\\n' b'250 ehlo\\r\\n'\n");
    let refused = |failure: &str| agent.metric("portcullis_refusals_total", &[("failure", failure)]).unwrap();
    assert_eq!(refused("client_hello_unparsable"), 1.0);
    assert_eq!(agent.activities(&[]).unwrap().len(), 0);
}

/// A client that is told of HTTP/3 would try it first, and wait for it to be refused.
#[test]
fn offers_of_quic_go_from_inspected_responses_alone() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings::default()).unwrap();
    let offered = |host: &str, scheme: &str| {
        let reply = Curl::get(format!("{scheme}://{host}{}", PAGE.path)).send(&lab).unwrap();
        check_passed(&reply, host, PAGE);
        reply.header("alt-svc").unwrap_or_default().to_owned()
    };
    for scheme in ["https", "http"] {
        assert_eq!(offered(MONITORED, scheme), "h2=\":443\"");
        assert_eq!(offered(SHARED, scheme), "h3=\":443\"; ma=60, h2=\":443\"");
        assert_eq!(offered(UNMONITORED, scheme), "h3=\":443\"; ma=60, h2=\":443\"");
    }
}
