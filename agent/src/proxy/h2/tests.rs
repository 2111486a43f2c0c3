//! The shell between two ends in memory: verdicts by stream, clocks, and how it parts.

mod ends;
mod looks;
mod slow;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::detect::Detector;
use crate::detect::scan::{Held, Scan};
use crate::http::h2::frame::{self, FrameHeader, HEADER_LEN, PREFACE, kind, write};
use crate::http::h2::fuzz::{raw_data, raw_headers};
use crate::http::head::{RequestHead, ResponseHead};
use crate::proxy::deadline::FIRST_OCTETS;
use crate::proxy::exchanges::{Hold, Sent};

/// Blocks responses that carry `X-Block`, answers `/refused` itself, and remembers what it was told.
#[derive(Default)]
struct Script {
    moved: RefCell<Vec<(u64, u64)>>,
    refused: RefCell<Vec<Peer>>,
    /// Octets of each look, and whether they were all.
    looked: RefCell<Vec<(usize, bool)>>,
    /// Requests that are let through before bodies come to decide; none decide when zero.
    http1_after: Cell<usize>,
}

impl Exchanges for Script {
    type Origin = DuplexStream;

    async fn dial(&self) -> Result<DuplexStream, &'static str> {
        panic!("one connection is all there is")
    }

    fn http1_only(&self) -> bool {
        let left = self.http1_after.get();
        self.http1_after.set(if left > 1 { left - 1 } else { left });
        left == 1
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        (request.path() == "/refused").then(|| Answer::failure(421, "another host"))
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        let most = number(request.fields().get("x-look"));
        Hold { most, patience: request.fields().get("x-patience").map(|_| FIRST_OCTETS) }
    }

    fn request_body(&self, _: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        self.looked.borrow_mut().push((held.octets.len(), held.complete));
        if held.octets.starts_with(b"PK") {
            return Err(Box::new(Answer::failure(403, "an archive")));
        }
        let counts = [(Detector::Iban, 1)].into_iter().collect();
        Ok(Sent { scan: Some(Scan { counts, unscanned: None }), form: None })
    }

    /// Waits for an octet that is no blank.
    fn holds_more(&self, _: &RequestHead, response: &ResponseHead, held: Held<'_>) -> Hold {
        let blank =
            response.fields().get("x-further").is_some() && held.octets.iter().all(|octet| *octet == b' ');
        let most = if blank && !held.complete { held.octets.len() + 1 } else { 0 };
        Hold { most, patience: Some(Duration::MAX) }
    }

    fn holds_response(&self, _: &RequestHead, response: &ResponseHead) -> Hold {
        Hold { most: number(response.fields().get("x-look")), patience: Some(FIRST_OCTETS) }
    }

    /// Blocks archives, and what answers a request in which there was something.
    fn response(
        &self,
        _: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        if let Some(held) = held {
            self.looked.borrow_mut().push((held.octets.len(), held.complete));
            if held.octets.starts_with(b"PK") {
                return Some(Answer::failure(403, "an archive"));
            }
        }
        let asked = response.fields().get("x-block");
        let blocked = asked.is_some_and(|value| value != b"if-seen" || sent.scan.is_some());
        blocked.then(|| Answer::failure(403, "blocked"))
    }

    fn adapt_response(&self, response: &mut ResponseHead) {
        crate::http::alt_svc::without_quic(response.fields_mut());
    }

    fn refused(&self, peer: Peer, _: Option<&RequestHead>) {
        self.refused.borrow_mut().push(peer);
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        self.moved.borrow_mut().push((to_origin, to_client));
    }
}

fn number(value: Option<&[u8]>) -> usize {
    value.and_then(|value| std::str::from_utf8(value).ok()).map_or(0, |value| value.parse().unwrap())
}

/// One end, which speaks in frames.
struct End {
    stream: DuplexStream,
    unread: Vec<u8>,
}

type Seen = (u8, u8, u32, Vec<u8>);

