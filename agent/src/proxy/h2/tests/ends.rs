//! Streams and connections that end: for idleness, slowness, a stop, a flood, a lost origin; and who is told.

use super::*;

#[tokio::test]
async fn an_idle_connection_is_told_to_go_and_closed() {
    let (ended, _) = run_with(short(), async |setup| {
        let rest = setup.client.rest().await;
        let lasts: Vec<_> =
            rest.iter().filter(|seen| seen.0 == kind::GOAWAY).map(|seen| &seen.3[..4]).collect();
        assert_eq!(lasts.first(), Some(&&frame::MAX_31.to_be_bytes()[..]));
        assert_eq!(lasts.last(), Some(&&[0; 4][..]));
    })
    .await;
    assert!(matches!(ended, Ended::Idle), "{ended:?}");
}

#[tokio::test]
async fn a_head_in_drops_has_no_longer_than_others() {
    let timeouts = Timeouts { request_head: SHORT, ..Timeouts::default() };
    let (ended, _) = run_with(timeouts, async |setup| {
        let head = get(1, "/slow");
        for octet in &head[..20] {
            if setup.client.stream.write_all(&[*octet]).await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 4).await;
        }
        assert!(setup.client.rest().await.iter().any(|seen| seen.0 == kind::GOAWAY));
    })
    .await;
    assert!(matches!(ended, Ended::SlowRequest), "{ended:?}");
}

#[tokio::test]
async fn what_runs_at_a_stop_goes_on_to_its_end() {
    let (ended, _) = run(async |setup| {
        setup.client.send(&get(1, "/")).await;
        setup.origin.next(kind::HEADERS, 1).await;
        setup.stop.take().unwrap().send(()).unwrap();
        setup.client.next(kind::GOAWAY, 0).await;
        // Under way when the end was announced.
        setup.client.send(&get(3, "/")).await;
        setup.origin.next(kind::HEADERS, 3).await;
        let (.., last) = setup.client.next(kind::GOAWAY, 0).await;
        assert_eq!(last[..4], 3_u32.to_be_bytes());
        setup.client.send(&get(5, "/")).await;
        let (.., code) = setup.client.next(kind::RST_STREAM, 5).await;
        assert_eq!(code, ErrorCode::REFUSED_STREAM.0.to_be_bytes());
        setup.origin.send(&[ok(1, false, &[]), raw_data(1, true, 4), ok(3, true, &[])].concat()).await;
        setup.client.next(kind::DATA, 1).await;
        let rest = setup.client.rest().await;
        assert!(rest.iter().any(|seen| (seen.0, seen.2) == (kind::HEADERS, 3)), "{rest:?}");
    })
    .await;
    assert!(matches!(ended, Ended::Done), "{ended:?}");
}

#[tokio::test]
async fn a_rule_on_bodies_that_comes_later_sends_requests_to_another_connection() {
    let script = Script { http1_after: Cell::new(2), ..Script::default() };
    let (ended, _) = run_script(script, Timeouts::default(), async |setup| {
        setup.client.send(&[get(1, "/"), get(3, "/")].concat()).await;
        setup.origin.next(kind::HEADERS, 1).await;
        let (.., code) = setup.client.next(kind::RST_STREAM, 3).await;
        assert_eq!(code, ErrorCode::REFUSED_STREAM.0.to_be_bytes());
        setup.client.next(kind::GOAWAY, 0).await;
        setup.origin.send(&[ok(1, false, &[]), raw_data(1, true, 4)].concat()).await;
        setup.client.next(kind::DATA, 1).await;
        setup.client.rest().await;
    })
    .await;
    assert!(matches!(ended, Ended::Done), "{ended:?}");
}

#[tokio::test]
async fn a_stream_that_stands_still_ends_and_its_neighbours_do_not() {
    let (ended, _) = run_with(short(), async |setup| {
        let grpc = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/watch"),
            ("content-type", "application/grpc+proto"),
        ];
        setup.client.send(&[get(1, "/never"), get(3, "/half"), raw_headers(5, false, &grpc)].concat()).await;
        setup.origin.next(kind::HEADERS, 5).await;
        setup.origin.send(&[ok(3, false, &[]), raw_data(3, false, 10), ok(5, false, &[])].concat()).await;
        setup.client.next(kind::RST_STREAM, 3).await;
        let (.., block) = setup.client.next(kind::HEADERS, 1).await;
        assert!(block.windows(3).any(|window| window == b"504"), "{}", block.escape_ascii());
        setup.origin.send(&raw_data(5, true, 3)).await;
        setup.client.next(kind::DATA, 5).await;
    })
    .await;
    assert!(matches!(ended, Ended::ClientBroken), "the request of 5 was not at its end: {ended:?}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_left() {
    let (ended, _) = run_with(short(), async |setup| {
        let mut windows = Vec::new();
        write::window_update(0, 1 << 30, &mut windows);
        setup.client.send(&[get(1, "/"), windows].concat()).await;
        let mut window = Vec::new();
        write::window_update(1, 1 << 30, &mut window);
        setup.client.send(&window).await;
        setup.origin.next(kind::HEADERS, 1).await;
        setup.origin.next(kind::WINDOW_UPDATE, 1).await;
        setup.origin.send(&ok(1, false, &[])).await;
        // More than the stream in memory holds, and no more than is taken in: the origin is not read on.
        let data = raw_data(1, false, 16_384);
        let sent = async {
            let mut sent = 0;
            while setup.origin.stream.write_all(&data).await.is_ok() {
                sent += data.len();
            }
            sent
        };
        let sent = sent.await;
        assert!(sent < (1 << 20), "{sent} octets were taken");
    })
    .await;
    assert!(matches!(ended, Ended::Unread), "{ended:?}");
}

#[tokio::test]
async fn a_flood_ends_both_connections_and_is_told() {
    let (ended, _) = run(async |setup| {
        let mut pings = Vec::new();
        for _ in 0..150 {
            write::ping(false, [0; 8], &mut pings);
        }
        setup.client.send(&pings).await;
        let rest = setup.client.rest().await;
        let (.., told) = rest.last().unwrap();
        assert_eq!(told[4..8], ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes());
    })
    .await;
    assert!(matches!(ended, Ended::Violated(Peer::Client, Refusal::PingFlood)), "{ended:?}");
}

#[tokio::test]
async fn a_lost_origin_is_answered_for_and_ends_the_connection() {
    let (ended, _) = run(async |setup| {
        setup.client.send(&get(1, "/")).await;
        setup.origin.next(kind::HEADERS, 1).await;
        setup.origin.stream.shutdown().await.unwrap();
        setup.client.next(kind::GOAWAY, 0).await;
        let rest = setup.client.rest().await;
        assert!(rest.iter().any(|seen| (seen.0, seen.2) == (kind::DATA, 1)), "502 with a body: {rest:?}");
    })
    .await;
    assert!(matches!(ended, Ended::OriginBroken(_)), "{ended:?}");
}
