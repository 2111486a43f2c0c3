//! Bodies that are held for a look, in either direction: whole or not at all, and no longer than that takes.

use super::*;

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
