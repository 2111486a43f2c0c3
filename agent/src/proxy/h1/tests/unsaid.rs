//! When an origin gets the end of its handshake: with the first request, and before it where that keeps it waiting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// What stands for the end of the handshake: by itself, and in front of data.
const ALONE: u8 = b'!';
const WITH_DATA: u8 = b'+';

/// A connection whose handshake has its end to say.
struct Waiting {
    stream: DuplexStream,
    unsaid: bool,
    /// What came, and was looked for without a word.
    heard: Vec<u8>,
}

impl Waiting {
    fn new(stream: DuplexStream) -> Self {
        Self { stream, unsaid: true, heard: Vec::new() }
    }

    fn poll_say(&mut self, cx: &mut Context<'_>, end: u8) -> Poll<io::Result<()>> {
        if self.unsaid {
            ready!(Pin::new(&mut self.stream).poll_write(cx, &[end]))?;
            self.unsaid = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Waiting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.heard.is_empty() {
            into.put_slice(&std::mem::take(&mut self.heard));
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if read.is_pending() {
            let _ = self.poll_say(cx, ALONE);
        }
        read
    }
}

impl AsyncWrite for Waiting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_say(cx, WITH_DATA))?;
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_say(cx, ALONE))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for Waiting {
    fn has_unsaid(&self) -> bool {
        self.unsaid
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; 1024];
        let mut piece = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece));
        self.heard.extend_from_slice(piece.filled());
        read.map_or(Poll::Ready(()), Poll::Ready)
    }
}

/// Nothing is judged; a request says itself how much of its body is held.
struct Passing(Script);

impl Exchanges for Passing {
    type Origin = Waiting;

    async fn dial(&self) -> Result<Waiting, &'static str> {
        self.0.dial().await.map(Waiting::new)
    }

    fn request(&self, _: &RequestHead) -> Option<Answer> {
        None
    }

    fn holds_request(&self, request: &RequestHead) -> Hold {
        self.0.holds_request(request)
    }

    fn response(&self, _: &RequestHead, _: &ResponseHead, _: &Sent, _: Option<Held<'_>>) -> Option<Answer> {
        None
    }

    fn moved(&self, _: u64, _: u64) {}
}

async fn read(stream: &mut DuplexStream) -> String {
    let mut octets = vec![0; 4096];
    let count = stream.read(&mut octets).await.unwrap();
    String::from_utf8_lossy(&octets[..count]).into_owned()
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Serves a client that says `first` at once, over a connection that is there; and what else is to be dialled.
async fn with<F: Future>(
    first: &str,
    there: DuplexStream,
    dialled: Option<DuplexStream>,
    what: impl FnOnce(DuplexStream) -> F,
) -> (F::Output, usize) {
    let passing = Passing(Script::default());
    passing.0.origins.borrow_mut().extend(dialled);
    let (ours, mut client) = duplex(1 << 16);
    client.write_all(first.as_bytes()).await.unwrap();
    let mut side = Side::new(ours);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let serving = async {
        serve(&mut side, Waiting::new(there), &passing, &limits, &timeouts).await;
        drop(side);
    };
    let (seen, ()) = tokio::join!(what(client), serving);
    (seen, passing.0.dials.get())
}

#[tokio::test]
async fn it_goes_with_a_request_that_is_there_and_alone_where_none_is() {
    for silent in [false, true] {
        let (ours, mut origin) = duplex(1 << 16);
        let first = if silent { "" } else { GET };
        let (seen, _) = with(first, ours, None, async |mut client| {
            let mut seen = vec![read(&mut origin).await];
            if silent {
                client.write_all(GET.as_bytes()).await.unwrap();
                seen.push(read(&mut origin).await);
            }
            origin.write_all(ANSWER.as_bytes()).await.unwrap();
            assert_eq!(read(&mut client).await, ANSWER);
            client.shutdown().await.unwrap();
            seen
        })
        .await;
        assert_eq!(seen, if silent { vec!["!".to_owned(), GET.to_owned()] } else { vec![format!("+{GET}")] });
    }
}

#[tokio::test]
async fn it_does_not_wait_for_a_body_that_is_held() {
    let (ours, mut origin) = duplex(1 << 16);
    let head = "POST /up HTTP/1.1\r\nHost: a.test\r\nX-Hold: 64\r\nContent-Length: 5\r\n\r\n";
    with(&format!("{head}1"), ours, None, async |mut client| {
        assert_eq!(read(&mut origin).await, "!");
        client.write_all(b"2345").await.unwrap();
        let mut seen = String::new();
        while !seen.ends_with("12345") {
            seen.push_str(&read(&mut origin).await);
        }
        origin.write_all(ANSWER.as_bytes()).await.unwrap();
        assert_eq!(read(&mut client).await, ANSWER);
        client.shutdown().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_went_before_it_had_it_is_dialled_again_and_one_that_spoke_is_refused() {
    let (ours, origin) = duplex(1 << 16);
    drop(origin);
    let (dialled, mut again) = duplex(1 << 16);
    let (_, dials) = with(GET, ours, Some(dialled), async |mut client| {
        // A look at what a new connection has to say sends nothing either.
        assert_eq!(read(&mut again).await, format!("+{GET}"));
        again.write_all(ANSWER.as_bytes()).await.unwrap();
        assert_eq!(read(&mut client).await, ANSWER);
        client.shutdown().await.unwrap();
    })
    .await;
    assert_eq!(dials, 1);

    let (ours, mut origin) = duplex(1 << 16);
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    let (seen, dials) = with(GET, ours, None, async |mut client| read(&mut client).await).await;
    assert!(seen.starts_with("HTTP/1.1 502 ") && !seen.ends_with("ok"), "{seen}");
    assert_eq!(dials, 0);
}
