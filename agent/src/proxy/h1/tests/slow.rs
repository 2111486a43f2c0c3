//! Clients that trickle or do not read, and exchanges that are slow for reasons of their own.

use std::time::Duration;

use tokio::time::sleep;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

fn timeouts() -> Timeouts {
    Timeouts { body_grace: SHORT, unread: SHORT, ..Timeouts::default() }
}

/// Serves one connection between two ends in memory with room for so many octets each, while `test` plays both ends.
async fn between(room: usize, test: impl AsyncFnOnce(&mut DuplexStream, &mut DuplexStream)) -> Ended {
    let script = Script::default();
    let (ours, mut origin) = duplex(room);
    let (client_ours, mut client) = duplex(room);
    let (limits, timeouts) = (Limits::default(), timeouts());
    let served = async {
        let mut side = Side::new(client_ours);
        serve(&mut side, ours, &script, &limits, &timeouts).await
    };
    let played = async {
        test(&mut client, &mut origin).await;
        drop((client, origin));
    };
    tokio::join!(served, played).0
}

/// Reads until the text ends in `end`.
async fn until(stream: &mut DuplexStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let mut octet = [0];
        assert_eq!(stream.read(&mut octet).await.unwrap(), 1, "{}", seen.escape_ascii());
        seen.push(octet[0]);
    }
    String::from_utf8(seen).unwrap()
}

const POST: &str = "POST /up HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: 100000\r\n";

#[tokio::test]
async fn a_request_body_that_trickles_is_refused() {
    // On its way to the origin, and held for a look.
    for head in ["\r\n", "X-Hold: 5000\r\n\r\n"] {
        let ended = between(1 << 16, async |client, _| {
            client.write_all(format!("{POST}{head}").as_bytes()).await.unwrap();
            let (mut from, mut to) = tokio::io::split(client);
            let mut said = String::new();
            let dripping = async {
                for _ in 0..100 {
                    if to.write_all(b"x").await.is_err() {
                        return;
                    }
                    sleep(SHORT / 10).await;
                }
                panic!("it is still being waited for");
            };
            tokio::select! {
                () = dripping => {}
                read = from.read_to_string(&mut said) => { read.unwrap(); }
            }
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
        })
        .await;
        assert!(matches!(ended, Ended::SlowBody), "{ended:?}");
    }
}

#[tokio::test]
async fn a_body_that_the_origin_keeps_waiting_is_not_slow() {
    let ended = between(1 << 12, async |client, origin| {
        let request = format!("{POST}\r\n{}", "b".repeat(100_000));
        let sending = client.write_all(request.as_bytes());
        let (sent, ()) = tokio::join!(sending, async {
            until(origin, "\r\n\r\n").await;
            sleep(SHORT * 3).await;
            origin.read_exact(&mut vec![0; 100_000]).await.unwrap();
        });
        sent.unwrap();
        origin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        until(client, "\r\n\r\n").await;
        // One that waits to be asked, and one whose origin speaks while it comes.
        client.write_all(format!("{POST}Expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
        until(origin, "\r\n\r\n").await;
        sleep(SHORT * 3).await;
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        until(client, "\r\n\r\n").await;
        client.write_all(b"some").await.unwrap();
        sleep(SHORT * 3).await;
        origin.write_all(b"ok").await.unwrap();
        until(client, "ok").await;
    })
    .await;
    assert!(matches!(ended, Ended::Done), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left_and_one_that_hears_nothing_is_not() {
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ended = between(1 << 12, async |client, origin| {
        client.write_all(GET.as_bytes()).await.unwrap();
        until(origin, "\r\n\r\n").await;
        origin.write_all(events.as_bytes()).await.unwrap();
        for _ in 0..3 {
            sleep(SHORT * 2).await;
            origin.write_all(b"1\r\ne\r\n").await.unwrap();
            until(client, "1\r\ne").await;
        }
        // Now it reads nothing of more than fits on the way.
        let chunk = format!("1000\r\n{}\r\n", "e".repeat(0x1000));
        for _ in 0..1000 {
            if origin.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("it was let go on");
    })
    .await;
    assert!(matches!(ended, Ended::Unread), "{ended:?}");
}

#[tokio::test]
async fn a_held_response_that_comes_too_slowly_is_judged_by_what_is_there() {
    let ended = between(1 << 16, async |client, origin| {
        client.write_all(GET.as_bytes()).await.unwrap();
        until(origin, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\nX-Hold: 50000\r\nTransfer-Encoding: chunked\r\n\r\n";
        origin.write_all(format!("{head}a\r\nfirst ones\r\n").as_bytes()).await.unwrap();
        let seen = until(client, "first ones").await;
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
        origin.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
        until(client, "\r\n0\r\n\r\n").await;
        // What came by then is looked at.
        client.write_all(GET.as_bytes()).await.unwrap();
        until(origin, "\r\n\r\n").await;
        origin.write_all(format!("{head}a\r\nSECRET one\r\n").as_bytes()).await.unwrap();
        let seen = until(client, "\r\n\r\n").await;
        assert!(seen.starts_with("HTTP/1.1 403 "), "{seen}");
    })
    .await;
    assert!(matches!(ended, Ended::Done | Ended::ClientBroken), "{ended:?}");
}
