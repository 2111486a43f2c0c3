//! Exchanges in memory: what the client and the origin read, byte for byte, and which connections live on.

mod any_bytes;
mod holding;
mod memory;
mod refusals;
mod slow;
mod unsaid;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::classify::MAX_LOOK_AHEAD;
use crate::http::head::Fields;
use crate::memory::pressure::Level;
use crate::pages::Start;
use crate::proxy::deadline::FIRST_OCTETS;
use crate::proxy::exchanges::Hold;

/// A scripted origin: hands out prepared connections, blocks responses that carry `X-Block`, refuses `/refused`.
#[derive(Default)]
struct Script {
    origins: RefCell<VecDeque<DuplexStream>>,
    dials: Cell<usize>,
    moved: Cell<(u64, u64)>,
}

impl Exchanges for Script {
    type Origin = DuplexStream;

    async fn dial(&self) -> Result<DuplexStream, &'static str> {
        self.dials.set(self.dials.get() + 1);
        self.origins.borrow_mut().pop_front().ok_or("refused")
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        (request.path() == "/refused").then(|| Answer::failure(421, "another host"))
    }

    fn response(
        &self,
        _: &RequestHead,
        response: &ResponseHead,
        _: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        match held {
            Some(held) => verdict(held),
            None => response.fields().get("x-block").map(|_| Answer::failure(403, "blocked")),
        }
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        let patience = request.fields().get("x-patience").map(|_| FIRST_OCTETS);
        Hold { most: wanted(request.fields()), patience }
    }

    fn request_body(&self, _: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        verdict(held).map_or(Ok(Sent::NOTHING), |answer| Err(Box::new(answer)))
    }

    fn holds_response(&self, _: &RequestHead, response: &ResponseHead) -> Hold {
        let most = wanted(response.fields());
        Hold { most, patience: (most <= MAX_LOOK_AHEAD).then_some(FIRST_OCTETS) }
    }

    /// Waits for an octet that is no blank.
    fn holds_more(&self, _: &RequestHead, _: &ResponseHead, held: Held<'_>) -> Hold {
        more(held)
    }

    fn alters_page(&self, _: &RequestHead, response: &ResponseHead) -> bool {
        response.fields().get("x-page").is_some()
    }

    fn alter_page(
        &self,
        _: &RequestHead,
        response: &mut ResponseHead,
        _: Start,
    ) -> Result<String, Box<Answer>> {
        if response.fields().get("x-page") == Some(b"refused") {
            return Err(Box::new(Answer::failure(502, "this page")));
        }
        if let Some(length) = response.fields().get("content-length") {
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            response.fields_mut().set("Content-Length", (length + 5).to_string().as_bytes());
        }
        Ok("<own>".to_owned())
    }

    fn adapt_response(&self, response: &mut ResponseHead) {
        crate::http::alt_svc::without_quic(response.fields_mut());
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        let (up, down) = self.moved.get();
        self.moved.set((up + to_origin, down + to_client));
    }
}

