//! Exchanges in memory: what the client and the origin read, byte for byte, and which connections live on.

mod any_bytes;
mod slow;

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

/// Serves one GET over an origin's connection on which `said` lies already, and another that answers as it should.
async fn serve_spoken(said: &str) -> (String, usize) {
    let script = Script::default();
    let connections = [said, ""].map(|said| {
        let (ours, mut theirs) = duplex(1 << 16);
        let said = said.to_owned();
        script.origins.borrow_mut().push_back(ours);
        async move {
            let (text, closes) = said.strip_suffix("<close>").map_or((&*said, false), |text| (text, true));
            theirs.write_all(text.as_bytes()).await.unwrap();
            if !closes && theirs.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {
                theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked").await.unwrap();
            }
            (!closes).then_some(theirs)
        }
    });
    let first = script.dial().await.unwrap();
    let (ours, mut client) = duplex(1 << 16);
    let client = async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        seen
    };
    let mut side = Side::new(ours);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let [one, two] = connections;
    let serving = async {
        serve(&mut side, first, &script, &limits, &timeouts).await;
        drop(side);
        script.origins.take();
    };
    let (seen, (), _, _) = tokio::join!(client, serving, one, two);
    (seen, script.dials.get())
}

#[tokio::test]
async fn what_came_before_it_was_asked_for_answers_nobody() {
    let stale = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale";
    for said in [stale, "HTTP/1.1 408 x\r\n", &format!("{stale}<close>"), "x"] {
        let (seen, dials) = serve_spoken(said).await;
        assert!(seen.starts_with("HTTP/1.1 502 ") && !seen.contains("stale"), "{said}: {seen}");
        assert_eq!(dials, 1, "{said}");
    }
    // It was kept waiting for the first request for too long.
    for said in ["<close>", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n<close>"] {
        let (seen, dials) = serve_spoken(said).await;
        assert!(seen.ends_with("asked"), "{said}: {seen}");
        assert_eq!(dials, 2, "{said}");
    }
}

#[tokio::test]
async fn smuggling_is_refused_and_nothing_of_it_reaches_the_origin() {
    let both = "POST / HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let served = serve_all(&[both], &[&[]]).await;
    assert!(served.client.starts_with("HTTP/1.1 400 "), "{}", served.client);
    assert_eq!(served.origins, [""]);
    assert!(matches!(served.ended, Ended::Refused(Peer::Client, Refusal::LengthWithCoding)));
}

#[tokio::test]
async fn an_ambiguous_response_is_a_502_and_its_body_stays_out() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\nSECRET";
    let served = serve_all(&[GET], &[&[both]]).await;
    assert!(served.client.starts_with("HTTP/1.1 502 "), "{}", served.client);
    assert!(!served.client.contains("SECRET"));
}

#[tokio::test]
async fn a_head_request_gets_no_body_of_ours_either() {
    let head = "HEAD /a HTTP/1.1\r\nHost: files.corp.test\r\n\r\n";
    let served = serve_all(&[head], &[&["nonsense\r\n"]]).await;
    assert!(served.client.starts_with("HTTP/1.1 502 "), "{}", served.client);
    assert!(served.client.ends_with("\r\n\r\n"), "{}", served.client);
}

#[tokio::test]
async fn a_body_cut_short_ends_the_clients_connection_short_too() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc<close>";
    let served = serve_all(&[GET], &[&[cut]]).await;
    assert!(served.client.ends_with("abc"), "{}", served.client);
    assert!(matches!(served.ended, Ended::Refused(Peer::Origin, Refusal::Truncated)), "{:?}", served.ended);
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

/// An origin that answers and closes before it took the body: the rest of the body must not become a request.
#[tokio::test]
async fn what_is_left_of_a_body_behind_a_block_is_no_request() {
    let script = Script::default();
    // The origin takes little of the body at a time.
    let (ours, mut origin) = duplex(256);
    let (client_ours, mut client) = duplex(1 << 16);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: files.corp.test\r\n\r\n";
    let body = format!("{}{smuggled}", "x".repeat(4096));
    let post = format!(
        "POST /up HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len() + 100_000
    );
    client.write_all(post.as_bytes()).await.unwrap();
    let answering = async move {
        let mut some = [0; 64];
        let _ = origin.read(&mut some).await.unwrap();
        // The head in two parts: the proxy has begun to read it when the connection breaks under the body.
        origin.write_all(b"HTTP/1.1 200 OK\r\nX-Block: 1\r\n").await.unwrap();
        tokio::task::yield_now().await;
        origin.write_all(b"Content-Length: 0\r\n\r\n").await.unwrap();
    };
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let mut side = Side::new(client_ours);
    let (ended, ()) = tokio::join!(serve(&mut side, ours, &script, &limits, &timeouts), answering);
    drop(side);
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    assert!(seen.starts_with("HTTP/1.1 403 "), "{seen}");
    assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{seen}");
    assert!(matches!(ended, Ended::Done), "{ended:?}");
}