impl End {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Seen> {
        loop {
            if let Some(header) = FrameHeader::parse(&self.unread)
                && self.unread.len() >= HEADER_LEN + header.len
            {
                let rest = self.unread.split_off(HEADER_LEN + header.len);
                let whole = std::mem::replace(&mut self.unread, rest);
                return Some((header.kind, header.flags, header.stream, whole[HEADER_LEN..].to_vec()));
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next frame of this kind on this stream.
    async fn next(&mut self, kind: u8, stream: u32) -> Seen {
        loop {
            let seen = self.frame().await.unwrap_or_else(|| panic!("the end before {kind} on {stream}"));
            if (seen.0, seen.2) == (kind, stream) {
                return seen;
            }
        }
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Some(seen) = self.frame().await {
            all.push(seen);
        }
        all
    }
}

struct Setup {
    client: End,
    origin: End,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<(Ended, Script)>,
}

/// Both ends, greeted, on a thread of their own tasks.
async fn setup(script: Script, timeouts: Timeouts) -> Setup {
    let (client, ours) = duplex(1 << 18);
    let (to_origin, origin) = duplex(1 << 18);
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::task::spawn_local(async move {
        let limits = Limits::default();
        let stopping = async {
            if stopped.await.is_err() {
                std::future::pending().await
            }
        };
        let ended = serve(Side::new(ours), to_origin, &script, &limits, &timeouts, stopping).await;
        (ended, script)
    });
    let mut setup = Setup {
        client: End { stream: client, unread: Vec::new() },
        origin: End { stream: origin, unread: Vec::new() },
        stop: Some(stop),
        served,
    };
    let mut settings = Vec::new();
    write::settings([], &mut settings);
    let mut ack = Vec::new();
    write::settings_ack(&mut ack);
    setup.client.send(&[&PREFACE[..], &settings, &ack].concat()).await;
    setup.origin.send(&settings).await;
    let mut preface = [0; PREFACE.len()];
    setup.origin.stream.read_exact(&mut preface).await.unwrap();
    setup.origin.next(kind::SETTINGS, 0).await;
    setup.origin.send(&ack).await;
    setup.client.next(kind::SETTINGS, 0).await;
    setup.client.next(kind::SETTINGS, 0).await;
    setup.client.send(&ack).await;
    setup
}

async fn run(test: impl AsyncFnOnce(&mut Setup)) -> (Ended, Script) {
    run_with(Timeouts::default(), test).await
}

async fn run_with(timeouts: Timeouts, test: impl AsyncFnOnce(&mut Setup)) -> (Ended, Script) {
    run_script(Script::default(), timeouts, test).await
}

async fn run_script(
    script: Script,
    timeouts: Timeouts,
    test: impl AsyncFnOnce(&mut Setup),
) -> (Ended, Script) {
    tokio::task::LocalSet::new()
        .run_until(async {
            let mut setup = setup(script, timeouts).await;
            test(&mut setup).await;
            let Setup { served, client, origin, .. } = setup;
            drop((client, origin));
            served.await.unwrap()
        })
        .await
}

const SHORT: Duration = Duration::from_millis(400);

/// Timeouts that a test can wait for; the head of a response has twice as long as a body.
fn short() -> Timeouts {
    Timeouts { idle: SHORT, response_head: SHORT * 2, stall: SHORT, unread: SHORT, ..Timeouts::default() }
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let lines = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
    raw_headers(stream, true, &lines)
}

fn ok(stream: u32, end: bool, more: &[(&str, &str)]) -> Vec<u8> {
    raw_headers(stream, end, &[&[(":status", "200")], more].concat())
}

#[tokio::test]
async fn a_block_and_a_refusal_cost_their_streams_alone() {
    let (ended, script) = run(async |setup| {
        setup.client.send(&[get(1, "/file"), get(3, "/page"), get(5, "/refused")].concat()).await;
        setup.origin.next(kind::HEADERS, 3).await;
        let burst = [ok(1, false, &[("x-block", "1")]), raw_data(1, false, 9000), ok(3, false, &[])].concat();
        setup
            .origin
            .send(&[burst, raw_data(3, false, 7), raw_data(1, true, 9), raw_data(3, true, 5)].concat())
            .await;
        let mut bodies: [Vec<u8>; 3] = Default::default();
        for _ in 0..4 {
            let (_, _, stream, body) = loop {
                match setup.client.frame().await.unwrap() {
                    seen if seen.0 == kind::DATA => break seen,
                    _ => {}
                }
            };
            bodies[stream as usize / 2].extend(body);
        }
        assert_eq!(bodies[0], b"403: blocked\n");
        assert_eq!(bodies[1], vec![b'd'; 12]);
        assert_eq!(bodies[2], b"421: another host\n");
        let (.., code) = setup.origin.next(kind::RST_STREAM, 1).await;
        assert_eq!(code, ErrorCode::CANCEL.0.to_be_bytes());
    })
    .await;
    assert!(matches!(ended, Ended::Done), "{ended:?}");
    let mut moved = script.moved.into_inner();
    moved.sort_unstable();
    assert_eq!(moved, [(0, 0), (0, 0), (0, 12)]);
}

#[tokio::test]
async fn interim_responses_are_adapted_as_final_ones_are() {
    run(async |setup| {
        setup.client.send(&get(1, "/")).await;
        setup.origin.next(kind::HEADERS, 1).await;
        let hints = [(":status", "103"), ("alt-svc", "h3=\":443\""), ("link", "</a>")];
        setup.origin.send(&raw_headers(1, false, &hints)).await;
        setup.origin.send(&ok(1, true, &[("alt-svc", "h3=\":443\"")])).await;
        for expected in [&b"</a>"[..], b""] {
            let (.., block) = setup.client.next(kind::HEADERS, 1).await;
            let holds = |needle: &[u8]| block.windows(needle.len().max(1)).any(|window| window == needle);
            assert!(!holds(b"alt-svc"), "{}", block.escape_ascii());
            assert!(expected.is_empty() || holds(expected), "{}", block.escape_ascii());
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_malformed_is_told_and_reset_and_what_is_too_large_answered() {
    let (_, script) = run(async |setup| {
        let bad = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("Upper", "x")];
        setup.client.send(&raw_headers(1, true, &bad)).await;
        let (.., code) = setup.client.next(kind::RST_STREAM, 1).await;
        assert_eq!(code, ErrorCode::PROTOCOL_ERROR.0.to_be_bytes());
        setup.client.send(&get(3, &"/x".repeat(5000))).await;
        let (.., block) = setup.client.next(kind::HEADERS, 3).await;
        assert!(block.windows(3).any(|window| window == b"414"), "{}", block.escape_ascii());
        setup.client.send(&get(5, "/")).await;
        setup.origin.next(kind::HEADERS, 5).await;
        setup.origin.send(&raw_headers(5, true, &[(":status", "20x")])).await;
        let (.., block) = setup.client.next(kind::HEADERS, 5).await;
        assert!(block.windows(3).any(|window| window == b"502"), "{}", block.escape_ascii());
    })
    .await;
    assert_eq!(script.refused.into_inner(), [Peer::Client, Peer::Client, Peer::Origin]);
}