/// A message says itself how much of it is to be held.
fn wanted(fields: &Fields) -> usize {
    fields.get("x-hold").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

fn more(held: Held<'_>) -> Hold {
    let blank = !held.complete && held.octets.iter().all(|octet| *octet == b' ');
    let most = if blank { held.octets.len() + 1 } else { 0 };
    Hold { most, patience: Some(Duration::MAX) }
}

fn verdict(held: Held<'_>) -> Option<Answer> {
    held.octets.windows(6).any(|window| window == b"SECRET").then(|| Answer::failure(403, "content"))
}

struct Served {
    /// What the client read until the end of its connection.
    client: String,
    /// What each origin connection received.
    origins: Vec<String>,
    ended: Ended,
    dials: usize,
    moved: (u64, u64),
}

/// Serves one client that sends `requests` and then closes its direction; each element of `answers` is one origin
/// connection that answers each request head it sees with the next of its texts.
async fn serve_all(requests: &[&str], answers: &[&[&str]]) -> Served {
    tokio::task::LocalSet::new().run_until(serve_local(requests, answers)).await
}

async fn serve_local(requests: &[&str], answers: &[&[&str]]) -> Served {
    let script = Script::default();
    let mut origin_tasks = Vec::new();
    for answers in answers {
        let (ours, theirs) = duplex(1 << 20);
        script.origins.borrow_mut().push_back(ours);
        let answers: Vec<String> = answers.iter().map(|a| (*a).to_owned()).collect();
        origin_tasks.push(tokio::task::spawn_local(origin(theirs, answers)));
    }
    let first = script.dial().await.unwrap();
    let (ours, theirs) = duplex(1 << 20);
    let requests: Vec<String> = requests.iter().map(|r| (*r).to_owned()).collect();
    let client_task = tokio::task::spawn_local(async move {
        let (mut from, mut to) = tokio::io::split(theirs);
        let mut seen = Vec::new();
        for request in requests {
            to.write_all(request.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        to.shutdown().await.unwrap();
        from.read_to_end(&mut seen).await.unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    });
    let mut client = Side::new(ours);
    let ended = serve(&mut client, first, &script, &Limits::default(), &Timeouts::default()).await;
    drop(client);
    let client = client_task.await.unwrap();
    let (dials, moved) = (script.dials.get(), script.moved.get());
    drop(script);
    let mut origins = Vec::new();
    for task in origin_tasks {
        origins.push(task.await.unwrap());
    }
    Served { client, origins, ended, dials, moved }
}

/// Answers the n-th head that ends in what it received with the n-th text, then reads on until the end. An answer that
/// ends in `<close>` closes the connection behind it.
async fn origin(mut stream: DuplexStream, answers: Vec<String>) -> String {
    let mut seen = String::new();
    let mut answers = answers.into_iter();
    let mut answered = 0;
    let mut buffer = [0; 65536];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return seen;
        }
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        while seen.matches(" HTTP/1.1\r\n").count() > answered && seen.ends_with('\n') {
            answered += 1;
            let Some(answer) = answers.next() else { return seen };
            let text = answer.strip_suffix("<close>").unwrap_or(&answer);
            if stream.write_all(text.as_bytes()).await.is_err() || answer.ends_with("<close>") {
                return seen;
            }
        }
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: files.corp.test\r\n\r\n";

#[tokio::test]
async fn two_requests_share_both_connections_and_pass_unchanged() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\nhello";
    let served = serve_all(&[GET, GET], &[&[answer, answer]]).await;
    assert_eq!(served.client, [answer, answer].concat());
    assert_eq!(served.origins, [[GET, GET].concat()]);
    assert_eq!((served.dials, served.moved), (1, (0, 10)));
    assert!(matches!(served.ended, Ended::Done));
}

#[tokio::test]
async fn a_blocked_response_costs_the_origin_connection_and_not_the_clients() {
    let blocked = "HTTP/1.1 200 OK\r\nX-Block: 1\r\nContent-Length: 1000000\r\n\r\nSECRET";
    let passed = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let served = serve_all(&[GET, GET], &[&[blocked], &[passed]]).await;
    assert!(served.client.starts_with("HTTP/1.1 403 "), "{}", served.client);
    assert!(served.client.ends_with(passed), "{}", served.client);
    assert!(!served.client.contains("SECRET"));
    assert_eq!(served.dials, 2);
}

#[tokio::test]
async fn chunks_are_framed_anew_and_extensions_are_dropped() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n";
    let served = serve_all(&[GET], &[&[chunked]]).await;
    assert_eq!(served.client, chunked.replace(";ext=1", ""));
    assert_eq!(served.moved, (0, 8));
}

#[tokio::test]
async fn a_close_delimited_response_becomes_chunked_and_the_client_goes_on() {
    let closed = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it<close>";
    let second = "HTTP/1.1 204 No Content\r\n\r\n";
    let served = serve_all(&[GET, GET], &[&[closed], &[second]]).await;
    assert!(served.client.contains("9\r\nall of it\r\n0\r\n\r\n"), "{}", served.client);
    assert!(served.client.ends_with("HTTP/1.1 204 No Content\r\n\r\n"), "{}", served.client);
}

#[tokio::test]
async fn a_request_body_streams_and_the_connection_is_used_again() {
    let post = "POST /up HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: 6\r\n\r\nline1\n";
    let answer = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    let served = serve_all(&[post, GET], &[&[answer, answer]]).await;
    assert_eq!(served.client, [answer, answer].concat());
    assert_eq!(served.origins, [[post, GET].concat()]);
    assert_eq!(served.moved, (6, 0));
}

#[tokio::test]
async fn interim_responses_reach_the_client_before_the_final_one() {
    let post =
        "POST /up HTTP/1.1\r\nHost: files.corp.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let answers = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    let served = serve_all(&[post, "a\n"], &[&[answers]]).await;
    assert!(
        served.client.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\n"),
        "{}",
        served.client
    );
}

#[tokio::test]
async fn an_origin_connection_that_closed_meanwhile_is_replaced() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na<close>";
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";
    let served = serve_all(&[GET, GET], &[&[first], &[second]]).await;
    assert!(served.client.ends_with("\r\n\r\nb"), "{}", served.client);
    assert_eq!(served.dials, 2);
}

