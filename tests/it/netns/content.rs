//! A29: what stands in uploads and downloads, with real clients: blocked before a byte of it is on the other side, or
//! passed byte for byte; on record as numbers.

use std::path::PathBuf;

use lab::agent::{Agent, Settings};
use lab::client::{Curl, python};
use lab::{Lab, NOBODY};
use serde_json::{Value, json};

use super::MONITORED;

const CARD: &str = "4242 4242 4242 4242";
/// The check digit is wrong.
const NEAR: &str = "4242 4242 4242 4241";

const POLICY: &str = r#"[[policy]]
name = "No card numbers"
apps.include = ["corp-files"]
[policy.session]
control = "custom"
[[policy.session.rule]]
name = "cards"
content = { detect = ["credit-card", "password"], at_least = 1 }
action = "block"
[[policy.session.rule]]
name = "programs"
activity = ["upload"]
files = { extensions = ["exe"] }
action = "block"
message = "No programs here."
"#;

fn settings(policy: &str) -> Settings {
    Settings { policies: vec![("10-content.toml".to_owned(), policy.to_owned())], ..Settings::default() }
}

/// What nginx keeps of a PUT.
fn stored(lab: &Lab, name: &str) -> PathBuf {
    lab.directory().join("origin/documents").join(MONITORED).join("drive").join(name)
}

/// Sends requests one after the other on one connection, each in pieces with a pause between; prints their statuses.
const SEND: &str = r#"
import base64, http.client, json, socket, ssl, sys, time
host, trust, requests = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
context = ssl.create_default_context(cafile=trust)
answers, connection = [], None
for request in requests:
    if connection is None:
        connection = http.client.HTTPSConnection(host, context=context, timeout=40)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialled = True
    else:
        dialled = False
    body = base64.b64decode(request["body"])
    step = request.get("step", max(len(body), 1))
    pieces = [body[at:at + step] for at in range(0, len(body), step)]
    chunked = request.get("chunked", False)
    connection.putrequest(request["method"], request["path"])
    for name, value in request["headers"].items():
        connection.putheader(name, value)
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    else:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for piece in pieces:
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if step < len(body):
            time.sleep(0.003)
    if chunked:
        connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    text = answer.read().decode("latin-1")
    answers.append({"status": answer.status, "text": text[:300], "dialled": dialled})
    if answer.will_close:
        connection.close()
        connection = None
print(json.dumps(answers))
"#;

fn request(method: &str, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Value {
    json!({"method": method, "path": path, "headers": {"Content-Type": content_type}, "body": base64(body.as_ref())})
}

fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |value: u32| char::from(DIGITS[(value & 63) as usize]);
    octets
        .chunks(3)
        .flat_map(|three| {
            let value = three.iter().fold(0, |value, octet| value << 8 | u32::from(*octet))
                << (8 * (3 - three.len()));
            let mut four = [digit(value >> 18), digit(value >> 12), digit(value >> 6), digit(value)];
            four[three.len() + 1..].fill('=');
            four
        })
        .collect()
}

fn send(lab: &Lab, requests: &[Value]) -> Vec<Value> {
    let trust = lab.trust();
    // Longer than arguments may be.
    let order = lab.directory().join("requests.json");
    std::fs::write(&order, json!(requests).to_string()).unwrap();
    let arguments = [MONITORED, trust.to_str().unwrap(), order.to_str().unwrap()];
    let said = python(lab, SEND, &arguments, Some(NOBODY)).unwrap().succeeded().unwrap().text();
    serde_json::from_str(&said).unwrap()
}

