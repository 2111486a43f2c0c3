//! Redirects that carry a file: who follows is led on, who does not gets nothing to keep, and the record says so (A3, A15).

use lab::agent::{Agent, Settings};
use lab::client::Curl;
use lab::{Lab, OWN_SITE};
use serde_json::{Value, json};

const MARK: &str = "CARRIED-FILE";
const NOTE: &str = "<html><body><a href=\"/page\">Moved</a></body></html>";

fn table() -> Value {
    let body = format!("PK\u{3}\u{4}{}", MARK.repeat(2000));
    let row = |status: u16, more: &[(&str, &str)], body: &str, framing: &str| {
        let mut headers = vec![["location", "/page"], ["set-cookie", "way=on"]];
        headers.extend(more.iter().map(|(name, value)| [*name, *value]));
        json!({ "status": status, "headers": headers, "body": body, "framing": framing })
    };
    let attachment =
        [("content-type", "application/zip"), ("content-disposition", "attachment; filename=a.zip")];
    json!({
        "/page": { "status": 200, "headers": [["content-type", "text/html"]], "body": "<!doctype html>Arrived" },
        "/302/length": row(302, &attachment, &body, "length"),
        "/307/chunked": row(307, &attachment, &body, "chunked"),
        "/308/close": row(308, &attachment, &body, "close"),
        "/303/typed": row(303, &attachment[..1], &body, "length"),
        "/301/untyped": row(301, &[], &body, "length"),
        "/302/note": row(302, &[("content-type", "text/html")], NOTE, "length"),
        "/302/empty": row(302, &attachment, "", "chunked"),
    })
}

#[test]
fn a_redirect_leads_on_and_the_file_with_it_stays_behind() {
    let lab = Lab::start().unwrap();
    let _origin = lab.serve_table(&table(), "h2,http/1.1").unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let get = |path: &str, protocol: &str, more: &[&str]| {
        let curl = Curl::get(format!("https://{OWN_SITE}{path}")).arguments(more);
        if protocol == "h2" { curl.http2().send(&lab).unwrap() } else { curl.send(&lab).unwrap() }
    };
    for protocol in ["http/1.1", "h2"] {
        for (path, status) in [
            ("/302/length", 302),
            ("/307/chunked", 307),
            ("/308/close", 308),
            ("/303/typed", 303),
            ("/301/untyped", 301),
        ] {
            let reply = get(path, protocol, &[]);
            assert_eq!((reply.status, reply.text().as_str()), (status, ""), "{protocol} {path}");
            assert_eq!(reply.header("location"), Some("/page"), "{protocol} {path}");
            assert_eq!(reply.header("set-cookie"), Some("way=on"), "{protocol} {path}");
            assert_eq!(reply.header("content-length"), Some("0"), "{protocol} {path}");
            for gone in ["content-disposition", "content-type"] {
                assert_eq!(reply.header(gone), None, "{protocol} {path}");
            }
            let id = reply.header("x-portcullis-activity").unwrap().to_owned();
            let record = agent.wait_for_activity(path, |record| record["id"] == id).unwrap();
            assert_eq!(
                (&record["type"], &record["decision"]["action"]),
                (&json!("download"), &json!("block"))
            );
            let evidence = record.to_string();
            assert!(evidence.contains("in the body of a redirect: "), "{record}");
        }
        let followed = get("/302/length", protocol, &["--location"]).text();
        assert!(followed.ends_with("Arrived") && !followed.contains(MARK), "{protocol}: {followed}");

        let note = get("/302/note", protocol, &[]);
        assert_eq!((note.status, note.text().as_str()), (302, NOTE), "{protocol}");
        let empty = get("/302/empty", protocol, &[]);
        assert_eq!((empty.status, empty.text().as_str()), (302, ""), "{protocol}");
        for reply in [note, empty] {
            assert_eq!(reply.header("x-portcullis-activity"), None, "{protocol}");
        }
    }
    agent.set_compliant(true).unwrap();
    assert!(get("/302/length", "h2", &[]).text().contains(MARK));
    let seen = |record: &Value| record["type"] == "download" && record["decision"]["action"] != "block";
    let record = agent.wait_for_activity("what was let pass", seen).unwrap();
    assert_eq!(record["file"]["name"], "a.zip", "{record}");
}
