//! Requests in clear text where nothing says whose they are: however they are written, and whatever came before them on
//! their connection, none for a monitored app goes past (A3).

use lab::agent::{Agent, Settings};
use lab::attachment::{DATA, DOCX};
use lab::client::python;
use lab::{Lab, address_of};

use super::{MONITORED, SHARED};

/// Says one thing after another in a tunnel, each once the one before is answered, and prints what came and how it ended.
const PROGRAM: &str = r#"
import socket, sys
tunnel, *said = sys.argv[1:]
connection = socket.create_connection(("127.0.0.1", 3128))
connection.settimeout(20)
connection.sendall(f"CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n\r\n".encode())
assert connection.recv(999).startswith(b"HTTP/1.1 200 "), tunnel
answer = b""
try:
    for number, words in enumerate(said):
        connection.sendall(words.encode())
        while number + 1 < len(said) and b"\r\n\r\n" not in answer:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    connection.shutdown(socket.SHUT_WR)
    while piece := connection.recv(65536):
        answer += piece
except (ConnectionResetError, BrokenPipeError, OSError) as error:
    answer += f"<{type(error).__name__}>".encode()
print(answer.decode(errors="replace"), end="")
"#;

#[test]
fn a_request_for_an_app_is_found_however_it_is_written() {
    let lab = Lab::start().unwrap();
    let steering = "mode = \"explicit\"\nlisten = \"127.0.0.1:3128\"\nports = [443, 80]\n";
    let agent =
        Agent::start(&lab, &Settings { steering: Some(steering.into()), ..Settings::default() }).unwrap();
    let say = |tunnel: &str, said: &[&str]| {
        let arguments = [&[tunnel], said].concat();
        python(&lab, PROGRAM, &arguments, None).unwrap().succeeded().unwrap().text()
    };
    let request = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let file = request(MONITORED, DOCX.path);
    let other = request(SHARED, DATA.path);
    let closing = other.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let last = request(SHARED, DOCX.path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let shared = format!("{SHARED}:80");
    let literal = format!("{}:80", address_of(MONITORED, false).unwrap());
    // What the file's own head has, and nothing else.
    let is_file = |answer: &str| answer.contains("filename=\"report.docx\"");
    let refusals = || {
        agent.metric("portcullis_refusals_total", &[("failure", "misdirected")]).unwrap_or(0.0)
            + agent.metric("portcullis_refusals_total", &[("failure", "request_framing")]).unwrap_or(0.0)
    };

    for tunnel in [&shared, &literal] {
        // What is nobody's goes on as it is, also several times and in odd forms.
        let answer = say(tunnel, &[&other, &last]);
        assert!(answer.matches("HTTP/1.1 200 ").count() == 2 && is_file(&answer), "{answer}");
        let odd = closing.replace("\r\n", "\n");
        assert!(say(tunnel, &[&odd]).starts_with("HTTP/1.1 200 "));
        // No HTTP: the origin's own answer to it.
        let answer = say(tunnel, &["ssh-2.0-x\r\n\r\n"]);
        assert!(answer.contains("nginx"), "{answer}");

        assert!(say(tunnel, &[&file]).contains(" is blocked by "), "inspected");
        let lower = say(tunnel, &[&file.replace("GET", "get")]);
        assert!(
            lower.starts_with("HTTP/1.1 400 ") && !is_file(&lower),
            "nginx knows no such method: {lower}"
        );
        for (number, said) in [
            vec![other.clone() + &file],
            vec![other.clone(), file.clone()],
            vec![file.replace("\r\n", "\n")],
            vec![format!("\r\n\r\n{file}")],
            vec![file.replace("Host:", &format!("Host: {SHARED}\r\nHost:"))],
            vec![request(SHARED, &format!("http://{MONITORED}{}", DOCX.path))],
            vec![file.replace("Host: ", "Host:\r\n ")],
            vec![format!("CONNECT {MONITORED}:443 HTTP/1.1\r\nHost: {MONITORED}:443\r\n\r\n")],
        ]
        .into_iter()
        .enumerate()
        {
            let before = refusals();
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            let answer = say(tunnel, &said);
            assert!(!is_file(&answer), "{number} at {tunnel}: {answer}");
            assert_eq!(refusals(), before + 1.0, "{number} at {tunnel}: {answer}\n{}", agent.log());
        }
    }
    let record = agent
        .wait_for_activity("the later request", |record| {
            record["decision"]["reason"] == "the request is for another host than its connection"
        })
        .unwrap();
    assert_eq!((&record["type"], &record["app"]["id"]), (&"access".into(), &"corp-files".into()), "{record}");
    assert_eq!(record["server"]["name"], MONITORED, "{record}");

    // The tunnel is for an app, and what is said in it for somebody else.
    let answer = say(&format!("{MONITORED}:80"), &[&last]);
    assert!(answer.starts_with("HTTP/1.1 421 ") && !is_file(&answer), "{answer}");
    let reason = "the tunnel was asked for by another name than what is said in it has";
    agent.wait_for_activity("the tunnel", |record| record["decision"]["reason"] == reason).unwrap();
}
