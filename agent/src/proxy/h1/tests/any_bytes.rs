//! Whatever bytes come from either side: what the client reads are the responses that were judged, in the order of its
//! requests, and what origins read are the requests that were.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::http::h1::fuzz::{decode, end_to_end};
use crate::http::h1::{parse_request_head, parse_response_head};

/// What requests are made of, rightly and wrongly.
const ASKED: &[&str] = &[
    "GET /a HTTP/1.1\r\n",
    "HEAD /a HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "GET /refused HTTP/1.1\r\n",
    "PUT http://a/x HTTP/1.0\r\n",
    "Host: a\r\n",
    "Host: a\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: x, chunked\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "X-Hold: 3\r\n",
    "5;x=y\r\nhello\r\n",
    "0\r\n\r\n",
    "\r\n",
    "\n",
    " ",
    "\0",
    "hello",
    ":",
];
const REQUESTS: &[&str] = &[
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /refused HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /d HTTP/1.1\r\nHost: a\r\nX-Hold: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];
/// What responses are made of.
const ANSWERED: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /x\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 0\r\n\r\n",
    "Content-Length: 7\r\n\r\nhello",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Connection: close\r\n",
    "X-Block: 1\r\n",
    "X-Hold: 3\r\n",
    "0\r\nX: y\r\n\r\n",
    "\r\n",
    "\n",
    "SECRET",
    "x",
];
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nX-Hold: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-Block: 1\r\nContent-Length: 6\r\n\r\nSECRET",
    "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

/// Whole messages, with pieces of others between them.
fn stream(pieces: &'static [&'static str], whole: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(prop_oneof![4 => select(whole), 3 => select(pieces)], 0..9).prop_map(|pieces| pieces.concat())
}

/// Names in lower case, without what is the connection's own business or written anew.
type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn lines(fields: &Fields) -> Lines {
    let kept =
        end_to_end(fields).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    kept.filter(|(name, _)| name != b"expect" && name != b"host").collect()
}

/// Method, path, host and fields.
type Asked = (String, String, Option<String>, Lines);

fn asked(head: &RequestHead) -> Asked {
    let host = head.host().map(str::to_owned);
    (head.method().to_owned(), head.path().to_owned(), host, lines(head.fields()))
}

/// The script of the other tests, which remembers what it let pass.
#[derive(Default)]
struct Judged {
    script: Script,
    /// Methods of the requests that were read.
    methods: RefCell<Vec<String>>,
    requests: RefCell<Vec<Asked>>,
    responses: RefCell<VecDeque<(u16, Lines)>>,
}

impl Judged {
    fn verdict(&self, response: &ResponseHead, answer: Option<Answer>) -> Option<Answer> {
        if answer.is_none() {
            self.responses.borrow_mut().push_back((response.status(), lines(response.fields())));
        }
        answer
    }
}

impl Exchanges for Judged {
    type Origin = DuplexStream;

    async fn dial(&self) -> Result<DuplexStream, &'static str> {
        self.script.dial().await
    }

    fn request(&self, request: &RequestHead) -> Option<Answer> {
        self.methods.borrow_mut().push(request.method().to_owned());
        let answer = self.script.request(request);
        if answer.is_none() {
            self.requests.borrow_mut().push(asked(request));
        }
        answer
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        self.script.holds_request(request)
    }

    fn request_body(&self, request: &RequestHead, held: Held<'_>) -> Result<Sent, Box<Answer>> {
        self.script.request_body(request, held)
    }

    fn holds_response(&self, request: &RequestHead, response: &ResponseHead) -> Hold {
        self.script.holds_response(request, response)
    }

    fn holds_more(&self, request: &RequestHead, response: &ResponseHead, held: Held<'_>) -> Hold {
        self.script.holds_more(request, response, held)
    }

    fn response(
        &self,
        request: &RequestHead,
        response: &ResponseHead,
        sent: &Sent,
        held: Option<Held<'_>>,
    ) -> Option<Answer> {
        self.verdict(response, self.script.response(request, response, sent, held))
    }

    fn moved(&self, to_origin: u64, to_client: u64) {
        self.script.moved(to_origin, to_client);
    }
}