/// One byte now and then does not keep a head open for longer than its deadline.
#[tokio::test]
async fn a_request_head_has_one_deadline_from_its_first_byte() {
    let script = Script::default();
    let (ours, _origin) = duplex(1 << 16);
    let (client_ours, mut client) = duplex(1 << 16);
    let step = std::time::Duration::from_millis(20);
    let timeouts = Timeouts { request_head: 5 * step, ..Timeouts::default() };
    let drip = async move {
        for byte in GET.bytes().cycle().filter(|byte| *byte != b'\n') {
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(step).await;
        }
    };
    let mut side = Side::new(client_ours);
    let limits = Limits::default();
    let served = async {
        let ended = serve(&mut side, ours, &script, &limits, &timeouts).await;
        drop(side);
        ended
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = drip => panic!("the client gave up first"),
        () = tokio::time::sleep(100 * step) => panic!("the head is still being waited for"),
    };
    assert!(matches!(ended, Ended::SlowRequest), "{ended:?}");
}

/// What is taken out of responses is taken out of interim ones and of trailers too; a switch to HTTP/2 in clear text is
/// never asked for (RFC 9113 section 3.1 took the way away again).
#[tokio::test]
async fn offers_of_other_ways_around_the_proxy_do_not_pass() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = "HTTP/1.1 103 Early Hints\r\nAlt-Svc: h3=\":443\"\r\n\r\n\
                  HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\", h2=\":444\"\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nAlt-Svc: h3=\":443\"\r\n\r\n";
    let served = serve_all(&[request], &[&[answer]]).await;
    assert!(!served.client.contains("h3"), "{}", served.client);
    assert!(served.client.contains("103 Early Hints\r\n\r\n"), "{}", served.client);
    assert!(served.client.contains("Alt-Svc: h2=\":444\"\r\n"), "{}", served.client);
    let sent = served.origins[0].to_ascii_lowercase();
    assert!(!sent.contains("h2c") && !sent.contains("http2-settings"), "{sent}");
}