fn gzip(plain: &str) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// A document as word processors write it, the text cut into runs. From standard library of Python, which streams its ZIP.
fn document(text: &str) -> Vec<u8> {
    const WRITE: &str = r#"
import sys, zipfile
start, end = sys.argv[1][:7], sys.argv[1][7:]
run = "<w:r><w:rPr><w:b/><w:sz w:val=\"24\"/></w:rPr><w:t xml:space=\"preserve\">%s</w:t></w:r>"
class Stream:
    write, flush = sys.stdout.buffer.write, sys.stdout.buffer.flush
with zipfile.ZipFile(Stream(), "w", zipfile.ZIP_DEFLATED) as document:
    document.writestr("[Content_Types].xml", "<Types/>")
    document.writestr("word/document.xml", "<w:body><w:p>" + run % start + run % end + "</w:p></w:body>")
"#;
    let output = std::process::Command::new("python3").args(["-c", WRITE, text]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every wrapping of one text, named by the path it is sent to.
fn wrappings(text: &str) -> Vec<Value> {
    let form = |part_type: &str, text: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: {part_type}\r\n\r\n\
             {text}\r\n--b--\r\n"
        )
    };
    let long = format!("{}\npaid with {text}\n{}", "lorem ipsum ".repeat(9000), "dolor sit ".repeat(9000));
    let escaped = text.replace(' ', "\\u0020");
    vec![
        request("PUT", "/drive/plain", "text/plain", format!("paid with {text}")),
        request("PUT", "/drive/json", "application/json", format!("{{\"text\":\"paid with {escaped}\"}}")),
        request(
            "PUT",
            "/drive/form",
            "application/x-www-form-urlencoded",
            format!("a=1&b={}", text.replace(' ', "+")),
        ),
        request("POST", "/drive/parts", "multipart/form-data; boundary=b", form("text/plain", text)),
        request("PUT", "/drive/csv", "text/csv", format!("id,pan\n1,{}\n", text.replace(' ', ""))),
        request("PUT", "/drive/html", "text/html", format!("<p>{}</p>", text.replace(' ', "&nbsp;<b></b>"))),
        with(
            request("PUT", "/drive/chunked", "text/plain", format!("paid with {text}")),
            "chunked",
            json!(true),
        ),
        with(
            with(
                request("PUT", "/drive/octets", "text/plain", format!("paid with {text}")),
                "step",
                json!(1),
            ),
            "chunked",
            json!(true),
        ),
        with(request("PUT", "/drive/split", "text/plain", format!("paid with {text}")), "step", json!(3)),
        with(request("PUT", "/drive/long", "text/plain", long), "step", json!(5000)),
        request("PUT", "/drive/a.docx", "application/octet-stream", document(text)),
        request(
            "PUT",
            "/drive/graph",
            "application/json",
            json!({"name": "a.docx", "contentBytes": base64(&document(text))}).to_string(),
        ),
        json!({"method": "PUT", "path": "/drive/gzip", "body": base64(&gzip(&format!("paid with {text}"))),
               "headers": {"Content-Type": "text/plain", "Content-Encoding": "gzip"}}),
    ]
}

/// A29: in whatever wrapping a number goes up, the origin sees no byte of it, and the connection goes on.
#[test]
fn uploads_with_card_numbers_end_before_the_origin() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(POLICY)).unwrap();
    let blocked = wrappings(CARD);
    let answers = send(&lab, &blocked);
    for (request, answer) in blocked.iter().zip(&answers) {
        assert_eq!(answer["status"], 403, "{}: {answer}", request["path"]);
        assert!(answer["text"].as_str().unwrap().contains("blocked"), "{answer}");
    }
    assert_eq!(answers.iter().filter(|answer| answer["dialled"] == true).count(), 1, "{answers:?}");
    assert_eq!(lab.origin_requests(), Vec::<String>::new(), "the origin saw a request");
    assert!(!stored(&lab, "plain").exists());

    let near = wrappings(NEAR);
    for (request, answer) in near.iter().zip(send(&lab, &near)) {
        // There is nothing that takes a POST, but nginx got it.
        let expected = if request["method"] == "PUT" { 201 } else { 404 };
        assert_eq!(answer["status"], expected, "{}: {answer}", request["path"]);
    }
    assert_eq!(std::fs::read_to_string(stored(&lab, "plain")).unwrap(), format!("paid with {NEAR}"));
    assert_eq!(std::fs::read_to_string(stored(&lab, "octets")).unwrap(), format!("paid with {NEAR}"));
    assert_eq!(std::fs::read(stored(&lab, "gzip")).unwrap(), gzip(&format!("paid with {NEAR}")));
    assert!(std::fs::read(stored(&lab, "a.docx")).unwrap().starts_with(b"PK\x03\x04"));
    let long = std::fs::read_to_string(stored(&lab, "long")).unwrap();
    assert!(long.ends_with(&"dolor sit ".repeat(9000)) && long.len() > 190_000);

    let blocked = |record: &Value| {
        record["request"]["path"] == "/drive/parts" && record["decision"]["action"] == "block"
    };
    let record = agent.wait_for_activity("the form", blocked).unwrap();
    assert_eq!(record["type"], "upload", "{record}");
    assert_eq!(record["file"]["name"], "a.txt", "{record}");
    assert_eq!(record["decision"]["rule"], "cards", "{record}");
    assert_eq!(record["decision"]["enforced"], true, "{record}");
    assert_eq!(record["content"], json!({"matches": [{"detector": "credit-card", "count": 1}]}), "{record}");
    assert_eq!(record["response"], Value::Null, "{record}");
}