/// Says the next text at each read, and hangs up behind the last one.
async fn speak(mut origin: DuplexStream, texts: Vec<String>) -> Vec<u8> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    let mut texts = texts.into_iter();
    while let Ok(count @ 1..) = origin.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..count]);
        let Some(text) = texts.next() else { break };
        if origin.write_all(text.as_bytes()).await.is_err() {
            break;
        }
    }
    seen
}

/// What the client read, and what each origin's connection did.
async fn run(
    judged: &Judged,
    said: String,
    origins: Vec<Vec<String>>,
    room: usize,
) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut speaking = Vec::new();
    for texts in origins {
        let (ours, theirs) = duplex(room);
        judged.script.origins.borrow_mut().push_back(ours);
        speaking.push(tokio::task::spawn_local(speak(theirs, texts)));
    }
    let first = judged.dial().await.unwrap();
    let (ours, client) = duplex(room);
    let reading = tokio::task::spawn_local(async move {
        let (mut from, mut to) = tokio::io::split(client);
        let sending = async {
            let _ = to.write_all(said.as_bytes()).await;
            let _ = to.shutdown().await;
        };
        let mut seen = Vec::new();
        let (_, read) = tokio::join!(sending, from.read_to_end(&mut seen));
        read.unwrap();
        seen
    });
    let mut side = Side::new(ours);
    let short = Duration::from_millis(50);
    let timeouts = Timeouts {
        idle: short,
        request_head: short,
        response_head: short,
        stall: short,
        ..Timeouts::default()
    };
    serve(&mut side, first, judged, &Limits::default(), &timeouts).await;
    drop(side);
    judged.script.origins.take();
    let mut received = Vec::new();
    for speaking in speaking {
        received.push(speaking.await.unwrap());
    }
    (reading.await.unwrap(), received)
}

/// Every head that the client reads was let pass, or is ours; bodies end where it reads them to end.
fn check_client(judged: &Judged, mut seen: &[u8]) {
    let methods = judged.methods.borrow();
    let mut methods = methods.iter();
    let mut passed = judged.responses.take();
    while !seen.is_empty() {
        let Parsed::Complete(head, consumed) = parse_response_head(seen, &Limits::default()) else {
            panic!("no response: {:?}", String::from_utf8_lossy(seen));
        };
        seen = &seen[consumed..];
        if head.status() / 100 == 1 {
            assert_ne!(head.status(), 101, "nobody asked for that");
            continue;
        }
        if head.fields().get("content-security-policy").is_none() {
            assert_eq!(Some((head.status(), lines(head.fields()))), passed.pop_front());
        }
        // What could not be read as a request is answered, too.
        let method = methods.next().map_or("GET", String::as_str);
        let body = decode(h1::response_body(&head, method).expect("one way to read it"), [seen]);
        assert!(body.end.is_ok(), "{body:?}");
        seen = &seen[body.consumed..];
    }
}

/// Every head that origins read was let pass, in this order. One that was sent again is there twice.
fn check_origins(judged: &Judged, received: &[Vec<u8>]) {
    let passed = judged.requests.borrow();
    let mut next = 0;
    for mut seen in received.iter().map(Vec::as_slice) {
        while !seen.is_empty() {
            let Parsed::Complete(head, consumed) = parse_request_head(seen, &Limits::default()) else {
                let whole = seen.windows(4).any(|window| window == b"\r\n\r\n");
                assert!(!whole, "no request: {:?}", String::from_utf8_lossy(seen));
                // Cut short when the connection went.
                break;
            };
            let read = asked(&head);
            let from = next.max(1) - 1;
            let found = (next..passed.len()).chain(from..next).find(|at| passed[*at] == read);
            next = found.unwrap_or_else(|| panic!("it was not let pass: {read:?}")) + 1;
            let body = decode(h1::request_body(&head).expect("one way to read it"), [&seen[consumed..]]);
            assert!(body.end.is_ok(), "{body:?}");
            seen = &seen[consumed + body.consumed..];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_arrives_is_what_was_judged(
        said in stream(ASKED, REQUESTS),
        origins in vec(vec(stream(ANSWERED, RESPONSES), 0..4), 1..4),
        room in select(&[1_usize, 7, 100, 65_536][..]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let judged = Judged::default();
        let (seen, received) =
            tokio::task::LocalSet::new().block_on(&runtime, run(&judged, said, origins, room));
        check_client(&judged, &seen);
        check_origins(&judged, &received);
    }
}