fn post(hold: usize, framing: &str, body: &str) -> String {
    format!("POST /up HTTP/1.1\r\nHost: files.corp.test\r\nX-Hold: {hold}\r\n{framing}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_held_request_reaches_the_origin_whole_or_not_at_all() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let sized = post(1000, "Content-Length: 12", "the content\n");
    let chunked = post(1000, "Transfer-Encoding: chunked", "4\r\nthe \r\n8\r\ncontent\n\r\n0\r\n\r\n");
    let served = serve_all(&[&sized], &[&[ok]]).await;
    assert_eq!((served.client.as_str(), &served.origins[0]), (ok, &sized));
    // Chunks are cut anew: what was held is one.
    let served = serve_all(&[&chunked, GET], &[&[ok, ok]]).await;
    assert_eq!(served.client, [ok, ok].concat());
    assert!(
        served.origins[0].contains("\r\n\r\nc\r\nthe content\n\r\n0\r\n\r\nGET "),
        "{}",
        served.origins[0]
    );
    assert_eq!(served.moved.0, 12);

    let blocked = post(1000, "Content-Length: 12", "the SECRET.\n");
    let served = serve_all(&[&blocked, GET], &[&[ok]]).await;
    assert!(served.client.starts_with("HTTP/1.1 403 ") && served.client.ends_with(ok), "{}", served.client);
    assert_eq!((&served.origins[0], served.dials), (&GET.to_owned(), 1));
}

#[tokio::test]
async fn what_lies_beyond_the_held_part_streams_on() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let body = "0123456789\n".repeat(30_000);
    let long = post(100, &format!("Content-Length: {}", body.len()), &body);
    let served = serve_all(&[&long], &[&[ok]]).await;
    assert_eq!((served.client.as_str(), served.origins[0].len()), (ok, long.len()));
    assert_eq!(served.origins[0], long);
    // Not even the beginning goes on when it is blocked, and the rest of the body is no next request.
    let long = post(100, &format!("Content-Length: {}", body.len() + 7), &format!("SECRET\n{body}"));
    let served = serve_all(&[&long, GET], &[&[ok]]).await;
    assert!(served.client.starts_with("HTTP/1.1 403 "), "{}", served.client);
    assert_eq!((served.client.matches("HTTP/1.1").count(), served.origins[0].as_str()), (1, ""));
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let waiting = post(1000, "Expect: 100-continue\r\nContent-Length: 12", "the content\n");
    let served = serve_all(&[&waiting], &[&[ok]]).await;
    assert_eq!(served.client, format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"));
    assert!(!served.origins[0].to_ascii_lowercase().contains("expect"), "{}", served.origins[0]);
    assert!(served.origins[0].ends_with("the content\n"));
}

#[tokio::test]
async fn a_held_response_reaches_the_client_whole_or_not_at_all() {
    let sized = "HTTP/1.1 200 OK\r\nX-Hold: 1000\r\nContent-Length: 4\r\n\r\ntext";
    let empty = "HTTP/1.1 204 No Content\r\nX-Hold: 1000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nX-Hold: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n3\r\nmore\r\n0\r\n\r\n";
    let chunked = chunked.replace("3\r\nmore", "4\r\nmore");
    let served = serve_all(&[GET, GET, GET], &[&[sized, empty, &chunked]]).await;
    assert_eq!(served.client, [sized, empty, &chunked].concat());
    assert_eq!(served.moved.1, 12);

    let until_close = "HTTP/1.1 200 OK\r\nX-Hold: 1000\r\n\r\ntext until the end<close>";
    let served = serve_all(&[GET], &[&[until_close]]).await;
    assert!(served.client.ends_with("\r\n\r\n12\r\ntext until the end\r\n0\r\n\r\n"), "{}", served.client);

    let blocked = "HTTP/1.1 200 OK\r\nX-Hold: 1000\r\nContent-Length: 11\r\n\r\nthe SECRET.";
    let served = serve_all(&[GET, GET], &[&[blocked], &[sized]]).await;
    assert!(
        served.client.starts_with("HTTP/1.1 403 ") && served.client.ends_with(sized),
        "{}",
        served.client
    );
    assert!(!served.client.contains("SECRET"));

    let broken = "HTTP/1.1 200 OK\r\nX-Hold: 1000\r\nContent-Length: 40\r\n\r\ntoo short<close>";
    let served = serve_all(&[GET], &[&[broken]]).await;
    assert!(served.client.starts_with("HTTP/1.1 502 "), "{}", served.client);
    assert!(!served.client.contains("too short"));
}

#[tokio::test]
async fn first_octets_that_come_late_are_waited_for() {
    // The last has shown nothing with what came early, although that is enough of it.
    for (early, late) in [("", "SECRET.."), ("SEC", "RET.."), ("        ", "        SECRET..")] {
        let script = Script::default();
        let (ours, mut origin) = duplex(1 << 16);
        let (client_ours, mut client) = duplex(1 << 16);
        client.write_all(GET.as_bytes()).await.unwrap();
        let answering = async move {
            let _ = origin.read(&mut [0; 1024]).await.unwrap();
            let length = early.len() + late.len();
            let head = format!("HTTP/1.1 200 OK\r\nX-Hold: 1445\r\nContent-Length: {length}\r\n\r\n");
            origin.write_all(format!("{head}{early}").as_bytes()).await.unwrap();
            tokio::time::sleep(FIRST_OCTETS + Duration::from_millis(100)).await;
            for octet in late.as_bytes() {
                let _ = origin.write_all(&[*octet]).await;
            }
            let _ = origin.read(&mut [0; 1]).await;
        };
        let mut side = Side::new(client_ours);
        let (limits, timeouts) = (Limits::default(), Timeouts::default());
        let served = async {
            serve(&mut side, ours, &script, &limits, &timeouts).await;
            drop(side);
        };
        let reading = async {
            let mut seen = vec![0; 4096];
            let count = client.read(&mut seen).await.unwrap();
            client.shutdown().await.unwrap();
            String::from_utf8_lossy(&seen[..count]).into_owned()
        };
        let (seen, (), ()) = tokio::join!(reading, served, answering);
        assert!(seen.starts_with("HTTP/1.1 403 ") && !seen.contains("SECRET"), "{early:?}: {seen}");
    }
}

#[tokio::test]
async fn what_is_looked_at_with_patience_goes_on_without_what_comes_late() {
    let script = Script::default();
    let (ours, mut origin) = duplex(1 << 16);
    let (client_ours, mut client) = duplex(1 << 16);
    let head =
        "POST /up HTTP/1.1\r\nHost: a.test\r\nX-Hold: 64\r\nX-Patience: 1\r\nContent-Length: 12\r\n\r\n";
    client.write_all(format!("{head}early").as_bytes()).await.unwrap();
    let answering = async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"early") {
            assert_ne!(origin.read_buf(&mut seen).await.unwrap(), 0);
        }
        // The client goes on only now.
        client.write_all(b", late.").await.unwrap();
        while !seen.ends_with(b"late.") {
            assert_ne!(origin.read_buf(&mut seen).await.unwrap(), 0);
        }
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let mut side = Side::new(client_ours);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let (seen, _) = tokio::join!(answering, serve(&mut side, ours, &script, &limits, &timeouts));
    assert_eq!(seen, format!("{head}early, late."));
}