#[tokio::test]
async fn an_answer_before_the_request_was_sent_on_keeps_it_from_the_origin() {
    let refused = "GET /refused HTTP/1.1\r\nHost: other.test\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let served = serve_all(&[refused, GET], &[&[answer]]).await;
    assert!(served.client.starts_with("HTTP/1.1 421 "), "{}", served.client);
    assert!(served.client.ends_with(answer), "{}", served.client);
    assert_eq!(served.origins, [GET]);
}

#[tokio::test]
async fn a_websocket_is_upgraded_and_copied_both_ways() {
    let upgrade = "GET /ws HTTP/1.1\r\nHost: files.corp.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nframes<close>";
    let served = serve_all(&[upgrade, "client frames"], &[&[switched]]).await;
    assert!(served.client.ends_with("\r\n\r\nframes"), "{}", served.client);
    assert!(served.client.to_ascii_lowercase().contains("upgrade: websocket"), "{}", served.client);
}

#[tokio::test]
async fn head_and_not_modified_have_no_body_and_the_connection_goes_on() {
    let head = "HEAD /a HTTP/1.1\r\nHost: files.corp.test\r\n\r\n";
    let of_head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let not_modified = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n";
    let served = serve_all(&[head, GET], &[&[of_head, not_modified]]).await;
    assert_eq!(served.client, [of_head, not_modified].concat());
    assert_eq!(served.dials, 1);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_its_version_and_a_closed_connection() {
    let old = "GET /a HTTP/1.0\r\nHost: files.corp.test\r\n\r\n";
    let script = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let stream = serve_http10(old, script).await;
    assert!(stream.starts_with("HTTP/1.0 200 OK\r\n"), "{stream}");
    assert!(stream.ends_with("\r\n\r\nabc"), "{stream}");
}

async fn serve_http10(request: &str, answer: &str) -> String {
    let script = Script::default();
    let (ours, mut origin) = duplex(1 << 16);
    let (client_ours, mut client) = duplex(1 << 16);
    client.write_all(request.as_bytes()).await.unwrap();
    let answering = async {
        let _ = origin.read(&mut [0; 1024]).await.unwrap();
        origin.write_all(answer.as_bytes()).await.unwrap();
    };
    let mut side = Side::new(client_ours);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    tokio::join!(serve(&mut side, ours, &script, &limits, &timeouts), answering);
    drop(side);
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    seen
}

#[tokio::test]
async fn a_large_body_arrives_whole_through_small_windows() {
    let body: String = (0..2_000_000).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let script = Script::default();
    let (ours, mut origin) = duplex(1000);
    let (client_ours, mut client) = duplex(777);
    let expected = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {expected}\r\n\r\n");
    let mut side = Side::new(client_ours);
    let mut seen = Vec::new();
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let proxy = serve(&mut side, ours, &script, &limits, &timeouts);
    let peer = async {
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut buffer = [0; 4096];
        while seen.len() < head.len() + expected {
            let count = client.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        drop(client);
    };
    let sender = async {
        let mut request = [0; 4096];
        let _ = origin.read(&mut request).await.unwrap();
        origin.write_all(head.as_bytes()).await.unwrap();
        origin.write_all(body.as_bytes()).await.unwrap();
        let _ = origin.read(&mut request).await;
    };
    tokio::join!(proxy, peer, sender);
    assert_eq!(seen.len(), head.len() + expected);
    assert!(seen.ends_with(body.as_bytes()));
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
