//! What is refused, and what becomes of both connections then.

use super::*;

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

/// An origin that answers before it took the body: the client still sends, and sees the answer and no broken connection.
#[tokio::test]
async fn an_early_answer_is_seen_by_a_client_that_still_sends() {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    let script = Script::default();
    let (origin, mut far_origin) = duplex(64);
    let (ours, mut theirs) = duplex(64);
    let client = async move {
        theirs
            .write_all(b"POST /a HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: 100000\r\n\r\n")
            .await
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"no") {
            assert_ne!(theirs.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        }
        theirs.write_all(&[b'x'; 50_000]).await.unwrap();
        theirs.shutdown().await.unwrap();
        assert_eq!(theirs.read_to_end(&mut seen).await.unwrap(), 0);
    };
    let far = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            far_origin.read_buf(&mut seen).await.unwrap();
        }
        far_origin.write_all(answer.as_bytes()).await.unwrap();
    };
    let mut side = Side::new(ours);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let served = async {
        let ended = serve(&mut side, origin, &script, &limits, &timeouts).await;
        drop(side);
        ended
    };
    let (ended, (), ()) = tokio::join!(served, client, far);
    assert!(matches!(ended, Ended::Done), "{ended:?}");
}

/// However fast it sends, it is not read for ever.
#[test]
fn a_client_that_goes_on_sending_is_waited_for_a_while() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    let client = std::thread::spawn(move || {
        use std::io::Write as _;
        let head =
            b"POST /refused HTTP/1.1\r\nHost: files.corp.test\r\nContent-Length: 1000000000000\r\n\r\n";
        theirs.write_all(head).unwrap();
        let begun = std::time::Instant::now();
        while theirs.write_all(&[b'x'; 1 << 18]).is_ok() && begun.elapsed() < hold::LINGER * 4 {}
        begun.elapsed()
    });
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut side = Side::new(tokio::net::TcpStream::from_std(ours).unwrap());
        let (origin, _far_origin) = duplex(64);
        let (limits, timeouts) = (Limits::default(), Timeouts::default());
        let ended = serve(&mut side, origin, &Script::default(), &limits, &timeouts).await;
        assert!(matches!(ended, Ended::Done), "{ended:?}");
    });
    let took = client.join().unwrap();
    assert!((hold::LINGER / 2..hold::LINGER * 3).contains(&took), "{took:?}");
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