#[tokio::test]
async fn what_goes_into_a_page_comes_where_the_page_starts() {
    let head = "HTTP/1.1 200 OK\r\nX-Page: 1\r\n";
    let again = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (arrives, leaves) in [
        (
            "Content-Length: 22\r\n\r\n<!doctype html><p>text",
            "Content-Length: 27\r\n\r\n<!doctype html><own><p>text",
        ),
        ("Content-Length: 0\r\n\r\n", "Content-Length: 5\r\n\r\n<own>"),
        (
            "Transfer-Encoding: chunked\r\n\r\n7\r\n<!docty\r\n8\r\npe html>\r\n1\r\n<\r\n2\r\np>\r\n4\r\ntext\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1b\r\n<!doctype html><own><p>text\r\n0\r\n\r\n",
        ),
        (
            "X-Hold: 3\r\nContent-Length: 6\r\n\r\n  <p>a",
            "X-Hold: 3\r\nContent-Length: 11\r\n\r\n<own>  <p>a",
        ),
    ] {
        let served = serve_all(&[GET, GET], &[&[&format!("{head}{arrives}"), again]]).await;
        assert_eq!(unchunked(&served.client), unchunked(&format!("{head}{leaves}{again}")), "{arrives}");
        assert_eq!(served.dials, 1);
    }
    let refused = "HTTP/1.1 200 OK\r\nX-Page: refused\r\nContent-Length: 6\r\n\r\nSECRET";
    let served = serve_all(&[GET, GET], &[&[refused], &[again]]).await;
    assert!(
        served.client.starts_with("HTTP/1.1 502 ") && served.client.ends_with(again),
        "{}",
        served.client
    );
    assert!(!served.client.contains("SECRET"));
}

/// Without the sizes of chunks: how a body is cut is nobody's concern.
fn unchunked(text: &str) -> String {
    let lines = text.split("\r\n");
    let size = |line: &&str| !line.is_empty() && line.len() < 3 && u64::from_str_radix(line, 16).is_ok();
    lines.filter(|line| !size(line) && !line.is_empty()).collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a client reads until the end of its connection, after a request before that it has `level`, and the end.
async fn under(before: Level, then: Level) -> (String, Ended) {
    pressure::inject(before);
    let script = Script::default();
    let (ours, theirs) = duplex(1 << 16);
    let _origin = tokio::task::spawn_local(origin(theirs, vec![OK.to_owned()]));
    let (client_side, mut client) = duplex(1 << 16);
    let asking = async {
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut seen = vec![0; 4096];
        let count = client.read(&mut seen).await.unwrap();
        tokio::task::yield_now().await;
        pressure::inject(then);
        seen.truncate(count);
        client.read_to_end(&mut seen).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let mut side = Side::new(client_side);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let serving = async {
        let ended = serve(&mut side, ours, &script, &limits, &timeouts).await;
        drop(side);
        ended
    };
    tokio::join!(asking, serving)
}

#[tokio::test]
async fn while_memory_is_short_no_connection_is_kept_for_a_next_request() {
    tokio::task::LocalSet::new()
        .run_until(async {
            // One that waits already is closed, without a word.
            let (seen, ended) = under(Level::Enough, Level::Shed).await;
            assert!(seen.ends_with("ok") && !seen.contains("close"), "{seen}");
            assert!(matches!(ended, Ended::Done), "{ended}");
            // One that begins is served, and told that it ends.
            let (seen, ended) = under(Level::Shed, Level::Shed).await;
            assert!(seen.contains("Connection: close\r\n") && seen.ends_with("ok"), "{seen}");
            assert!(matches!(ended, Ended::Done), "{ended}");
            pressure::inject(Level::Enough);
        })
        .await;
}