/// A29: the text is nowhere but with client and origin: not in the log's file, nor in what the agent says.
#[test]
fn what_was_found_is_never_stored() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(POLICY)).unwrap();
    let body = "pay 4242424242424242, password=Tr0ub4dor3xyz";
    let answer = send(&lab, &[request("PUT", "/drive/a", "text/plain", body)]);
    assert_eq!(answer[0]["status"], 403);
    let record =
        agent.wait_for_activity("the upload", |record| record["request"]["path"] == "/drive/a").unwrap();
    let matches = json!([{"detector": "credit-card", "count": 1}, {"detector": "password", "count": 1}]);
    assert_eq!(record["content"]["matches"], matches, "{record}");
    let state = agent.config().parent().unwrap().join("state");
    let mut files = 0;
    for entry in
        std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let octets = std::fs::read(&entry).unwrap();
        for text in ["4242424242424242", "Tr0ub4dor3xyz"] {
            let found = octets.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} is in {}", entry.display());
        }
        files += 1;
    }
    assert!(files > 0, "nothing in {}", state.display());
    assert!(!agent.log().contains("4242424242424242") && !agent.log().contains("Tr0ub4dor3xyz"));
}

/// A29: the same for what is received.
#[test]
fn downloads_with_card_numbers_end_before_the_client() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(POLICY)).unwrap();
    let documents = stored(&lab, "");
    std::fs::create_dir_all(&documents).unwrap();
    let long = format!("{} {CARD} {}", "lorem ipsum ".repeat(20_000), "dolor ".repeat(10));
    for (name, text) in [("card.txt", CARD), ("near.txt", NEAR), ("long.txt", long.as_str())] {
        std::fs::write(documents.join(name), text).unwrap();
    }
    let get = |name: &str| Curl::get(format!("https://{MONITORED}/drive/{name}")).send(&lab).unwrap();
    for name in ["card.txt", "long.txt"] {
        let reply = get(name);
        assert_eq!(reply.status, 403, "{}", reply.text());
        assert!(reply.text().contains(&format!("Downloading {name} is blocked")), "{}", reply.text());
        assert!(!reply.text().contains("4242") && !reply.text().contains("lorem"), "{}", reply.text());
    }
    let reply = get("near.txt");
    assert_eq!((reply.status, reply.text()), (200, NEAR.to_owned()));
    let record = agent.wait_for_activity("the pass", |record| record["file"]["name"] == "near.txt").unwrap();
    assert_eq!(record["content"], json!({"matches": []}), "{record}");
}

/// The rule's own word decides about what lies beyond the bound, and the record says so.
#[test]
fn beyond_the_bound_the_policy_decides() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(POLICY)).unwrap();
    let large = lab.directory().join("large.txt");
    std::fs::write(&large, "lorem ipsum ".repeat(300_000)).unwrap();
    let put = |name: &str| {
        Curl::get(format!("https://{MONITORED}/drive/{name}"))
            .header("Content-Type: application/octet-stream")
            .arguments(&["--upload-file", large.to_str().unwrap()])
            .send(&lab)
            .unwrap()
    };
    assert_eq!(put("large").status, 201);
    assert_eq!(std::fs::read(stored(&lab, "large")).unwrap(), std::fs::read(&large).unwrap());
    let record =
        agent.wait_for_activity("the upload", |record| record["request"]["path"] == "/drive/large").unwrap();
    assert_eq!(record["content"], json!({"matches": [], "unscanned": "too-large"}), "{record}");

    agent
        .write_policy(
            "10-content.toml",
            &POLICY.replace("at_least = 1", "at_least = 1, unscanned = \"match\""),
        )
        .unwrap();
    lab::wait::until("the stricter rule to be in force", lab::wait::PATIENCE, || {
        Ok((put("again").status == 403).then_some(()))
    })
    .unwrap();
}

/// A rule on the names of uploads is judged before the origin gets them, in a path and in a form.
#[test]
fn uploads_are_known_by_their_names_at_the_request() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &settings(POLICY)).unwrap();
    let form =
        "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"setup.EXE\"\r\n\r\nMZ\r\n--b--\r\n";
    let answers = send(
        &lab,
        &[
            request("PUT", "/drive/setup.exe", "application/octet-stream", "MZ"),
            request("POST", "/drive/form", "multipart/form-data; boundary=b", form),
            request("PUT", "/drive/notes.txt", "application/octet-stream", "MZ"),
        ],
    );
    let statuses: Vec<_> = answers.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [403, 403, 201], "{answers:?}");
    assert!(answers[1]["text"].as_str().unwrap().contains("No programs here."), "{answers:?}");
    assert!(!stored(&lab, "setup.exe").exists());
    let record =
        agent.wait_for_activity("the form", |record| record["request"]["path"] == "/drive/form").unwrap();
    assert_eq!(record["file"]["name"], "setup.EXE", "{record}");
}
